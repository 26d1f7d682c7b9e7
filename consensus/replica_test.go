package consensus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

func TestFourVotersCertifyTheSameOrders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		for range 5 {
			s.certified(s.propose(checkpoint()))
		}
		want := s.seats[0].r.Certified()
		require.NotNil(t, want.Certificate)
		for i := range 4 {
			r := s.seats[i].r
			require.Equal(t, want.Order.Digest(), r.Certified().Order.Digest())
			require.True(t, r.Certified().Certificate.By(&s.genesis.Order.Electorate))
			require.Equal(t, s.seats[0].r.State().Digest(), r.State().Digest())
			leader, ok := r.Leader()
			require.True(t, ok)
			require.Equal(t, s.leader(), int(leader.Member))
			require.Empty(t, r.Evidence())
		}
	})
}

// A swarm begins with fewer than four: it works, and bears no hostile voter.
func TestFewVoters(t *testing.T) {
	for n := 1; n <= 3; n++ {
		bubble(t, func(t *testing.T) {
			s := newSwarm(t, n).found()
			index := s.propose(checkpoint())
			s.certified(index)
			for i := range n {
				require.NoError(t, s.stop(i))
			}
			s.found()
			s.certified(s.propose(checkpoint()))
		})
	}
}

func TestProposeOnFollowerNamesTheLeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		err := s.seats[(l+1)%4].r.Propose(t.Context(), checkpoint())
		var not ErrNotLeader
		require.ErrorAs(t, err, &not)
		require.Equal(t, voter(l), not.Leader)
		require.Error(t, s.seats[(l+1)%4].r.PrepareVoter(t.Context(), voter(9)))
	})
}

func TestProposeSaysWhyARefusedDecisionDoesNotHold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.seats[s.leader()].r
		before := l.State().OrderIndex
		err := l.Propose(t.Context(), &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindAdvance})
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorIs(t, err, rollout.ErrNoRollout)
		require.Equal(t, before, l.State().OrderIndex)
	})
}

func TestFailover(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		require.NoError(t, s.stop(l))
		died := time.Now()
		index := s.propose(checkpoint())
		t.Logf("new leader %d and a decision after %s at H=%s", s.leader(), time.Since(died), testH)
		require.Less(t, time.Since(died), 4*testH*2)
		s.certified(index)
		s.start(l)
		s.certified(s.propose(checkpoint()))
	})
}

func TestRestartKeepsWhatWasCertified(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		index := s.propose(checkpoint())
		s.certified(index)
		for i := range 4 {
			require.NoError(t, s.stop(i))
		}
		for i := range 4 {
			r := s.start(i)
			require.Equal(t, index, r.Certified().Order.Index)
			require.NotNil(t, r.Certified().Certificate)
		}
		next := s.propose(checkpoint())
		require.Greater(t, next, index)
		s.certified(next)
	})
}

func TestHandOverMovesTheLead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		require.NoError(t, s.seats[l].r.HandOver(t.Context()))
		s.until("another one leads", func() bool {
			v, ok := s.seats[l].r.Leader()
			return ok && int(v.Member) != l
		})
		s.certified(s.propose(checkpoint()))
	})
}

func TestCheckerDecidesOverSignatures(t *testing.T) {
	for refusing, want := range map[int]bool{1: true, 2: false} {
		t.Run(map[bool]string{true: "one of four refuses", false: "two of four refuse"}[want], func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSwarm(t, 4).found()
				first := s.propose(checkpoint())
				s.certified(first)
				s.mu.Lock()
				var may bool
				steps := map[uint64]uint64{} // next to prev, as the last voter, who signs all, saw them
				s.checker[3] = func(prev, next *rollout.State) error {
					s.mu.Lock()
					defer s.mu.Unlock()
					steps[next.Index] = prev.Index
					return nil
				}
				for i := range refusing {
					s.checker[i] = func(prev, next *rollout.State) error {
						s.mu.Lock()
						defer s.mu.Unlock()
						if may {
							return nil
						}
						if !want {
							require.Equal(t, first, prev.Index, "what was refused must be looked at again with the next order")
						}
						return order.ErrInvalid
					}
				}
				s.mu.Unlock()
				s.propose(checkpoint())
				index := s.propose(checkpoint())
				if want {
					s.certified(index)
					return
				}
				s.until("the last voter has signed", func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					return len(steps) == 2
				})
				require.Equal(t, map[uint64]uint64{index - 1: first, index: index - 1}, steps, "what this voter signed is not looked at twice")
				limit := time.Now().Add(20 * testH)
				s.until("time is up", func() bool { return time.Now().After(limit) })
				for i := range 4 {
					require.Equal(t, first, s.seats[i].r.Certified().Order.Index)
				}
				s.mu.Lock()
				may = true
				s.mu.Unlock()
				s.certified(index)
			})
		})
	}
}
