package gossip

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLeave(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(4, mesh)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		s.net.lose(split(1)) // member 0 misses the goodbye
		time.Sleep(time.Second)
		require.NoError(t, nodes[3].Leave(t.Context()))
		require.NoError(t, nodes[3].Leave(t.Context()), "twice is once")
		s.halt(nodes[3])
		s.within(10*time.Second, "left", func() bool { return nodes[1].sees(3, Left) && nodes[2].sees(3, Left) })
		s.net.lose(nil)
		s.within(5*time.Minute, "told of it", func() bool { return nodes[0].sees(3, Left) })

		require.ErrorIs(t, nodes[3].Leave(t.Context()), ErrNotRunning)
		nodes[3] = s.start(3, mesh)
		s.within(3*time.Minute, "back", func() bool { return allAlive(nodes) })
	})
}

// A member that changes its metadata and leaves at once, as others change theirs, is
// seen as left each time: what memberlist loses then is said again.
func TestLeaveAmongChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(6)
		for round := range 8 { // one need not meet it
			s.within(settle, "whole", func() bool { return allAlive(nodes) })
			time.Sleep(time.Minute) // nothing is on its way
			for _, n := range nodes {
				n.SetMeta(Meta{Bulk: 4000, Control: 5000, Progress: uint8(round % 2), Health: HealthGood})
			}
			time.Sleep(time.Millisecond)
			said := make(chan error, 1)
			go func() { said <- nodes[5].Leave(t.Context()) }()
			time.Sleep(time.Millisecond)
			nodes[5].SetMeta(Meta{Bulk: 4000}) // its goodbye is on its way
			require.NoError(t, <-said)
			require.True(t, nodes[5].sees(5, Left))
			s.halt(nodes[5])
			s.within(settle, "left", func() bool {
				return !slices.ContainsFunc(nodes[:5], func(n *node) bool { return !n.sees(5, Left) })
			})
			nodes[5] = s.start(5)
		}
	})
}

func TestLeaveAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		n := s.start(0)
		time.Sleep(time.Second)
		require.NoError(t, n.Leave(t.Context()))
		n.SetMeta(Meta{Progress: 3})
		time.Sleep(time.Minute)
		require.Zero(t, n.Stats().MetaUpdates, "the departed say nothing")
	})
}
