package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// spare is a running robot without a seat.
func (s *swarm) spare() *member0 {
	for _, m := range s.robots {
		if !m.View().Votes() {
			return m
		}
	}
	s.t.Fatal("all robots vote")
	return nil
}

// seatOf is the seat that a member would have in the next electorate.
func seatOf(m *member0, state *rollout.State) order.Voter {
	v := m.View()
	return order.Voter{Member: v.Self, Key: m.key(), Server: string(v.ID) + "-v" + itoa(int(state.Electorate.Version)+1)}
}

// whileItLeads calls f with the leader until it succeeds. An error counts unless the lead
// was lost on the way, or somebody had no time to answer.
func (s *swarm) whileItLeads(f func(leader *member0) error) {
	s.t.Helper()
	for {
		leader := s.voter(true)
		r := leader.Node.voter.replica.Load()
		term := r.Term()
		err := f(leader)
		if err == nil {
			return
		}
		require.NoError(s.t, s.ctx.Err(), err)
		moved := !r.IsLeader() || slices.ContainsFunc(s.robots, func(m *member0) bool {
			other := m.Node.voter.replica.Load()
			return other != nil && other.Term() != term
		})
		if !moved && !errors.Is(err, context.DeadlineExceeded) {
			require.NoError(s.t, err)
		}
	}
}

// prepare makes a member ready for a seat, as a leader may at any time.
func (s *swarm) prepare(leader *member0, in order.Voter) error {
	r := leader.Node.voter.replica.Load()
	state := r.State()
	a, err := leader.askSeat(s.ctx, in.Key, seatRequest{Kind: seatInvite, Generation: state.Generation, Version: state.Electorate.Version, Server: in.Server})
	if err == nil && a.Server != in.Server {
		err = errors.New(a.Refusal)
	}
	if err != nil {
		return err
	}
	return r.PrepareVoter(s.ctx, in)
}

// refuses asks a voter for its word for a change, and is an error unless it refuses
// because of this.
func (s *swarm) refuses(from, to *member0, c *rollout.SetVoters, because string) error {
	state := from.Node.voter.replica.Load().State()
	a, err := from.askSeat(s.ctx, to.key(), seatRequest{Kind: seatEndorse, Generation: state.Generation, Version: state.Electorate.Version, Change: c})
	if err == nil && (a.Endorsement != nil || !strings.Contains(a.Refusal, because)) {
		err = fmt.Errorf("%s says %q and not %q, endorsed %v", to.View().ID, a.Refusal, because, a.Endorsement != nil)
	}
	return err
}

// deafen makes a voter believe that it has not heard another one for an hour: a captured
// leader may have seen to that by jamming it.
func (m *member0) deafen(to *member0) {
	r := m.Node.voter.roll
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.seats[to.key()]
	e.heard, e.missed = time.Now().Add(-time.Hour), 1000
	r.seats[to.key()] = e
}

// A captured leader wants a friend in the place of an honest voter that is there. It
// may invite and prepare whom it likes; nobody gives it a word for the rest, and
// without the words nothing comes of it.
func TestACapturedLeaderCannotUnseatAnHonestVoter(t *testing.T) {
	t.Parallel()
	s := newSteadySwarm(t, 5, "1.0.0")
	s.wait("all on 1.0.0", s.all("1.0.0"))
	friend := s.spare()
	s.whileItLeads(func(leader *member0) error {
		honest, r := s.voter(false), leader.Node.voter.replica.Load()
		state := r.State()
		in, out := seatOf(friend, state), honest.View().Self
		if err := s.prepare(leader, in); err != nil {
			return err
		}
		c := &rollout.SetVoters{Remove: &out, Add: &in}
		for _, m := range s.robots {
			if m == leader || m == friend {
				continue
			}
			s.wait("it knows that the friend is prepared", func() bool { return m.Node.voter.replica.Load().Prepared(in) })
			m.deafen(honest)
			for _, ask := range []struct {
				c       *rollout.SetVoters
				because string
			}{
				{c, "answered"}, {&rollout.SetVoters{Remove: &out}, "nobody is to enter"}, {&rollout.SetVoters{Add: &in}, "4 voters are enough"},
			} {
				if err := s.refuses(leader, m, ask.c, ask.because); err != nil {
					return err
				}
			}
		}
		if err := s.refuses(honest, leader, c, "only the leader may ask"); err != nil {
			return err
		}
		c.Endorse(state, leader.priv)
		c.Endorse(state, friend.priv)
		err := r.Propose(s.ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindSetVoters, Time: time.Now().Unix(), SetVoters: c})
		if !errors.Is(err, consensus.ErrRefused) {
			return fmt.Errorf("not refused: %w", err)
		}
		require.EqualValues(t, 1, r.State().Electorate.Version)

		// One that does not vote invites nobody.
		b, err := friend.askSeat(s.ctx, honest.key(), seatRequest{Kind: seatInvite, Generation: state.Generation, Version: state.Electorate.Version, Server: "x-v2"})
		if err == nil {
			require.Contains(t, b.Refusal, "does not vote")
		}
		return err
	})
	s.ship("1.1.0")
}

// A leader dies between preparing the new voter and everything else. The next one
// comes to the same decision and brings it to its end.
func TestTheNextLeaderGoesOnWithAChange(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until a voter counts as dead")
	}
	t.Parallel()
	s := newSteadySwarm(t, 6, "1.0.0")
	s.wait("all on 1.0.0", s.all("1.0.0"))
	dead := s.kill(s.voter(false))
	var leader *member0
	s.whileItLeads(func(l *member0) error {
		leader = l
		err := s.prepare(l, seatOf(s.spare(), l.Node.voter.replica.Load().State()))
		if errors.Is(err, consensus.ErrRefused) {
			return nil // the leader has found the voter dead, and is at it by itself
		}
		return err
	})

	leader.stop()
	<-leader.gone
	s.robots = slices.DeleteFunc(s.robots, func(x *member0) bool { return x == leader })
	s.robots = append(s.robots, s.restart(leader))
	s.wait("everybody is back", func() bool { return s.robots[len(s.robots)-1].taking() })
	s.replaced(dead)
	require.EqualValues(t, 2, s.op.View().Electorate.Version)
	require.NotContains(t, s.voters(), "op")
	servers := func() int {
		n := 0
		for _, m := range s.robots {
			if m.Node.voter.serving.Load() != nil {
				n++
			}
		}
		return n
	}
	s.wait("whoever was invited in vain has gone home", func() bool { return servers() == 4 })
}

// A voter comes back with its log gone. It says so, and gets its seat back under a
// new name: voting again with an empty memory under the old one could break promises.
func TestAVoterWithoutItsLogIsSeatedAnew(t *testing.T) {
	if testing.Short() {
		t.Skip("two whole rollouts")
	}
	t.Parallel()
	s := newSwarmFor(t, 6*time.Minute, 4, "1.0.0")
	s.wait("all on 1.0.0", s.all("1.0.0"))
	s.ship("1.1.0") // so that something is certified
	hurt := s.voter(false)
	name := string(hurt.View().ID)
	s.wait("it has a certified order", func() bool { return hurt.View().proven.Certificate != nil })
	hurt.stop()
	<-hurt.gone
	s.robots = slices.DeleteFunc(s.robots, func(x *member0) bool { return x == hurt })
	require.NoError(t, os.RemoveAll(hurt.dir.path("raft")))
	again := s.restart(hurt)
	s.robots = append(s.robots, again)
	s.wait("seated anew", func() bool {
		e := s.op.View().Electorate
		return e.Version == 2 && e.Voters[e.Seat(again.key())].Server == name+"-v2"
	})
	s.replaced("op") // has no seat anyway: waits for four that serve
	s.ship("1.3.0")
}

// A directory that cannot be read, again and again, is set aside: then the seat counts
// as lost. One failure, or an end for another reason, is none.
func TestADamagedSeatIsGivenUpSlowly(t *testing.T) {
	n := &Node{dir: dir(t.TempDir()), wake: newBroadcast(), log: slog.New(slog.DiscardHandler), time: timings["local"]}
	var err error
	n.events, err = openEvents(n.dir.path("history"))
	require.NoError(t, err)
	defer func() { require.NoError(t, n.events.close()) }()
	w, err := n.newVoter()
	require.NoError(t, err)
	v := &View{Genesis: &order.Genesis{Order: order.Order{Generation: 1}}, proven: order.Proven{Certificate: &order.Certificate{}}}
	require.NoError(t, os.MkdirAll(w.dirOf(v), 0o700))
	there := func() bool { _, err := os.Stat(w.dirOf(v)); return err == nil }
	for range maxDamaged - 1 {
		require.False(t, w.failed(v, "me", consensus.ErrDamaged, 0))
	}
	require.False(t, w.failed(v, "me", errors.New("something else"), 0))
	for range maxDamaged - 1 {
		require.False(t, w.failed(v, "me", consensus.ErrDiverged, 0))
	}
	require.False(t, w.failed(v, "me", consensus.ErrDamaged, time.Hour), "it ran for long")
	require.True(t, there())
	v.proven.Certificate = nil
	for range maxDamaged {
		require.False(t, w.failed(v, "me", consensus.ErrDamaged, 0))
	}
	require.True(t, there(), "nothing would tell it from a first start")
	v.proven.Certificate = &order.Certificate{}
	for range maxDamaged {
		require.False(t, w.failed(v, "me", consensus.ErrDamaged, 0))
	}
	require.False(t, there())
	require.DirExists(t, w.dirOf(v)+".damaged")
	require.True(t, w.failed(v, "me", consensus.ErrLost, 0))
	require.Equal(t, "me", w.seating.lost.server)
}
