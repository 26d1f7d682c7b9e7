package gossip

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A robot that is switched on knows dozens of addresses. The first who answers tells it
// of all the others: nobody else is asked for the state of the whole swarm.
func TestALateMemberAsksNoMoreThanItMust(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		const members = 30
		var addrs []string
		for i := range members {
			addrs = append(addrs, addrOf(i))
		}
		nodes := s.startAll(members, mesh)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		late := s.start(members, mesh, func(c *Config) { c.Seeds = func() []string { return addrs } })
		time.Sleep(2 * Mesh.Rejoin())
		require.Len(t, late.Members(), members+1)
		require.LessOrEqual(t, late.Stats().JoinsTried, uint64(2))
	})
}

// Those who are gone do not keep a robot from the one that is there for long.
func TestALateMemberFindsTheOneOfMany(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		var addrs []string
		for i := range 60 {
			addrs = append(addrs, addrOf(i))
		}
		nodes := []*node{s.start(41, mesh), s.start(60, mesh, func(c *Config) { c.Seeds = func() []string { return addrs } })}
		s.within(2*time.Minute, "found", func() bool { return allAlive(nodes) })
	})
}
