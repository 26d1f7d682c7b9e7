package node

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// voters are the names of those who vote, as the operator's node has verified.
func (s *swarm) voters() []string {
	v := s.op.View()
	if v.Electorate == nil {
		return nil
	}
	var out []string
	for _, e := range v.Electorate.Voters {
		out = append(out, v.nameOf(e.Member))
	}
	return out
}

// voter is a running robot that votes; leads says whether it is to be the leader.
func (s *swarm) voter(leads bool) *member0 {
	var out *member0
	s.wait("a voter", func() bool {
		for _, m := range s.robots {
			if r := m.Node.voter.replica.Load(); m.View().Votes() && r != nil && r.IsLeader() == leads {
				out = m
				return true
			}
		}
		return false
	})
	return out
}

// kill ends a robot for good.
func (s *swarm) kill(m *member0) string {
	name := string(m.View().ID)
	m.stop()
	<-m.gone
	s.robots = slices.DeleteFunc(s.robots, func(x *member0) bool { return x == m })
	return name
}

// replaced waits until name has no seat and four that are there have one, with a
// replica each, and everybody knows it.
func (s *swarm) replaced(name string) {
	s.t.Helper()
	s.wait(name+" has lost its seat", func() bool { return !slices.Contains(s.voters(), name) })
	require.Len(s.t, s.voters(), 4)
	version := s.op.View().Electorate.Version
	s.wait("everybody knows the voters", func() bool {
		serving := 0
		for _, m := range append([]*member0{s.op}, s.robots...) {
			if m.View().Electorate.Version < version {
				return false
			}
			if m.Node.voter.serving.Load() != nil && m.View().Votes() {
				serving++
			}
		}
		return serving == 4
	})
}

func (s *swarm) ship(version string) {
	s.t.Helper()
	star := filepath.Join(s.dir, version+".star")
	rel := s.build(version, star)
	s.publish(rel, star)
	s.rollOut(rel)
	s.wait(version+" done", func() bool {
		return s.status() == order.Finished && s.op.View().Order.Component("app").Active.Version == version
	})
	s.wait("all on "+version, s.all(version))
}

// Voters die for good, one after the other, the leader among them: others take their
// seats, and the swarm goes on shipping.
func TestSeatsOfDeadVotersAreGivenAway(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until voters count as dead")
	}
	t.Parallel()
	s := newSwarmFor(t, 6*time.Minute, 6, "1.0.0")
	s.noCanary = true // it might be one of the dead
	s.wait("all on 1.0.0", s.all("1.0.0"))
	first := s.kill(s.voter(true))
	s.replaced(first)
	s.ship("1.1.0")

	second := s.kill(s.voter(false))
	s.replaced(second)
	s.ship("1.3.0")
	require.NotContains(t, s.voters(), "op")
	require.EqualValues(t, 3, s.op.View().Electorate.Version)
	require.Len(t, s.op.View().chain, 2)

	var seen []string
	for _, w := range s.op.Status().Quorum.Voters {
		seen = append(seen, string(w.ID))
	}
	require.Equal(t, s.voters(), seen)
	for _, w := range s.op.Nodes().Nodes {
		require.Equal(t, slices.Contains(s.voters(), string(w.ID)), w.Voter, w.ID)
	}
}

// A revoked voter is heard no more, also if it leads, and its seat is given away at
// once; with nobody else there to the operator's node, which gives it up again.
func TestSeatOfARevokedVoterIsGivenAway(t *testing.T) {
	if testing.Short() {
		t.Skip("a swarm that changes its voters twice")
	}
	t.Parallel()
	s := newSwarmFor(t, 6*time.Minute, 4, "1.0.0")
	s.wait("all on 1.0.0", s.all("1.0.0"))
	stolen := s.voter(true)
	name := stolen.View().ID
	begun := time.Now()
	done, err := s.op.Revoke(s.ctx, name)
	require.NoError(t, err)
	require.True(t, done.WasVoter)
	s.robots = slices.DeleteFunc(s.robots, func(x *member0) bool { return x == stolen })
	s.replaced(string(name))
	require.Contains(t, s.voters(), "op")
	require.Less(t, time.Since(begun), 2*time.Minute, "the others listened on")
	s.wait("all have the new gossip key", func() bool {
		return !slices.ContainsFunc(s.robots, func(m *member0) bool { return m.View().keyN != s.op.View().keyN })
	})

	s.addRobot("r05")
	s.wait("a robot has taken over from the operator's node", func() bool { return slices.Contains(s.voters(), "r05") })
	s.replaced("op")
	s.ship("1.1.0")
	require.Equal(t, member.ID("op"), s.op.View().ID)
}
