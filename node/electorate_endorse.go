package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
)

var errEndorsing = errors.New("looks at another change just now")

// situation is what this voter knows now. trustGoodbyes lets gossip say who left: a
// leader waits longer for them, which is nothing that others must agree with.
func (w *voter) situation(r *consensus.Replica, v *View, trustGoodbyes bool) (*situation, error) {
	state := r.State()
	if v.Trust == nil || v.Roster == nil || v.generation() != state.Generation {
		return nil, errNotReady
	}
	roster, err := w.rosterOf(v, state.Roster, v.Trust)
	if err != nil {
		return nil, err
	}
	s := &situation{
		state: state, roster: roster, newest: v.Roster, members: map[member.Index]bearing{},
		times: seatTimes{dead: w.n.time.dead, up: w.n.time.up}, shunned: map[member.Index]bool{},
		changes: consensus.MaxChain - len(r.Chain()),
	}
	now := time.Now()
	for _, g := range w.n.gossip.Members() {
		at := bearing{left: trustGoodbyes && g.State == gossip.Left}
		if g.State == gossip.Alive {
			at.up = max(now.Sub(g.Since), 1)
		}
		s.members[g.Index] = at
	}
	for _, seat := range state.Electorate.Voters {
		at := s.members[seat.Member]
		at.unheard, at.lost = w.roll.of(seat.Key, now)
		s.members[seat.Member] = at
	}
	return s, nil
}

// endorse gives this voter's word for a change that a leader wants, or says why not.
func (w *voter) endorse(ctx context.Context, peer envelope.Key, q *seatRequest) (*envelope.Signature, error) {
	r := w.replica.Load()
	if r == nil {
		return nil, errNotReady
	}
	state := r.State()
	if state.Generation != q.Generation || state.Electorate.Version != q.Version || state.Electorate.Seat(w.n.key()) < 0 {
		return nil, errors.New("knows other voters")
	}
	if l, ok := r.Leader(); !ok || l.Key != peer {
		return nil, errors.New("only the leader may ask")
	}
	select {
	case w.endorsing <- struct{}{}: // one at a time: each asks around
		defer func() { <-w.endorsing }()
	default:
		return nil, errEndorsing
	}
	if err := w.consider(ctx, r, q.Change); err != nil {
		return nil, err
	}
	c := rollout.SetVoters{Remove: q.Change.Remove, Add: q.Change.Add}
	c.Endorse(state, w.n.priv)
	w.n.log.Info("change of voters endorsed", "leader", peer.Short(), "enters", c.Add.Member)
	return &c.Endorsed[0], nil
}

// consider asks the one that is to leave whether its seat is there after all, the
// one that is to enter whether it is ready, and those who come first, and then
// judges the change. What a leader says of them counts for nothing.
func (w *voter) consider(ctx context.Context, r *consensus.Replica, c *rollout.SetVoters) error {
	v, state := w.n.keeper.View(), r.State()
	if c.Add == nil {
		return errors.New("nobody is to enter")
	}
	if r.Certified().Order.Electorate.Version != state.Electorate.Version {
		return errors.New("the last change of voters has no certificate yet")
	}
	if !r.Prepared(*c.Add) {
		return fmt.Errorf("member %d has no vote in raft yet, as far as is known here", c.Add.Member)
	}
	w.roll.watch(&state.Electorate, time.Now())
	s, err := w.situation(r, v, false)
	if err != nil {
		return err
	}
	whom := []envelope.Key{c.Add.Key}
	if c.Remove != nil {
		for _, seat := range state.Electorate.Voters {
			if seat.Member == *c.Remove {
				whom = append(whom, seat.Key)
			}
		}
	}
	for _, m := range s.ahead(c) {
		whom = append(whom, m.Key)
	}
	answers := w.inquireAll(ctx, v, whom)
	if s, err = w.situation(r, v, false); err != nil { // with what was just heard
		return err
	}
	return s.objection(c, answers)
}

// inquireAll asks members at once; those that do not answer are missing in what it
// returns.
func (w *voter) inquireAll(ctx context.Context, v *View, whom []envelope.Key) map[member.Index]seatAnswer {
	var mu sync.Mutex // guards out
	out := map[member.Index]seatAnswer{}
	var g errgroup.Group
	for _, k := range whom {
		g.Go(func() error {
			a, err := w.inquire(ctx, k)
			if m := v.Member(k); err == nil && m != nil {
				mu.Lock()
				out[m.Index] = a
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait() // nil: silence is an answer too
	return out
}
