package scenario

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// places puts a group of four with this place and mobility into a world of 100 m.
func places(t *testing.T, place, mobility string) (*Scenario, []Machine) {
	t.Helper()
	s, err := Parse("places.yaml", []byte(`name: places
about: Where robots are.
world: {area: [100, 100]}
operators: [{name: o, at: [7, 8]}]
releases: [{version: "1"}]
fleet: [{name: r, count: 4, place: `+place+`, mobility: `+mobility+`}]
`))
	require.NoError(t, err)
	return s, s.Machines()
}

func TestPlaces(t *testing.T) {
	for place, want := range map[string][]Point{
		"{}":           {{}, {}, {}, {}},
		"{at: [1, 2]}": {{1, 2, 0}, {1, 2, 0}, {1, 2, 0}, {1, 2, 0}},
		"{line: {from: [0, 0, 9], to: [30, 60]}}":               {{0, 0, 9}, {10, 20, 6}, {20, 40, 3}, {30, 60, 0}},
		"{grid: {from: [0, 0], to: [10, 20], columns: 2}}":      {{0, 0, 0}, {10, 0, 0}, {0, 20, 0}, {10, 20, 0}},
		"{grid: {from: [0, 0], to: [10, 20], columns: 3}}":      {{0, 0, 0}, {5, 0, 0}, {10, 0, 0}, {0, 20, 0}},
		"{circle: {center: [5, 5], radius: 2}}":                 {{7, 5, 0}, {5, 7, 0}, {3, 5, 0}, {5, 3, 0}},
		"{line: {from: [4, 4], to: [4, 4]}}":                    {{4, 4, 0}, {4, 4, 0}, {4, 4, 0}, {4, 4, 0}},
		"{grid: {from: [0, 0, 1], to: [10, 0, 1], columns: 9}}": {{0, 0, 1}, {10.0 / 3, 0, 1}, {20.0 / 3, 0, 1}, {10, 0, 1}},
	} {
		s, machines := places(t, place, "{}")
		require.Equal(t, Point{7, 8, 0}, s.Start(machines[0]))
		for i, p := range want {
			require.Less(t, s.Start(machines[i+1]).Distance(p), 1e-9, "%s: r-%d at %v", place, i+1, s.Start(machines[i+1]))
		}
	}
	s, machines := places(t, "{area: {from: [10, 10], to: [20, 30]}}", "{}")
	seen := map[Point]bool{}
	for _, m := range machines[1:] {
		p := s.Start(m)
		require.True(t, p.X >= 10 && p.X < 20 && p.Y >= 10 && p.Y < 30, "%v", p)
		seen[p] = true
	}
	require.Len(t, seen, 4)
}

func TestTracks(t *testing.T) {
	track := func(place, mobility string, robot int) Track {
		s, machines := places(t, place, mobility)
		tr, err := s.Track(machines[robot], nil)
		require.NoError(t, err)
		return tr
	}
	still := track("{at: [1, 2]}", "{}", 1)
	require.True(t, still.Still())
	require.Equal(t, Point{1, 2, 0}, still.At(time.Hour))
	require.True(t, track("{}", "{patrol: {points: [[0, 0], [1, 1]]}}", 0).Still(), "the operator stays")

	line := "{line: {from: [0, 0], to: [30, 0]}}"
	way := track(line, "{waypoints: [{at: 10s, to: [0, 0]}, {at: 20s, to: [0, 50]}]}", 3)
	for at, want := range map[time.Duration]Point{0: {20, 0, 0}, 10 * time.Second: {20, 0, 0}, 15 * time.Second: {20, 25, 0}, time.Hour: {20, 50, 0}} {
		require.Equal(t, want, way.At(at), "%s", at)
	}
	round := track("{at: [3, 0]}", "{patrol: {points: [[0, 0], [10, 0], [10, 10]], speed: 2}}", 2)
	require.Equal(t, Point{0, 0, 0}, round.At(0))
	require.InDelta(t, 10, round.At(5*time.Second).X, 1e-6)
	lap := 10*time.Second + time.Duration(math.Sqrt(50)*float64(time.Second))
	require.Less(t, round.At(lap+2*time.Second).Distance(Point{4, 0, 0}), 1e-3)

	walk := track("{at: [50, 50]}", "{random_waypoint: {speed: 5, pause: 2s}}", 1)
	require.NotEqual(t, walk.At(time.Minute), track("{at: [50, 50]}", "{random_waypoint: {speed: 5, pause: 2s}}", 2).At(time.Minute))
	for at := time.Duration(0); at < 10*time.Minute; at += 700 * time.Millisecond {
		p, next := walk.At(at), walk.At(at+time.Second)
		require.True(t, p.X >= 0 && p.X <= 100 && p.Y >= 0 && p.Y <= 100, "%v", p)
		require.LessOrEqual(t, p.Distance(next), 5.001)
	}
}

func TestTrace(t *testing.T) {
	trace, err := ParseTrace("walk.csv", strings.NewReader("t,id,x,y,z\n# a comment\n0,r-1,1,2,3\n0, r-2, 0, 0\n2.5,r-1,11,2,3\n"))
	require.NoError(t, err)
	s, machines := places(t, "{}", "{trace: walk.csv}")
	tr, err := s.Track(machines[1], trace)
	require.NoError(t, err)
	require.Equal(t, Point{6, 2, 3}, tr.At(1250*time.Millisecond))
	_, err = s.Track(machines[3], trace)
	require.EqualError(t, err, "scenario: walk.csv has no line for r-3")

	for in, want := range map[string]string{
		"1,r-1,2\n":                 "scenario: w.csv:1: 3 columns: want t,id,x,y or t,id,x,y,z",
		"1,r-1,2,up\n":              "scenario: w.csv:1: column 4: \"up\" is no number",
		"-1,r-1,2,2\n":              "scenario: w.csv:1: t -1 is before the start",
		"1,r-1,2,2\n1,r-1,2,2\n":    "scenario: w.csv:2: r-1 was at 1s already: times rise",
		"1,\"r-1,2,2\n1,r-1,2,2,\n": "scenario: w.csv: record on line 1; parse error on line 2, column 12: extraneous or missing \" in quoted-field",
	} {
		_, err := ParseTrace("w.csv", strings.NewReader(in))
		require.EqualError(t, err, want)
		require.ErrorIs(t, err, ErrScenario)
	}
}
