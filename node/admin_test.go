package node

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/install"
)

// What a person at one robot, or at the laptop, sees and can do once a release has
// arrived.
func TestOneRobotTakesItsFirstReleaseAndSaysSo(t *testing.T) {
	s := newSwarm(t, 1, "1.0.0")
	s.wait("the robot takes part", func() bool { return s.robots[0].taking() })
	require.NoError(t, s.op.Begin(s.ctx, 2))
	s.wait("1.0.0 everywhere", s.all("1.0.0"))
	r := s.robots[0]

	s.wait("the laptop heard of it", func() bool {
		w, err := s.op.NodeByID("r01")
		return err == nil && w.report("app") != nil && w.report("app").Phase == member.Committed.String()
	})
	seeds := s.op.Status().Seeds
	require.Len(t, seeds, 1)
	require.Equal(t, "1.0.0", seeds[0].Release.Version)
	require.GreaterOrEqual(t, seeds[0].SentRatio, 1.0)
	rels := s.op.Releases().Releases
	require.Len(t, rels, 1)
	require.True(t, rels[0].Active)
	require.Equal(t, []string{"all"}, rels[0].Held)
	here := r.Status().Here
	require.Len(t, here, 1)
	require.Equal(t, "1.0.0", here[0].Running.String())
	require.True(t, here[0].Gate.Open)

	x, err := s.op.Explain("r01")
	require.NoError(t, err)
	require.Equal(t, "stays", x.Code)
	require.Contains(t, x.Text, "r01 runs 1.0.0")

	_, err = r.SetGate(GateRequest{Action: "permit", Owner: "pilot", Seconds: 5})
	require.ErrorIs(t, err, install.ErrGateMode)
	_, err = r.SetGate(GateRequest{Action: "open", Owner: "pilot", Seconds: 5})
	require.ErrorIs(t, err, ErrRequest)
	_, err = r.Rollback(s.ctx, "wings", "")
	require.ErrorIs(t, err, ErrRequest)
	c, err := r.Rollback(s.ctx, "app", "it hums")
	require.NoError(t, err)
	require.Equal(t, "nothing to go back to: it hums", c.Reason)

	require.NoError(t, r.Ping(s.ctx))
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	require.Error(t, r.Ping(ended))
}
