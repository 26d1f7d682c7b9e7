package netsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// Two laptops ship at the same instant: one rollout begins, and the other operator is told.
func TestRaceOfTwoOperators(t *testing.T) {
	s := perform(t, small+`
operators: [{name: north}, {name: south}]
faults: [{when: joined, race: [ship 1.1, pause 1.0]}]
expect: {active: "1.1"}
`, nil)
	require.Empty(t, s.report.Unmet)
	require.NotEmpty(t, s.first("north", "step", "ship 1.1"))
	require.Len(t, append(s.notes("south", "step"), s.notes("south", "step-failed")...), 1, "the other has said its word too, once")
	require.NotEqual(t, s.operators[0].key, s.operators[1].key)
}

// The swarm gives a seat to another, and who lost it comes back without one.
func TestVotersMove(t *testing.T) {
	var before []string
	s := perform(t, small+`
faults: [{at: 15s, move_voters: {count: 1}}]
expect: {active: "1.0"}
`, func(w *World, n Note) {
		if n.Kind == "fault" {
			before = w.voters()
		}
	})
	require.Empty(t, s.report.Unmet)
	lost := s.first("", "voters", "is to lose its seat").Machine
	require.Contains(t, before, lost)
	require.NotEmpty(t, s.first(lost, "boot", ""))
	o := s.watch.order()
	require.EqualValues(t, 2, o.Electorate.Version)
	require.Len(t, o.Electorate.Voters, 4)
}

// A machine goes away at its speed, waits, and comes back to where its track is then.
func TestMove(t *testing.T) {
	const text = line + `
faults: [{at: 10s, for: 20s, pick: cart-1 cart-2, move: {by: [0, 30], speed: 3}}]
`
	still(t, text, func(t *testing.T, w *World) {
		go w.drive(t.Context())
		at := func(name string, x, y float64) {
			t.Helper()
			p := w.machineNamed(name).host.Position()
			require.InDelta(t, x, p.X, 0.01)
			require.InDelta(t, y, p.Y, 0.01)
		}
		time.Sleep(time.Millisecond) // between two steps
		lift := strikeOnce(t, w)
		time.Sleep(5 * time.Second)
		at("cart-1", 0, 15)
		at("cart-2", 10, 15)
		at("cart-3", 20, 0)
		time.Sleep(10 * time.Second)
		at("cart-1", 0, 30)
		lift()
		time.Sleep(5 * time.Second)
		at("cart-1", 0, 15)
		time.Sleep(10 * time.Second)
		at("cart-1", 0, 0)
		require.Empty(t, w.moves.trips, "it follows its track again")
	})
}

// Robots are where their tracks say, whatever moves them, and only they move.
func TestMobility(t *testing.T) {
	const text = `
name: moving
about: A test.
duration: 2m
world: {area: [100, 100]}
fleet:
  - {name: way, count: 2, place: {line: {from: [0, 0], to: [0, 5]}}, mobility: {waypoints: [{at: 0s, to: [0, 0]}, {at: 20s, to: [40, 0]}]}}
  - {name: round, place: {at: [0, 0]}, mobility: {patrol: {points: [[0, 0], [10, 0]], speed: 2}}}
  - {name: wild, place: {at: [50, 50]}, mobility: {random_waypoint: {speed: 5}}}
  - {name: rock, place: {at: [7, 7]}}
releases: [{version: "1.0"}]
`
	still(t, text, func(t *testing.T, w *World) {
		go w.drive(t.Context())
		at := func(name string) fabric.Point { return w.machineNamed(name).host.Position() }
		time.Sleep(10*time.Second + time.Millisecond)
		require.Equal(t, fabric.Point{X: 20}, at("way-1"))
		require.Equal(t, fabric.Point{X: 20, Y: 5}, at("way-2"), "in formation")
		require.Equal(t, fabric.Point{}, at("round-1"), "there and back")
		require.NotEqual(t, fabric.Point{X: 50, Y: 50}, at("wild-1"))
		require.Equal(t, fabric.Point{X: 7, Y: 7}, at("rock-1"))
		time.Sleep(30 * time.Second)
		require.Equal(t, fabric.Point{X: 40}, at("way-1"), "it stays at the last")
		for _, m := range w.scenario.Machines() {
			track, err := w.scenario.Track(m, nil)
			require.NoError(t, err)
			require.InDelta(t, 0, track.At(40*time.Second).Distance(scenario.Point(at(m.Name))), 0.01, m.Name)
		}
	})
}
