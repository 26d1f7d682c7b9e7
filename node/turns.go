package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/update"
)

// Robots that vote switch one at a time, or the swarm would lose its quorum to an
// update. A rollout opens no batch with two of them, but a batch is not the only way:
// a voter that was off catches up, and all go back when the operator says so. So a
// voter needs more than the one acknowledgement of other robots. It needs those of a
// quorum, and a voter gives its own to one other at a time. Any two quorums have an
// honest voter in common, so that no two voters have their turn at once, whoever leads,
// and though some lie.
//
// Going back from a trial that failed asks nobody.

// turnFor is for how long a voter's turn lasts if nothing is heard of its end: longer
// than a trial and its way back. One that is gone for good loses its seat before that,
// and its turn with it.
const turnFor = update.DefaultHealthyDeadline + 5*time.Minute

// A turn is one component of a voter that this one has let switch.
type turn struct {
	robot     member.Index
	component string
}

// turns are those that this voter has given. They are not kept over a restart: then
// the others of the quorum remember, and reports say who is on trial.
type turns struct {
	mu    sync.Mutex // guards given
	given map[turn]grant
}

type grant struct {
	at       time.Time
	sequence uint64 // of the robot's last report before it asked
}

// give notes that t has its turn now.
func (s *turns) give(t turn, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given[t] = grant{time.Now(), sequence}
}

// others are the robots but me whose turn is not over.
func (s *turns) others(me member.Index) map[member.Index]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[member.Index]bool{}
	for t, g := range s.given {
		switch {
		case time.Since(g.at) > turnFor:
			delete(s.given, t)
		case t.robot != me:
			out[t.robot] = true
		}
	}
	return out
}

// heard ends a turn when its robot says that it is at rest, or that it is switched off.
func (s *turns) heard(h *member.Health) {
	if switches(h) && !h.Leaving {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := turn{h.Robot, h.Component}
	if g, has := s.given[t]; has && h.Sequence > g.sequence {
		delete(s.given, t)
	}
}

// switches reports whether a robot asks to switch, or is between two releases.
func switches(h *member.Health) bool { return h.Phase == member.Armed || between(h) }

// between reports whether a robot is between two releases.
func between(h *member.Health) bool {
	return h.Phase == member.Trial || h.Phase == member.Reverting
}

// takesTurns reports whether the robot that asks is a voter among others, and has
// something that would be interrupted.
func takesTurns(v *View, a *order.Armed) bool {
	return len(v.Electorate.Voters) > 1 && v.Electorate.Has(a.Robot) && !a.Empty && !planted.Is("voters-together")
}

// yourTurn gives a voter its turn if no other has it, by what this one has granted and
// by what it has heard; else it says who has. A robot that does not vote needs none.
func (n *Node) yourTurn(v *View, a *order.Armed) string {
	if !takesTurns(v, a) {
		return ""
	}
	given := n.turns.others(a.Robot)
	for _, seat := range v.Electorate.Voters {
		if seat.Member != a.Robot && (given[seat.Member] || n.onTrial(v, seat.Member, turnFor)) {
			return fmt.Sprintf("%s votes too, and switches first", v.nameOf(seat.Member))
		}
	}
	n.turns.give(turn{a.Robot, a.Component}, a.Sequence)
	return ""
}

// onTrial reports whether a member's last word, of so lately, was that it is between two
// releases.
func (n *Node) onTrial(v *View, i member.Index, lately time.Duration) bool {
	for _, c := range v.Order.Components {
		h, at, ok := n.health.newest(i, c.Name)
		if ok && between(&h.Health) && !h.Leaving && time.Since(at) <= lately {
			return true
		}
	}
	return false
}

// takeTurn asks the voters in the order of their seats, this one among them, until a
// quorum has acknowledged. As all ask the same one first, it mostly decides who of
// several is next. A refusal may be a lie, so the others are asked as long as they may
// still be a quorum, but after a pause in which somebody who is ahead gets to its own.
func (n *Node) takeTurn(ctx context.Context, v *View, ask func(order.Voter) error) error {
	voters := v.Electorate.Voters
	need := order.Quorum(len(voters))
	got := 0
	var errs []error
	for i, to := range voters {
		err := ask(to)
		if err == nil {
			if got++; got == need {
				return nil
			}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", v.nameOf(to.Member), err))
		if n.keeper.View().Pointer() != v.Pointer() {
			return fmt.Errorf("%w: it was %w", ErrNoAck, errBehind)
		}
		if left := len(voters) - i - 1; got+left < need {
			break
		}
		if errors.Is(err, errNotNow) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(rand.N(n.time.retry)):
			}
		}
	}
	return fmt.Errorf("%w: %d of the %d voters that a voter needs: %w", ErrNoAck, got, need, errors.Join(errs...))
}

// turnBack waits for this robot's turn to go back to what ran before the swarm's first
// release, if it votes and has something to go back to. Unlike a switch to a release,
// that has no phase before it in which the updater would ask.
func (r *robot) turnBack(ctx context.Context, v *View) error {
	s := r.status()
	whole := s.Filled[0] && s.Filled[1] && s.Phase == member.Committed
	if !whole || !v.Order.Electorate.Has(v.Self) {
		return nil
	}
	return r.n.arm(ctx, r.cfg.Name, manifest.Ref{}, false)
}
