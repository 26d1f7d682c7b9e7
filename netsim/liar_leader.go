package netsim

import (
	"context"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// rule decides what no plan allows: as the leader through raft, otherwise through
// whoever leads.
func (v *villain) rule(ctx context.Context, r *consensus.Replica) {
	led := false
	repeat(ctx, lieEvery/2, func() {
		if r.IsLeader() && !led {
			led = true
			v.w.truth.note(v.m.name, "lie", "it leads, in term %d", r.Term())
		}
		for _, d := range v.decisions() {
			if !v.lies() {
				continue
			}
			if !r.IsLeader() {
				v.tell(ctx, v.voters(), proposeProtocol, canonical.Encode(proposal{Format: 1, Decision: d.Encode()}))
				continue
			}
			if err := r.Propose(ctx, d); err == nil && d.Kind != rollout.KindCheckpoint {
				v.w.checks.violate("permitted-switch", "%s decided alone: %s was applied", v.m.name, d.Kind)
			}
		}
	})
}

// proposal is how a node brings a decision to the leader.
type proposal struct {
	Format   uint   `cbor:"0,keyasint"`
	Decision []byte `cbor:"1,keyasint"`
}

// decisions are those that nobody with the right to has asked for.
func (v *villain) decisions() (list []*rollout.Decision) {
	add := func(d rollout.Decision) {
		d.Format, d.Time = rollout.DecisionFormat, time.Now().Unix()
		list = append(list, &d)
	}
	o := v.w.watch.order()
	if o == nil {
		return nil
	}
	if d := v.start(o); d != nil {
		add(rollout.Decision{Kind: rollout.KindStart, Start: d})
	}
	if o.Rollout != nil {
		in := rollout.Intent{Format: rollout.IntentFormat, Swarm: v.view.Swarm, Counter: 1 << 40, Verb: rollout.VerbRollback, Rollout: o.Rollout.ID, Reason: "because I say so"}
		add(rollout.Decision{Kind: rollout.KindIntent, Intent: in.Seal().Sign(v.key).Encode()})
		add(rollout.Decision{Kind: rollout.KindObserve, Observe: v.evidence(o)})
	}
	p := rollout.Publish{
		Format: rollout.PublishFormat, Swarm: v.view.Swarm, ExpectTrust: o.Trust.Digest, ExpectRoster: o.Roster.Digest,
		Trust: o.Trust, Roster: order.RosterRef{Epoch: o.Roster.Epoch + 1, Digest: o.Trust.Digest},
	}
	add(rollout.Decision{Kind: rollout.KindPublish, Publish: p.Seal().Sign(v.key).Encode()})
	return list
}

// start opens a rollout of the newest release under a plan of the villain's own.
func (v *villain) start(o *order.Order) *rollout.Start {
	all := v.w.built()
	r := all[len(all)-1]
	ship := &scenario.Ship{Version: r.spec.Ref()}
	strict.Fill(ship)
	p, err := v.w.plan(r, ship)
	if err != nil {
		return nil
	}
	if c := o.Component(p.Component); c != nil {
		p.From = c.Active
	}
	sealed := p.Seal().Sign(v.key)
	x, err := rollout.NewExtract(p, r.Release, v.view.Roster, v.view.RosterRef, o.Trust.Digest)
	if err != nil {
		return nil
	}
	in := rollout.Intent{Format: rollout.IntentFormat, Swarm: v.view.Swarm, Counter: 1 << 40, Verb: rollout.VerbStart, Plan: sealed.Digest(), Extract: x.Digest()}
	return &rollout.Start{Intent: in.Seal().Sign(v.key).Encode(), Plan: sealed.Encode(), Release: r.Encode(), Extract: x}
}

// evidence are reports in the names of robots that are open: all is well with them.
func (v *villain) evidence(o *order.Order) (list [][]byte) {
	for _, i := range o.Rollout.Open.All() {
		if len(list) == rollout.MaxObserved {
			break
		}
		h := &member.Health{
			Format: member.HealthFormat, Robot: member.Index(i), Boot: 1, Sequence: 1 << 62, Component: o.Rollout.Component,
			Release: o.Rollout.Release.Digest, Running: o.Rollout.Release.Digest, Phase: member.Committed, Result: member.Good, Healthy: 1 << 20, Level: order.Level,
		}
		if member.Index(i) != v.view.Self {
			list = append(list, h.Seal(v.view.Swarm).Sign(v.key).Encode())
		}
	}
	return list
}
