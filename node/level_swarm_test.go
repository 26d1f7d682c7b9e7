package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// addBase lets a base node in: it votes, and runs no payload.
func (s *swarm) addBase(name string) *member0 {
	i, err := join.New(join.Invite{
		Swarm: "orchard-3", Root: s.op.View().Root, Operator: s.op.key(), Addrs: []string{s.op.bulk.Addr().String()},
		Role: member.Base, Expires: time.Now().Add(time.Hour), Uses: 1,
	})
	require.NoError(s.t, err)
	require.NoError(s.t, s.op.operator.book.Add(i))
	cfg := loopback(filepath.Join(s.dir, name))
	cfg.Name, cfg.Invite = name, i
	m := s.start(cfg)
	s.robots = append(s.robots, m)
	return m
}

// waitsFor is whom the level waits for, as a node has it.
func waitsFor(m *member0) []LevelWait {
	if l := m.Status().FeatureLevel; l != nil {
		return l.WaitsFor
	}
	return nil
}

// A swarm that an older build founded stays at its level while one member is of that
// build: here the operator's laptop, which does not vote. When that is updated too, the
// swarm comes to the newest level by itself.
func TestASwarmComesToTheNewestLevel(t *testing.T) {
	t.Parallel()
	s := &swarm{t: t, older: order.Level - 1}
	s.begin(5*time.Minute, 0, "1.0.0")
	s.older = 0
	s.addBase("base")
	for i := range 3 {
		s.addRobot(fmt.Sprintf("r%02d", i+1))
	}
	s.wait("all on 1.0.0", s.all("1.0.0"))
	require.Contains(t, s.voters(), "base")
	require.EqualValues(t, order.Level-1, s.op.View().Order.Level)
	older := []LevelWait{{"op", order.Level - 1}}
	for _, m := range s.robots {
		s.wait("it names the laptop only", func() bool { return slices.Equal(waitsFor(m), older) })
		w := m.Status().Warnings
		i := slices.IndexFunc(w, func(w Warning) bool { return w.Code == "level_waits" })
		require.GreaterOrEqual(t, i, 0, "%v", w)
		require.Contains(t, w[i].Text, "op (reads 1)")
	}
	require.Nil(t, s.op.Status().FeatureLevel, "it is all that the laptop reads")

	s.transfer = rollout.Transfer{UpBytesPerSec: 1 << 20}
	star := filepath.Join(s.dir, "1.1.0.star")
	rel := s.build("1.1.0", star)
	s.publish(rel, star)
	require.ErrorIs(t, s.tryRollOut(rel), ErrProposal)
	s.transfer = rollout.Transfer{}
	s.ship("1.3.0")
	require.EqualValues(t, order.Level-1, s.op.View().Order.Level, "leaders looked for seconds")

	s.op.stop()
	<-s.op.gone
	s.op = s.start(s.op.cfg)
	s.wait("the laptop takes part again", s.op.taking)
	s.wait("the newest level", func() bool { return s.op.View().Order.Level == order.Level })
	for _, m := range append(s.robots, s.op) {
		s.wait("all know it", func() bool { return m.View().Order.Level == order.Level })
		require.Nil(t, m.Status().FeatureLevel)
		require.False(t, slices.ContainsFunc(m.Status().Warnings, func(w Warning) bool { return w.Code == "level_waits" }))
	}
	for _, w := range s.op.Nodes().Nodes {
		require.False(t, slices.ContainsFunc(w.Reports, func(r ReportView) bool { return r.Component == levelComponent }), w.ID)
	}
	s.transfer = rollout.Transfer{UpBytesPerSec: 64 << 20}
	s.ship("1.4.0")
}
