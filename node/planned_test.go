package node

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

func TestAPlanOnlyNarrows(t *testing.T) {
	own := artifacts.Limits{Up: 100, Down: 200}
	require.Equal(t, own, narrower(own, rollout.Transfer{}))
	require.Equal(t, artifacts.Limits{Up: 50, Down: 200, Peer: 7}, narrower(own, rollout.Transfer{UpBytesPerSec: 50, DownBytesPerSec: 300, PeerBytesPerSec: 7}))
}

// The limits of a plan count while it says where its rollout goes: not when that is over,
// and not for what goes back.
func TestWhenAPlanCounts(t *testing.T) {
	for status, want := range map[order.Status]bool{
		order.Running: true, order.Held: true, order.RollingOff: false, order.Finished: false, order.Reverted: false, order.Expired: false, order.Aborted: false,
	} {
		v := &View{Order: &order.Order{Rollout: &order.Rollout{Status: status}}}
		require.Equal(t, want, openRollout(v) != nil, "%s", status)
	}
	require.Nil(t, openRollout(nil))
	require.Nil(t, openRollout(&View{}))
	require.Nil(t, openRollout(&View{Order: &order.Order{}}))
}

// A robot waits for the plan of what it is to fetch, and then for its conditions beside
// its own; another release needs only its own.
func TestWhatAPlanLacks(t *testing.T) {
	held, err := newConditions([]Condition{Still})
	require.NoError(t, err)
	n := &Node{conditions: held, ways: newWays(nil), keeper: &keeper{}, docs: docs{t.TempDir()}}
	planned, other, plan := manifest.Sum([]byte("1.1.0")), manifest.Sum([]byte("1.0.0")), manifest.Sum([]byte("plan"))
	n.keeper.view.Store(&View{Order: &order.Order{Rollout: &order.Rollout{Release: manifest.Ref{Digest: planned}, Plan: plan}}})
	require.Equal(t, "nobody says that it is still, the plan of the rollout is not here yet", n.lacksFor(planned))
	require.Equal(t, "nobody says that it is still", n.lacksFor(other))
	p := &rollout.Plan{Transfer: rollout.Transfer{OnlyWhen: rollout.WhenCharging | rollout.WhenStill | rollout.WhenIdle}}
	n.planned.plans.keep(plan, p)
	require.Equal(t, "nobody says that it is still, nobody says that it is charging (by the plan)", n.lacksFor(planned))
	require.Equal(t, "nobody says that it is still", n.lacksFor(other))
	require.Equal(t, "nobody says that it is still", n.unmet(), "by its plan no robot spares itself")
}

// By its plan a release is fetched by robots that charge, and at a rate that their own
// configuration does not set; when the rollout is over they are as before.
func TestAPlanLimitsTransfers(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 4, "1.0.0")
	s.wait("1.0.0", s.all("1.0.0"))
	s.transfer = rollout.Transfer{UpBytesPerSec: 1 << 20, DownBytesPerSec: 8 << 20, OnlyWhen: rollout.WhenCharging | rollout.WhenIdle}
	own := s.again(3, func(c *Config) { c.UploadBytesPerSec = 512 << 10 })
	star := filepath.Join(s.dir, "1.1.0.star")
	rel := s.build("1.1.0", star)
	s.publish(rel, star)
	s.rollOut(rel)
	why := "nobody says that it is charging (by the plan)"
	s.wait("each robot waits", func() bool {
		for _, r := range s.robots {
			if here := r.Status().Here; len(here) != 1 || here[0].Reason != waitsPrefix+why {
				return false
			}
		}
		return true
	})
	text := "the plan of rollout 1 narrows transfers while it is open: at most 1 MiB/s up, 8 MiB/s down, fetching only when charging and idle"
	for _, m := range append(s.robots, s.op) {
		s.wait("it heeds the plan", func() bool { return m.Status().Transfer.MaxDown == 8<<20 })
		m := m.Status().Transfer
		require.Equal(t, &PlanTransfer{Rollout: 1, Release: "1.1.0", MaxUp: 1 << 20, MaxDown: 8 << 20, OnlyWhen: []Condition{Charging, Idle}, Text: text}, m.Plan)
		require.EqualValues(t, 8<<20, m.MaxDown)
	}
	require.EqualValues(t, 512<<10, own.Status().Transfer.MaxUp, "its own is lower")
	require.EqualValues(t, 1<<20, s.robots[0].Status().Transfer.MaxUp)
	up, _, _ := s.op.exchange.Pace()
	require.EqualValues(t, 1<<20, up, "it is what counts")
	require.Equal(t, why, own.Status().Transfer.Waits)
	require.Empty(t, s.op.Status().Transfer.Waits, "a laptop fetches nothing by a plan")
	x, err := s.op.Explain("")
	require.NoError(t, err)
	require.Contains(t, x.Details, text)
	for _, r := range s.robots {
		c, err := r.SetConditions(ConditionsRequest{Words: map[Condition]bool{Charging: true}, Seconds: 600})
		require.NoError(t, err)
		require.True(t, c.Hold)
		require.True(t, c.All[0].Needed)
	}
	s.wait("1.1.0 everywhere", s.all("1.1.0"))
	s.wait("it is over", func() bool { return s.status() == order.Finished })
	for _, m := range append(s.robots, s.op) {
		s.wait("its own limits count", func() bool { return m.Status().Transfer.MaxDown == 0 })
		require.Nil(t, m.Status().Transfer.Plan)
	}
	require.EqualValues(t, 512<<10, own.Status().Transfer.MaxUp)
	up, _, _ = s.op.exchange.Pace()
	require.Zero(t, up)
}
