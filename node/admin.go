package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
	"github.com/starling-swarm/starling/node/update"
)

// GateSchema is the schema of a GateView that stands alone.
const GateSchema = "starling.gate/v1"

// Propose brings a decision that proves itself (a start, an intent, a publish, a
// report) to the swarm, and returns once it is applied. It returns ErrProposal with
// the voters' reason if it does not hold, ErrNoQuorum if ctx ends before a leader
// was found: then it may still be applied.
func (n *Node) Propose(ctx context.Context, d *rollout.Decision) error {
	if !n.taking() {
		return ErrNotReady
	}
	switch d.Kind {
	case rollout.KindStart, rollout.KindIntent, rollout.KindPublish, rollout.KindReport:
	default:
		return fmt.Errorf("%w: a %s is the leader's to propose", ErrRequest, d.Kind)
	}
	if d.Start != nil { // so that others find them here
		if _, err := n.docs.put(join.ReleaseDocument, d.Start.Release); err != nil {
			return fmt.Errorf("%w: the release of the start: %w", ErrRequest, err)
		}
		if _, err := n.docs.put(join.PlanDocument, d.Start.Plan); err != nil {
			return fmt.Errorf("%w: the plan of the start: %w", ErrRequest, err)
		}
	}
	return n.propose(ctx, d)
}

// A Revocation is what a revoke did.
type Revocation struct {
	Schema   string       `json:"schema"`
	Node     member.ID    `json:"node"`
	Epoch    uint64       `json:"epoch"` // of the roster that no longer has it
	WasVoter bool         `json:"was_voter"`
	Held     []ReportView `json:"held"` // what it was known to have: tell who must know
	Text     string       `json:"text"`
}

// Revoke takes a member out of the roster for good and changes the gossip key, so
// that it hears no more. Robots learn both with the roster.
func (n *Node) Revoke(ctx context.Context, id member.ID) (*Revocation, error) {
	out := &Revocation{Schema: "starling.revocation/v1", Node: id, Held: []ReportView{}}
	err := n.asOperator(ctx, func(ctx context.Context, v *View) error {
		m := v.Roster.ByID(id)
		if m == nil {
			return fmt.Errorf("%w: %q", ErrNoMember, id)
		}
		if m.Index == v.Self {
			return fmt.Errorf("%w: %s is this node; revoke it from another operator's node", ErrRequest, id)
		}
		if w, err := n.NodeByID(id); err == nil {
			out.Held = append(out.Held, w.Reports...)
		}
		out.WasVoter = v.Electorate != nil && v.Electorate.Has(m.Index)
		if err := n.operator.revoke(ctx, v, m.Index); err != nil {
			return err
		}
		out.Epoch = n.keeper.View().RosterRef.Epoch
		out.Text = fmt.Sprintf("%s is revoked; the gossip key has changed", id)
		if out.WasVoter {
			out.Text += "; the voters hear it no more, and give its seat to another as soon as one that may vote is there"
		}
		n.note(Event{Kind: "revoked", Member: string(id), Text: out.Text})
		n.exchange.Gone(m.Key)
		return nil
	})
	return out, err
}

// revoke signs a roster without the member and with a new gossip key. The key
// before stays known for those who have not heard.
func (o *operator) revoke(ctx context.Context, v *View, i member.Index) error {
	key := make([]byte, gossip.KeyBytes)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make the gossip key: %w", err)
	}
	next := nextRoster(v.Roster)
	next.Members[i].Revoked = true
	next.GossipKey, next.GossipProof = v.keyN+1, manifest.Sum(key)
	next.Epoch, next.Previous = v.RosterRef.Epoch+1, v.RosterRef.Digest
	if err := next.Check(); err != nil {
		return err
	}
	if err := envelope.Fits(envelope.Roster, next); err != nil {
		return err
	}
	e := envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope(v.Swarm), next).Sign(o.key)
	keys := append([][]byte{key}, v.keys[:min(len(v.keys), 1)]...)
	if err := o.n.keeper.offerOwn(ctx, &join.MetaReply{Format: join.MetaFormat, Roster: e.Encode(), GossipKeys: keys, GossipKey: next.GossipKey}); err != nil {
		return err
	}
	return o.kept(e)
}

// Begin starts generation 1 with this many voters, fewer than the usual four: the
// robots that may vote and are on, and this operator's node if one is missing.
func (n *Node) Begin(ctx context.Context, voters int) error {
	n.hearFounders(ctx, voters)
	return n.asOperator(ctx, func(ctx context.Context, v *View) error {
		switch {
		case v.Order != nil:
			return fmt.Errorf("%w: generation %d has started already", ErrRequest, v.Order.Generation)
		case voters < 1 || voters > order.MaxVoters:
			return fmt.Errorf("%w: %d voters: want 1 to %d", ErrRequest, voters, order.MaxVoters)
		}
		seats, err := n.seats(v, voters)
		if err != nil {
			return err
		}
		return n.operator.genesis(ctx, v, seats, "the swarm starts, by hand")
	})
}

// hearFounders waits until gossip has heard of as many robots as are wanted, or of
// all that there are: one that has just joined takes a moment. After the time of a
// call, or when ctx ends, who is there must do.
func (n *Node) hearFounders(ctx context.Context, want int) {
	over := time.NewTimer(n.time.call)
	defer over.Stop()
	again := time.NewTicker(n.time.retry)
	defer again.Stop()
	for {
		v := n.View()
		if v == nil || v.Roster == nil || v.Order != nil {
			return
		}
		may := 0
		for _, m := range v.Roster.Members {
			if mayVote(&m) {
				may++
			}
		}
		if len(founders(v, n.heardOf(), want, 0)) >= min(want, may) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-again.C:
		}
	}
}

// component finds a robot's component by name; empty is the only one.
func (n *Node) component(name string) (*robot, error) {
	if name == "" && len(n.robots) == 1 {
		return n.robots[0], nil
	}
	var names []string
	for _, r := range n.robots {
		if r.cfg.Name == name {
			return r, nil
		}
		names = append(names, r.cfg.Name)
	}
	return nil, fmt.Errorf("%w: component %q: this node has %v", ErrRequest, name, names)
}

// Gate is how the interlock of a component stands; an empty name is the only one.
func (n *Node) Gate(component string) (*GateView, error) {
	r, err := n.component(component)
	if err != nil {
		return nil, err
	}
	g := viewGate(r.cfg.Gate.State())
	g.Schema, g.Component = GateSchema, r.cfg.Name
	return &g, nil
}

// A GateRequest is an application's word on its gate.
type GateRequest struct {
	Component string  `json:"component"`
	Action    string  `json:"action"` // "permit", "hold" or "release"
	Owner     string  `json:"owner"`
	Seconds   float64 `json:"seconds"` // how long a permit or hold counts
	Reason    string  `json:"reason"`
}

// SetGate carries it out and returns how the gate stands. Errors wrap
// install.ErrGateMode, install.ErrLease or ErrRequest.
func (n *Node) SetGate(q GateRequest) (*GateView, error) {
	r, err := n.component(q.Component)
	if err != nil {
		return nil, err
	}
	ttl := time.Duration(q.Seconds * float64(time.Second))
	switch q.Action {
	case "permit":
		err = r.cfg.Gate.Grant(q.Owner, ttl)
	case "hold":
		err = r.cfg.Gate.Hold(q.Owner, ttl, q.Reason)
	case "release":
		err = r.cfg.Gate.Release(q.Owner)
	default:
		err = fmt.Errorf(`%w: action %q: want "permit", "hold" or "release"`, ErrRequest, q.Action)
	}
	if err != nil {
		return nil, err
	}
	return n.Gate(q.Component)
}

// Rollback sends this robot's component back one step, by hand: it needs no key and
// no swarm. It returns how the component stands when the machine has heard it.
func (n *Node) Rollback(ctx context.Context, component, reason string) (*ComponentView, error) {
	r, err := n.component(component)
	if err != nil {
		return nil, err
	}
	if !n.taking() {
		return nil, ErrNotReady
	}
	if reason == "" {
		reason = "rolled back by hand"
	}
	// The second event is taken only when the first was acted on.
	for _, e := range []update.Event{update.Back{Reason: clip(reason, member.MaxReason), ByHand: true}, update.Tick{}} {
		select {
		case r.events <- e:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n.note(Event{Kind: "rollback", Member: string(n.member.ID), Component: r.cfg.Name, Text: r.cfg.Name + ": " + reason})
	for _, c := range n.here() {
		if c.Name == r.cfg.Name {
			return &c, nil
		}
	}
	return nil, ErrNotReady
}

// Ping passes through the goroutines that a healthy node keeps running, and returns
// nil if all took it: for a watchdog.
func (n *Node) Ping(ctx context.Context) error {
	if !n.taking() {
		return nil // joining may take for ever, and that is well
	}
	if err := n.keeper.offer(ctx, &join.MetaReply{Format: join.MetaFormat}); err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	for _, r := range n.robots {
		select {
		case r.events <- update.Tick{}:
		case <-ctx.Done():
			return fmt.Errorf("component %s: %w", r.cfg.Name, ctx.Err())
		}
	}
	return nil
}

func parseDigest(s string) (manifest.Digest, error) {
	d, err := manifest.ParseDigest(s)
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return d, nil
}
