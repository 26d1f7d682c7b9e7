package node

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/join"
)

// A robot that got a halt token from anywhere passes it on: these robots ask each
// other what they missed twice a minute, and the token is there at once.
func TestAHaltIsPassedOn(t *testing.T) {
	s := newSwarm(t, 0)
	for _, name := range []string{"r01", "r02"} {
		i, err := s.op.Invite(s.ctx, InviteRequest{Role: "base"})
		require.NoError(t, err)
		cfg := loopback(filepath.Join(s.dir, name))
		cfg.Name, cfg.Invite, cfg.Profile = name, i, "lan"
		s.robots = append(s.robots, s.start(cfg))
	}
	s.wait("all have heard of the laptop", func() bool {
		for _, m := range s.robots {
			if !m.taking() || len(m.gossip.Members()) < 2 { // the operator's node, at least
				return false
			}
		}
		return len(s.op.gossip.Members()) == 3
	})
	token := halt.Token{Format: halt.Format, Swarm: "orchard-3", Counter: 1, Halted: true, Reason: "fire"}
	begun := time.Now()
	require.NoError(t, s.robots[0].keeper.offer(s.ctx, &join.MetaReply{Halt: token.Seal().Sign(s.operator).Encode()}))
	s.wait("the others are halted", func() bool { return s.robots[1].View().Halted && s.op.View().Halted })
	require.Less(t, time.Since(begun), 10*time.Second, "they found out by asking")

	token.Reason = "water"
	_, err := s.op.Halt(s.ctx, token.Seal().Sign(s.operator).Encode())
	require.ErrorIs(t, err, halt.ErrOld)
}

// A robot that says goodbye is seen as one that left, and its last report says so.
// It does not switch any more.
func TestGoodbyeReachesTheOthers(t *testing.T) {
	s := newSwarm(t, 2)
	s.wait("two robots", func() bool { return s.robots[0].taking() && s.robots[1].taking() })
	require.NoError(t, s.op.Begin(s.ctx, 3))
	s.wait("all know the order", func() bool {
		for _, m := range s.robots {
			if m.View().Order == nil || len(m.gossip.Members()) < 3 {
				return false
			}
		}
		return s.op.Status().Quorum.Leader != ""
	})

	gone := s.robots[1].View().Self
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second) // gossip alone may take 10
	defer cancel()
	require.NoError(t, s.robots[1].Leave(ctx))
	require.ErrorIs(t, s.robots[1].arm(ctx, "app", manifest.Ref{}, false), errLeaving)
	s.wait("r02 has left", func() bool {
		g, ok := s.op.gossip.Lookup(gone)
		h, _, heard := s.op.health.newest(gone, "app")
		return ok && g.State == gossip.Left && heard && h.Leaving
	})
	x, err := s.op.Explain("r02")
	require.NoError(t, err)
	require.Equal(t, "off", x.Code)
}
