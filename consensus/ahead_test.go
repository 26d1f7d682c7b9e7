package consensus

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

const (
	aheadNow = 1_700_000_100 // what an honest clock says
	tolerant = 300           // seconds that clocks may differ
)

// clocks gives each voter its own idea of the time, by which it judges orders.
func (s *swarm) clocks(says func(i int) int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.genesis.Order.Electorate.Voters {
		s.checker[i] = func(_, next *rollout.State) error {
			if at := says(i); next.OrderTime > at+tolerant {
				return fmt.Errorf("%w: %d", ErrAhead, next.OrderTime-at)
			}
			return nil
		}
	}
}

func at(t int64) *rollout.Decision {
	return &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindCheckpoint, Time: t}
}

// A leader whose clock is far ahead of a quorum's gives up the lead, and under the
// next one orders are certified again.
func TestALeaderAheadOfAQuorumGivesUpTheLead(t *testing.T) {
	for _, n := range []int{4, 7} {
		bubble(t, func(t *testing.T) {
			s := newSwarm(t, n).found()
			s.certified(s.propose(checkpoint()))
			wrong := s.leader()
			s.clocks(func(i int) int64 {
				if i == wrong {
					return aheadNow + 3600
				}
				return aheadNow
			})
			stuck := s.propose(at(aheadNow + 3600))
			s.until("another one leads", func() bool { return !s.seats[wrong].r.IsLeader() && s.leader() != wrong })
			require.Less(t, s.seats[wrong].r.Certified().Order.Index, stuck)
			s.certified(s.propose(at(aheadNow)))
			require.Equal(t, int64(aheadNow), s.seats[wrong].r.Certified().Order.Time)
		})
	}
}

// The lead goes to one of those who object, so that two wrong clocks do not hand it
// to and fro.
func TestTheLeadGoesToOneWhoObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		wrong := s.leader()
		also := 0 // whom raft's own choice would fall on, all having acknowledged alike
		if wrong == 0 {
			also = 1
		}
		s.clocks(func(i int) int64 {
			if i == wrong || i == also {
				return aheadNow + 3600
			}
			return aheadNow
		})
		s.propose(at(aheadNow + 3600))
		s.until("another one leads", func() bool { return !s.seats[wrong].r.IsLeader() })
		require.NotEqual(t, also, s.leader())
	})
}

// Fewer than could block a certificate move nobody: one hostile voter of four could
// otherwise keep the lead moving. Neither does a voter that is away.
func TestOneObjectionMovesNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		late := (l + 1) % 4
		s.clocks(func(i int) int64 {
			if i == late {
				return aheadNow - 3600
			}
			return aheadNow
		})
		s.hub.cut(s.seats[(l+2)%4].voter.Key, true)
		term := s.seats[l].r.Term()
		index := s.propose(at(aheadNow))
		time.Sleep(50 * testH) // virtual
		require.True(t, s.seats[l].r.IsLeader())
		require.Equal(t, term, s.seats[l].r.Term())
		require.Less(t, s.seats[l].r.Certified().Order.Index, index, "only two of four sign")
		s.hub.cut(s.seats[(l+2)%4].voter.Key, false)
		s.until("it is certified", func() bool { return s.seats[l].r.Certified().Order.Index == index })
	})
}

// An objection counts for the voter whose connection brings it, and for nobody else.
func TestObjectionsComeFromVoters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		r := s.seats[s.leader()].r
		object := func(as int) SignedStatement {
			return SignedStatement{
				Statement: order.Statement{Swarm: "test", Generation: 1, Index: 9}, Signature: envelope.Signature{Key: voter(as).Key}, Ahead: true,
			}
		}
		require.ErrorIs(t, r.AddSignature(voter(7).Key, object(7)), ErrStranger)
		require.ErrorIs(t, r.AddSignature(voter(1).Key, object(2)), ErrStranger)
		other := object(1)
		other.Statement.Generation = 2
		require.ErrorIs(t, r.AddSignature(voter(1).Key, other), order.ErrInvalid)
		require.NoError(t, r.AddSignature(voter(1).Key, object(1)))
		got, err := DecodeSigned(object(1).Encode())
		require.NoError(t, err)
		require.Equal(t, object(1), got)
	})
}
