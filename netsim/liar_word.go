package netsim

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

const (
	// lieEvery is how often a villain that speaks unasked does so, and callFor is how
	// long it waits for an answer.
	lieEvery, callFor = 2 * time.Second, 5 * time.Second
	// future is how far ahead of the swarm's orders an announced one is that there is not.
	future = 1000
)

var errLie = errors.New("netsim: there is no better answer")

// answerStale shows everybody who asks what was decided when the machine was taken.
func answerStale(v *villain) {
	v.bulk.Handle(join.MetaProtocol, p2p.Answer(join.MaxMetaRequestBytes, callFor, func(context.Context, envelope.Key, []byte) ([]byte, error) {
		v.mu.Lock()
		old := v.old
		v.mu.Unlock()
		if old == nil || !v.lies() {
			return nil, errLie
		}
		return old, nil
	}))
}

// announceFuture learns how things stand, to show nothing else from then on, and draws
// others to ask: it claims to hold orders that there are not.
func announceFuture(ctx context.Context, v *villain) error {
	for v.old == nil { // nobody else writes it
		old := v.past(ctx)
		v.mu.Lock()
		v.old = old
		v.mu.Unlock()
		if err := sleepUntil(ctx, time.Now().Add(lieEvery)); err != nil {
			return nil // the lie was over before it began
		}
	}
	at := v.view.Pointer()
	repeat(ctx, 5*lieEvery, func() {
		if o := v.w.watch.order(); o != nil && at.Before(o.Pointer()) {
			at = o.Pointer()
		}
		at.Index += future
		p := gossip.Pointer{Pointer: at}
		v.w.draw("future", v.m.name, at.Index).fill(p.Digest[:])
		v.gossip.Announce(p)
	})
	return nil
}

// forgeHealth tells the voters the contrary of what is so, and the same in the name
// of another robot.
func forgeHealth(ctx context.Context, v *villain) error {
	sequence := uint64(time.Now().Unix()) << 32 // as a node that has just started
	boot := v.w.draw("boot", v.m.name, sequence).number()
	repeat(ctx, lieEvery, func() {
		r := v.w.robotNamed(v.m.name)
		if r == nil || !v.lies() {
			return
		}
		for _, p := range r.parts {
			sequence++
			h := v.contrary(p)
			h.Boot, h.Sequence = boot, sequence
			for _, robot := range []member.Index{v.view.Self, (v.view.Self + 1) % member.Index(len(v.view.Roster.Members))} {
				h.Robot = robot
				v.tell(ctx, v.voters(), reportProtocol, h.Seal(v.view.Swarm).Sign(v.key).Encode())
			}
		}
	})
	return nil
}

// contrary is a report that says the opposite of how a payload does: of the release
// that is going out if there is one, else of what runs.
func (v *villain) contrary(p *payload) *member.Health {
	s := v.w.truth.standing(p)
	about, o := s.committed, v.w.watch.order()
	if o != nil && o.Rollout != nil && o.Rollout.Component == p.component {
		about = o.Rollout.Release
	}
	h := &member.Health{
		Format: member.HealthFormat, Component: p.component, Release: about.Digest, Running: about.Digest,
		Phase: member.Committed, Result: member.Good, Healthy: math.MaxInt32, Level: order.Level,
	}
	if o != nil {
		h.Generation, h.Order = o.Generation, o.Index
	}
	if s.committed == about { // it runs, and well
		h.Phase, h.Result, h.Healthy, h.Running = member.Reverted, member.Failed, 0, s.ran[0]
		h.Reason = "it fell over"
	}
	return h
}

// tell sends a request to members' control hosts, and waits for all answers.
func (v *villain) tell(ctx context.Context, to []envelope.Key, protocol string, request []byte) {
	done := make(chan struct{})
	for _, k := range to {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, callFor)
			defer cancel()
			if _, err := v.control.Call(ctx, k, protocol, request, 2<<10); err != nil {
				v.m.cfg.Log.Debug("a lie was not taken", "protocol", protocol, "err", err)
			}
			done <- struct{}{}
		}()
	}
	for range to {
		<-done
	}
}

// past asks other members what there is, as a robot that knows nothing.
func (v *villain) past(ctx context.Context) []byte {
	ask := canonical.Encode(join.MetaRequest{Format: join.MetaFormat})
	for _, m := range v.view.Roster.Members {
		if m.Index == v.view.Self {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, callFor)
		data, err := v.bulk.Call(ctx, m.Key, join.MetaProtocol, ask, join.MaxMetaReplyBytes)
		cancel()
		if err == nil {
			return data
		}
	}
	return nil
}
