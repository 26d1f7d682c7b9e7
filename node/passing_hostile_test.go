package node

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// A robot that says what it is not, or says old things again, has a voter pass on no more
// than an honest one.
func TestOnlyNewsIsPassedOn(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 4, "1.0.0")
	s.wait("1.0.0", s.all("1.0.0"))
	liar, voter := s.robots[0], s.robots[1]
	said := &reports{Format: reportsFormat}
	for i := range maxTogether {
		h := member.Health{Format: member.HealthFormat, Robot: liar.View().Self, Sequence: 1<<60 + uint64(i), Component: fmt.Sprintf("part%d", i)}
		said.Sealed = append(said.Sealed, h.Seal(liar.View().Swarm).Sign(liar.priv).Encode())
	}
	_, err := voter.answerReports(s.ctx, liar.key(), said.encode())
	require.NoError(t, err)
	passed := 0
	for _, r := range voter.passing.take() {
		passed += len(r.Sealed)
	}
	require.Less(t, passed, member.MaxComponents, "one is app")
	_, err = voter.answerReports(s.ctx, liar.key(), said.encode())
	require.NoError(t, err)
	require.Empty(t, voter.passing.take(), "all that was said before")
	_, err = voter.answerReports(s.ctx, s.robots[2].key(), said.encode())
	require.NoError(t, err)
	require.Empty(t, voter.passing.take(), "and by another")

	h := member.Health{Format: member.HealthFormat, Robot: 77, Sequence: 1, Component: "app"}
	said.Sealed = [][]byte{h.Seal(liar.View().Swarm).Sign(liar.priv).Encode()}
	_, err = voter.answerReports(s.ctx, liar.key(), said.encode())
	require.ErrorContains(t, err, "unknown member 77")
	h.Robot = s.robots[2].View().Self
	said.Sealed = [][]byte{h.Seal(liar.View().Swarm).Sign(liar.priv).Encode()}
	_, err = voter.answerReports(s.ctx, liar.key(), said.encode())
	require.Error(t, err, "nobody speaks for another")
}

// While a rollout is open, silence counts: no robot stays with a voter that keeps what it
// says to itself.
func TestTurnAfter(t *testing.T) {
	require.Equal(t, passTurn, turnAfter(nil))
	require.Equal(t, passTurn, turnAfter(&order.Order{}))
	require.Equal(t, openTurn, turnAfter(&order.Order{Rollout: &order.Rollout{Status: order.Running}}))
	require.Equal(t, openTurn, turnAfter(&order.Order{Rollout: &order.Rollout{Status: order.Held}}))
	require.Equal(t, passTurn, turnAfter(&order.Order{Rollout: &order.Rollout{Status: order.Finished}}))
}

func FuzzDecodeReports(f *testing.F) {
	f.Add((&reports{Format: reportsFormat, Sealed: [][]byte{{1}, {2, 3}}}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeReports(data)
		if err != nil {
			require.Nil(t, r)
			return
		}
		require.Equal(t, data, r.encode())
	})
}
