package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// reseatFor is how many heartbeats a change of seats may take up to its proposal.
	// The next try goes on where this one ended.
	reseatFor = 60
	// shunFactor is for how many times the patience with a dead voter a member is not
	// asked again that could not take a seat.
	shunFactor = 2
	// collectTries is how often voters are asked to endorse one change.
	collectTries = 3
)

// tend looks after the electorate: every voter calls the roll, and the one that leads
// gives away one seat at a time. It raises the feature level too, looking as often.
func (w *voter) tend(ctx context.Context, r *consensus.Replica) error {
	shunned := map[member.Index]time.Time{} // until when
	tick := time.NewTicker(w.roll.every)
	defer tick.Stop()
	var called, raised time.Time
	for {
		v, e := w.n.keeper.View(), r.State().Electorate
		w.cutOff(v)
		if time.Since(called) >= w.roll.every*9/10 && e.Seat(w.n.key()) >= 0 {
			called = time.Now()
			w.callRoll(ctx, &e)
		}
		if r.IsLeader() && v.Me() != nil {
			w.tendOnce(ctx, r, shunned)
			if time.Since(raised) >= w.roll.every*9/10 {
				raised = time.Now()
				w.raiseLevel(ctx, r)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-v.past:
		}
	}
}

// tendOnce gives one seat away if one is to be given.
func (w *voter) tendOnce(ctx context.Context, r *consensus.Replica, shunned map[member.Index]time.Time) {
	if r.Certified().Order.Electorate.Version != r.State().Electorate.Version {
		return // the last change waits for its certificate
	}
	s, err := w.situation(r, w.n.keeper.View(), true)
	if planted.Is("dead-voters-stay") {
		return
	}
	if err != nil {
		w.n.log.Debug("electorate not looked after", "err", err)
		return
	}
	for i, until := range shunned {
		s.shunned[i] = time.Now().Before(until)
	}
	c, ok := s.decide()
	if !ok {
		return
	}
	who := s.describe(&c)
	w.n.log.Info("seat to be given away", "change", who)
	ctx, cancel := context.WithTimeout(ctx, reseatFor*w.n.time.heartbeat)
	defer cancel()
	var unable unableError
	switch err := w.reseat(ctx, r, s.state, &c); {
	case err == nil:
		w.n.note(Event{Kind: "voters", Member: w.n.keeper.View().nameOf(c.add.Member), Text: who})
	case errors.As(err, &unable):
		shunned[c.add.Member] = time.Now().Add(shunFactor * w.n.time.dead)
		fallthrough
	default:
		w.n.log.Warn("seat not given away, trying again", "change", who, "err", err)
	}
}

// describe is a change in words, for people.
func (s *situation) describe(c *reseating) string {
	in := s.roster.Members[c.add.Member].ID
	if c.remove == nil {
		return fmt.Sprintf("%s becomes a voter: %s", in, c.why)
	}
	name := "#" + itoa(int(*c.remove))
	if int(*c.remove) < len(s.roster.Members) {
		name = string(s.roster.Members[*c.remove].ID)
	}
	return fmt.Sprintf("%s takes the seat of %s: %s", in, name, c.why)
}

// unableError says that the member which was to get a seat could not take it.
type unableError struct{ error }

func (e unableError) Unwrap() error { return e.error }

// reseat brings a change from the invitation to the log. Its certificate, and that
// raft lets go of the old seat, come by themselves.
func (w *voter) reseat(ctx context.Context, r *consensus.Replica, state *rollout.State, c *reseating) error {
	a, err := w.n.askSeat(ctx, c.add.Key, seatRequest{Kind: seatInvite, Generation: state.Generation, Version: state.Electorate.Version, Server: c.add.Server})
	if err == nil && a.Server != c.add.Server {
		err = fmt.Errorf("not ready: %s", a.Refusal)
	}
	if err != nil {
		return unableError{fmt.Errorf("invite: %w", err)}
	}
	var elsewhere consensus.ErrNotLeader
	switch err := r.PrepareVoter(ctx, c.add); {
	case errors.As(err, &elsewhere), errors.Is(err, consensus.ErrRefused), errors.Is(err, consensus.ErrStopped):
		return err
	case err != nil:
		return unableError{err}
	}
	d := c.setVoters()
	if err := w.collect(ctx, state, d); err != nil {
		return err
	}
	return r.Propose(ctx, &rollout.Decision{
		Format: rollout.DecisionFormat, Kind: rollout.KindSetVoters, Time: w.n.keeper.View().now().Unix(), SetVoters: d,
	})
}

// collect asks all voters for their word until enough have given it, or returns why
// too few do: some learn a moment later than others that the new one is prepared.
func (w *voter) collect(ctx context.Context, state *rollout.State, d *rollout.SetVoters) error {
	var err error
	for range collectTries {
		if err = w.collectOnce(ctx, state, d); err == nil {
			return nil
		}
		select {
		case <-time.After(w.n.time.heartbeat):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// collectOnce asks all voters at once, this one too, and adds their words to d.
func (w *voter) collectOnce(ctx context.Context, state *rollout.State, d *rollout.SetVoters) error {
	v, bare := w.n.keeper.View(), &rollout.SetVoters{Remove: d.Remove, Add: d.Add}
	var mu sync.Mutex // guards d and errs
	var errs []error
	var g errgroup.Group
	for _, seat := range state.Electorate.Voters {
		g.Go(func() error {
			sig, err := w.askEndorsement(ctx, state, seat, bare)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = d.TakeEndorsement(state, sig)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", v.nameOf(seat.Member), err))
			}
			return nil
		})
	}
	_ = g.Wait() // nil: the errors are in errs
	if n, q := len(d.Endorsed), order.Quorum(len(state.Electorate.Voters)); n < q {
		return fmt.Errorf("%d of %d voters endorse it, it takes %d: %w", n, len(state.Electorate.Voters), q, errors.Join(errs...))
	}
	return nil
}

func (w *voter) askEndorsement(ctx context.Context, state *rollout.State, seat order.Voter, bare *rollout.SetVoters) (envelope.Signature, error) {
	a, err := w.n.askSeat(ctx, seat.Key, seatRequest{Kind: seatEndorse, Generation: state.Generation, Version: state.Electorate.Version, Change: bare})
	switch {
	case err != nil:
		return envelope.Signature{}, err
	case a.Refusal != "":
		return envelope.Signature{}, errors.New(a.Refusal)
	case a.Endorsement == nil:
		return envelope.Signature{}, errors.New("neither endorses nor says why not")
	}
	return *a.Endorsement, nil
}
