package netsim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// Machines go down in four ways at the same moment, and all come back. Where only the
// node died the payload has never stopped; where the machine did it was started anew.
func TestMachinesGoDownAndComeBack(t *testing.T) {
	s := perform(t, small+`
faults:
  - {at: 20s, pick: cart-1, crash: {restart: 6s}}
  - {at: 20s, pick: cart-2, power_cut: {restart: 6s, torn: true}}
  - {at: 20s, pick: cart-3, restart: {down: 6s}}
  - {at: 20s, for: 6s, pick: cart-4, switch_off: {silent: true}}
  - {at: 20s, for: 6s, pick: cart-5, switch_off: {}}
  - {at: 40s, for: 1s, pick: operator, pause: {}}
expect: {active: "1.0"}
`, func(w *World, n Note) {
		if n.Kind == "fault" && n.Text == "pause [operator]" {
			for _, r := range w.allRobots() {
				require.Equal(t, 2, r.lives(), r.name)
				require.NotNil(t, r.view(), "%s is back", r.name)
			}
		}
	})
	require.Empty(t, s.report.Unmet)
	for name, starts := range map[string]int{"cart-1": 1, "cart-2": 2, "cart-3": 2, "cart-4": 2, "cart-5": 2} {
		p := s.robotNamed(name).parts[0]
		require.Len(t, s.truth.standing(p).ran, starts, name)
		away := s.first(name, "boot", "").At - 20*time.Second
		if name == "cart-1" { // its machine was on all the time
			require.Equal(t, 6*time.Second, away)
		} else {
			require.GreaterOrEqual(t, away, 7*time.Second, "%s boots for a second", name)
		}
	}
	require.Len(t, s.notes("", "fault-over"), 3, "what lasts is lifted, what happens in a moment is not")
}

// A node that dies at a step does nothing after it; the next one goes on from there.
func TestCrashAtAStep(t *testing.T) {
	for step, power := range map[string]string{"app/armed": "crash", "app/activated": "crash", "app/trial": "power_cut"} {
		t.Run(step, func(t *testing.T) {
			s := perform(t, small+`
story: [{after: joined, ship: {version: "1.1", canary: 0%, canary_min: 0, waves: [100%], soak: 1s, min_healthy: 3s}}]
faults: [{at: 5s, pick: cart-2, `+power+`: {restart: 3s, step: `+step+`}}]
expect: {active: "1.1"}
`, nil)
			require.Empty(t, s.report.Unmet)
			require.Equal(t, 2, s.robotNamed("cart-2").lives())
			died := s.first("cart-2", map[string]string{"crash": "crash", "power_cut": "power"}[power], "").At
			back := s.first("cart-2", "boot", "").At
			for _, n := range s.notes("cart-2", "") {
				require.False(t, died < n.At && n.At < back, "a dead machine does nothing: %v", n)
			}
		})
	}
}

// What a robot's software does is changed and changed back.
func TestBehave(t *testing.T) {
	s := perform(t, small+`
story:
  - {after: joined, ship: {version: "1.1", canary: 0%, canary_min: 0, waves: [100%], soak: 1s, min_healthy: 3s, max_failures: 1, batch: 5}}
faults: [{when: started 1.1, for: 30s, pick: cart-4, behave: {as: crash-at-start, release: "1.1"}}]
expect: {active: "1.1", left_behind: 1}
`, nil)
	for _, r := range s.allRobots() {
		want := "1.1"
		if r.name == "cart-4" {
			want = "1.0"
		}
		require.Equal(t, want, s.truth.standing(r.parts[0]).running.Version, r.name)
	}
	require.NotEmpty(t, s.first("cart-4", "activate", "goes back"))
	require.NotEmpty(t, s.notes("", "fault-over"))
}

// A computer that is slower checks an image more slowly, and its network stutters.
func TestSlowCPU(t *testing.T) {
	still(t, small+`faults: [{at: 10s, for: 5s, pick: cart-2, slow_cpu: {factor: 10}}]`, func(t *testing.T, w *World) {
		r := w.robotNamed("cart-2")
		r.group.Device.Slow = 1
		rel := &release{spec: &scenario.Release{Version: "1.0", Size: 20 << 20}, Release: &manifest.Release{Component: "app", Version: "1.0"}}
		w.releases = append(w.releases, rel)
		takes := func() time.Duration { return w.behaviour(&payload{r: r, w: w}, rel.Ref()).InstallTakes }
		before := takes()
		lift := strikeOnce(t, w)
		require.Equal(t, 10*before, takes())

		go func() { _ = w.net.Run(t.Context()) }()
		from, err := w.machineNamed("cart-1").host.ListenPacket(t.Context(), w.machineNamed("cart-1").host.IP()+":100")
		require.NoError(t, err)
		to, err := r.host.ListenPacket(t.Context(), r.host.IP()+":100")
		require.NoError(t, err)
		late := func() (late int) { // of ten packets in a second, which arrive after more than 50 ms
			for range 10 {
				at := time.Now()
				_, err := from.WriteTo([]byte("x"), to.LocalAddr())
				require.NoError(t, err)
				_, _, err = to.ReadFrom(make([]byte, 10))
				require.NoError(t, err)
				if time.Since(at) > 50*time.Millisecond {
					late++
				}
				time.Sleep(time.Until(at.Add(100 * time.Millisecond)))
			}
			return late
		}
		time.Sleep(10 * time.Millisecond)
		require.NotZero(t, late())
		lift()
		time.Sleep(2 * time.Second)
		require.Zero(t, late())
		require.Equal(t, before, takes())
		require.NoError(t, from.Close())
		require.NoError(t, to.Close())
		synctest.Wait()
	})
}

// What follows a fail point in the node is never reached, as in a process that is gone.
func TestNothingFollowsAFailPoint(t *testing.T) {
	r, died := &robot{}, 0
	r.diesAt("app/armed", func() { died++ })
	passes := func(step string) bool {
		passed := make(chan bool, 1)
		go func() {
			defer close(passed)
			r.failPoint(step)
			passed <- true
		}()
		return <-passed
	}
	require.True(t, passes("app/staged"))
	require.False(t, passes("app/armed"))
	require.True(t, passes("app/armed"), "once")
	require.Equal(t, 1, died)

	r.diesAt("app/fetched", func() { died++ })
	r.diesAt("app/trial", func() { died++ })
	require.False(t, passes("app/trial"), "the second death does not take the first one's place")
	require.False(t, passes("app/fetched"))
	require.Empty(t, r.deaths)
}
