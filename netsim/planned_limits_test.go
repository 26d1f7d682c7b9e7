package netsim

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node"
)

// A plan's rate is kept by every robot that fetches the release, and known to whoever may
// serve it; when the rollout is done it counts no more, and the next release comes as fast
// as the links are.
func TestAPlansRate(t *testing.T) {
	const text = `
name: slow
about: A release goes out at a tenth of what the links carry, the next one as it may.
seed: 5
duration: 5m
world: {profile: local}
fleet: [{name: cart, count: 5, device: {boot: 1s}}]
base: {count: 1}
releases:
  - {version: "1.0", size: 64KiB}
  - {version: "1.1", size: 1MiB}
  - {version: "1.2", size: 1MiB}
story:
  - {at: 20s, ship: {version: "1.1", canary: 0%, canary_min: 0, waves: [100%], soak: 1s, min_healthy: 1s, prefetch: all, batch: 5, max_rate: 20KiB, only_when: idle}}
  - {after: done 1.1, ship: {version: "1.2", canary: 0%, canary_min: 0, waves: [100%], soak: 1s, min_healthy: 1s, prefetch: all, batch: 5}}
expect: {active: "1.2"}
`
	var during, after []int64 // what may be sent, by machine
	s := perform(t, text, func(w *World, n Note) {
		if n.Kind != "phase" || n.Machine != "cart-1" {
			return
		}
		for _, name := range []string{"operator", "base-1", "cart-1"} {
			up := w.machineNamed(name).alive().node.Status().Transfer.MaxUp
			switch {
			case strings.HasPrefix(n.Text, "staging 1.1"):
				during = append(during, up)
			case strings.HasPrefix(n.Text, "fetching 1.2"):
				after = append(after, up)
			}
		}
	})
	require.Equal(t, []int64{20 << 10, 20 << 10, 20 << 10}, during)
	require.Equal(t, []int64{0, 0, 0}, after)
	require.Empty(t, s.report.Unmet)
	for _, r := range s.allRobots() {
		took := func(version string) time.Duration {
			return s.first(r.name, "phase", "staging "+version).At - s.first(r.name, "phase", "fetching "+version).At
		}
		require.Greater(t, took("1.1"), (1<<20-32<<10)/(20<<10)*time.Second, "%s takes in no more than its rate, and what may go at once", r.name)
		require.Less(t, took("1.2"), time.Second, "%s is limited no more", r.name)
	}
}

// A robot that is to charge for a release waits, and fetches when its application says
// that it does.
func TestAPlansConditions(t *testing.T) {
	const wait = 30 * time.Second
	s := perform(t, small+`
story:
  - {at: 20s, ship: {version: "1.1", canary: 0%, canary_min: 0, waves: [100%], soak: 1s, min_healthy: 1s, prefetch: all, batch: 5, only_when: [charging, idle]}}
expect: {active: "1.1"}
`, func(w *World, n Note) {
		if n.Kind != "fetch-waits" {
			return
		}
		time.AfterFunc(wait, func() {
			for _, r := range w.allRobots() {
				if l := r.alive(); r.name == n.Machine && l != nil {
					_, err := l.node.SetConditions(node.ConditionsRequest{Words: map[node.Condition]bool{node.Charging: true}, Seconds: 600})
					require.NoError(t, err)
				}
			}
		})
	})
	require.Empty(t, s.report.Unmet)
	for _, r := range s.allRobots() {
		waits := s.first(r.name, "fetch-waits", "nobody says that it is charging (by the plan)").At
		on := s.first(r.name, "fetch-goes-on", "").At
		require.InDelta(t, wait.Seconds(), (on - waits).Seconds(), 1.5)
		require.Greater(t, s.first(r.name, "commit", "1.1").At, on)
	}
}

// A rehearsal keeps to the plan's rates, and takes its conditions for granted.
func TestARehearsalOfLimits(t *testing.T) {
	p := rollout.DefaultPlan()
	p.Created, p.Expires = 1, 1000
	p.Limit(rollout.Transfer{UpBytesPerSec: 20 << 10, OnlyWhen: rollout.WhenCharging})
	r := &release{Release: &manifest.Release{Component: "app", Version: "1.1", Counter: 2}}
	w := &World{given: &p, swarm: "model"}
	got := w.asGiven(r)
	require.Equal(t, rollout.Transfer{UpBytesPerSec: 20 << 10}, got.Transfer)
	require.NoError(t, got.Check())
	p.Limit(rollout.Transfer{OnlyWhen: rollout.WhenStill})
	require.NoError(t, w.asGiven(r).Check(), "no limits are left")
}
