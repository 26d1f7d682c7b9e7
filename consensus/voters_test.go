package consensus

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

// setVoters is a change that no voter has endorsed yet.
func setVoters(remove int, add *order.Voter) *rollout.Decision {
	m := member.Index(remove)
	return &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindSetVoters, Time: 1_700_000_002, SetVoters: &rollout.SetVoters{Remove: &m, Add: add}}
}

// change is setVoters with the words of all voters but the one that leaves, who may
// be gone, for the state of whoever leads.
func (s *swarm) change(remove int, add *order.Voter) *rollout.Decision {
	s.t.Helper()
	d, state := setVoters(remove, add), s.seats[s.leader()].r.State()
	for _, v := range state.Electorate.Voters {
		if v.Member != member.Index(remove) {
			d.SetVoters.Endorse(state, key(int(v.Member)))
		}
	}
	return d
}

// prepare calls PrepareVoter on whoever leads.
func (s *swarm) prepare(v order.Voter) {
	s.t.Helper()
	for {
		err := s.seats[s.leader()].r.PrepareVoter(s.t.Context(), v)
		var not ErrNotLeader
		if !errors.As(err, &not) {
			require.NoError(s.t, err)
			return
		}
	}
}

// servers are the ids in raft's configuration as seat i sees it, voters only.
func (s *swarm) servers(i int) []string {
	var out []string
	e := s.seats[i].r.engine.Load()
	if e == nil {
		return nil
	}
	for _, x := range e.raft.GetConfiguration().Configuration().Servers {
		if x.Suffrage == raft.Voter {
			out = append(out, string(x.ID))
		}
	}
	return out
}

func TestSeatChangesHands(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		out := (l + 1) % 4
		four := voter(4)
		err := s.seats[l].r.Propose(t.Context(), s.change(out, &four))
		require.ErrorIs(t, err, ErrRefused, "nobody has prepared it")
		require.False(t, s.seats[out].r.Prepared(four))

		s.start(4)
		s.prepare(four)
		s.until("all know that it is prepared", func() bool {
			for i := range 4 {
				if !s.seats[i].r.Prepared(four) {
					return false
				}
			}
			return true
		})
		index := s.propose(s.change(out, &four))
		s.certified(index)
		for i := range 5 {
			require.Len(t, s.seats[i].r.Chain(), 1)
			require.True(t, s.seats[i].r.Certified().Certificate.By(&s.genesis.Order.Electorate))
			require.True(t, s.seats[i].r.Certified().Certificate.By(&s.seats[i].r.State().Electorate))
		}
		s.until("raft has let go of the old seat", func() bool {
			return len(s.servers(4)) == 4 && !contains(s.servers(4), voter(out).Server)
		})
		require.NoError(t, s.stop(out))

		// The new electorate works alone, with one of its voters switched off.
		gone := (l + 2) % 4
		require.NoError(t, s.stop(gone))
		index = s.propose(checkpoint())
		s.certified(index)
		require.True(t, s.seats[4].r.Certified().Certificate.By(&s.seats[4].r.State().Electorate))
	})
}

func contains(list []string, what string) bool {
	for _, s := range list {
		if s == what {
			return true
		}
	}
	return false
}

func TestLeaderLosesItsSeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		s.start(4)
		four := voter(4)
		s.prepare(four)
		s.certified(s.propose(s.change(l, &four)))
		s.until("another one leads and has removed it", func() bool {
			return len(s.servers(4)) == 4 && !contains(s.servers(4), voter(l).Server)
		})
		require.NoError(t, s.stop(l))
		s.certified(s.propose(checkpoint()))
	})
}

func TestLostLogComesBackUnderNewServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		lost := (s.leader() + 1) % 4
		require.NoError(t, s.stop(lost))
		require.NoError(t, os.RemoveAll(s.seats[lost].dir))
		known := s.seats[(lost+1)%4].r.Certified()

		c := s.config(lost)
		c.Known = []order.Proven{known}
		_, err := New(c)
		require.ErrorIs(t, err, ErrLost)
		require.False(t, Exists(c.Dir))

		again := voter(lost)
		again.Server += "-2"
		s.seats[lost].voter = again
		s.start(lost, known)
		s.prepare(again)
		s.certified(s.propose(s.change(lost, &again)))
		s.until("the old server is gone", func() bool {
			return len(s.servers(lost)) == 4 && !contains(s.servers(lost), voter(lost).Server)
		})
		s.certified(s.propose(checkpoint()))
		require.True(t, Exists(c.Dir))
	})
}

// A new voter whose friends cannot be reached is given up after ctx, and steer
// takes it out again after a while.
func TestPrepareVoterGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		ctx, cancel := context.WithTimeout(t.Context(), 20*testH)
		defer cancel()
		require.ErrorIs(t, s.seats[l].r.PrepareVoter(ctx, voter(4)), context.DeadlineExceeded)
		e := s.seats[l].r.engine.Load()
		require.Len(t, e.raft.GetConfiguration().Configuration().Servers, 5)
		s.until("it is removed", func() bool { return len(e.raft.GetConfiguration().Configuration().Servers) == 4 })
		s.certified(s.propose(checkpoint()))
	})
}

// A voter that was away while its friends' seats changed hands listens to the new
// ones once its node tells it what the swarm certified.
func TestAddCertifiedOpensTheDoor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		away := (s.leader() + 1) % 4
		require.NoError(t, s.stop(away))
		for _, swap := range [][2]int{{(away + 1) % 4, 4}, {(away + 2) % 4, 5}} {
			s.start(swap[1])
			v := voter(swap[1])
			s.prepare(v)
			s.certified(s.propose(s.change(swap[0], &v)))
			s.until("raft follows", func() bool {
				return len(s.servers(swap[1])) == 4 && !contains(s.servers(swap[1]), voter(swap[0]).Server)
			})
			require.NoError(t, s.stop(swap[0]))
		}
		r := s.start(away)
		for _, p := range s.seats[4].r.Chain() {
			require.NoError(t, r.AddCertified(p))
		}
		require.NoError(t, r.AddCertified(s.seats[4].r.Certified()))
		require.NoError(t, r.AddCertified(s.seats[4].r.Chain()[0]), "an old one is none the worse")
		s.certified(s.propose(checkpoint()))
	})
}

// A captured leader proposes a change that only it wants. Replicas go on as if it
// had said nothing, and what comes after is certified.
func TestUnendorsedChangeIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		four := voter(4)
		d := setVoters((l+1)%4, &four)
		d.SetVoters.Endorse(s.seats[l].r.State(), key(l))
		require.ErrorIs(t, s.force(l, d), rollout.ErrElectorate)
		s.certified(s.propose(checkpoint()))
		for i := range 4 {
			require.EqualValues(t, 1, s.seats[i].r.State().Electorate.Version)
		}
	})
}

// force puts d into the log as a captured leader would, without asking whether an
// honest one may.
func (s *swarm) force(i int, d *rollout.Decision) error {
	r := s.seats[i].r
	return r.propose(s.t.Context(), r.engine.Load(), d)
}

// A captured leader brings an endorsed change into the log before the new voter is
// prepared, and never signs. The next leader gives the new one its vote in raft, and
// the two that are honest certify the change with it.
func TestEarlyChangeIsBroughtToItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		four, out := voter(4), (l+1)%4
		s.mu.Lock()
		s.checker[l] = func(_, _ *rollout.State) error { return errors.New("captured") }
		s.mu.Unlock()
		require.NoError(t, s.force(l, s.change(out, &four)))
		index := s.seats[l].r.State().OrderIndex
		s.until("all have applied it", func() bool {
			for i := range 4 {
				if s.seats[i].r.State().OrderIndex < index {
					return false
				}
			}
			return true
		})
		require.Less(t, s.seats[out].r.Certified().Order.Index, index, "three of the four new voters must sign")
		require.NoError(t, s.stop(l))
		s.start(4)
		s.certified(index)
		s.until("raft has let go of the old seat", func() bool {
			return contains(s.servers(4), four.Server) && !contains(s.servers(4), voter(out).Server)
		})
		require.NoError(t, s.stop(out))
		s.certified(s.propose(checkpoint()))
	})
}
