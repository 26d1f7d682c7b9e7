package netsim

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

var rewrite = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, name string, got []byte) {
	path := filepath.Join("testdata", name)
	if *rewrite {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "%s; -update writes it anew", path)
}

// told is a report with something of everything.
func told() *Report {
	r := &Report{
		Schema: ReportSchema, Scenario: "orchard", Seed: 7, Replay: "netsim run orchard --seed 7 -v", Exact: true, Digest: "0123456789abcdef0123456789abcdef",
		Virtual: 600, Wall: 12, Nodes: 6, Robots: 4, Unmet: []string{"active 1.1: cart-4 runs 1.0"}, Completed: map[string]float64{},
		Bytes: map[string]uint64{"bulk": 9 << 20, "control": 1 << 20, "gossip": 1 << 19}, OutOfService: 2, SeedSent: map[string]float64{"1.0": 1, "1.1": 2.5},
		Violations: []Breach{{"enough-in-service", 42.5, "3 robots are out of service, the plan allows 2", []Moment{{42.1, "cart-1", "activate", "activates 1.1"}, {42.5, "cart-2", "activate", "activates 1.1"}}}},
		Rollouts: []RolloutResult{{
			ID: 1, Release: "1.1", Status: "running", Stage: "wave 1", Touched: []string{"cart-1", "cart-2", "cart-3"}, Canaries: []string{"cart-1"},
			Steps: []Step{
				{At: 30, Status: "running", Stage: "canary", Open: []string{"cart-1"}}, {At: 60, Status: "held", Stage: "canary", Reason: "paused by the operator"},
				{At: 90, Status: "running", Stage: "wave 1", Open: []string{"cart-2", "cart-3"}},
			},
		}},
		Behind:  []Left{{"cart-4", "1.1", "1.0", "it is off", ""}, {"cart-3", "1.1", "1.0", "it has a release on trial", "cart-3 runs 1.1 on trial"}},
		Leaders: []Leadership{{2, "cart-1"}, {100, ""}, {110, "cart-2"}}, Voters: []Electorate{{1, []string{"cart-1", "cart-2", "cart-3", "operator"}}, {200, []string{"base-1", "cart-1", "cart-2", "cart-3"}}},
		Cells:    []Cell{{"wifi-mesh", 0, 1, 0.4, 0.97, 65}, {"wifi-mesh", 0, 0, 0.1, 0.3, 0}},
		Machines: []Machine{{"operator", "", map[string]uint64{"bulk": 3 << 20}}, {"base-1", "", nil}, {"cart-1", "mk1", nil}, {"cart-2", "mk1", nil}, {"cart-3", "mk1", nil}, {"cart-4", "mk2", nil}},
		Faults:   []Trouble{{50, 80, "partition [cart-1]"}, {300, 600, "crash [cart-4]"}},
		Switches: []Switch{
			{10, "cart-1", "1.0", Activated}, {12, "cart-1", "1.0", Committed}, {12, "cart-2", "1.0", Committed}, {13, "cart-3", "1.0", Committed}, {14, "cart-4", "1.0", Committed},
			{32, "cart-1", "1.1", Activated}, {35, "cart-1", "1.1", Committed}, {92, "cart-2", "1.1", Activated}, {95, "cart-2", "1.1", Committed}, {93, "cart-3", "1.1", Activated}, {99, "cart-3", "1.0", WentBack},
		},
		Samples: []Sample{
			{At: 5, Islands: 1, Largest: 6, Seen: map[string]int{"cart-1": 6, "cart-2": 6}, Bytes: map[string]uint64{"bulk": 1 << 20}, Places: [][2]float64{{0, 0}, {5, 5}, {10, 40}, {20, 40}, {30, 40}, {90, 80}}, Island: []int{1, 1, 1, 1, 1, 1}},
			{At: 55, Islands: 2, Largest: 5, Seen: map[string]int{"cart-1": 1, "cart-2": 6}, Bytes: map[string]uint64{"bulk": 5 << 20}, Places: [][2]float64{{0, 0}, {5, 5}, {10, 40}, {25, 40}, {35, 40}, {95, 80}}, Island: []int{1, 1, 2, 1, 1, 0}},
			{At: 600, Islands: 1, Largest: 6, Seen: map[string]int{"cart-1": 6, "cart-2": 6}, Bytes: map[string]uint64{"bulk": 9 << 20}},
		},
		Hints: []string{"radio saturated: cell wifi-mesh 0,1"},
	}
	all := map[string]bool{"cart-1": true, "cart-2": true, "cart-3": true, "cart-4": true}
	r.complete(map[string]map[string]bool{"1.0": all, "1.1": all}, map[string]map[string]float64{"1.1": {"cart-1": 31, "cart-2": 33, "cart-3": 32.5, "cart-4": 40}})
	r.Verdicts = verdicts(&scenario.Expect{Safety: []string{"all"}, Except: []string{"voters-at-last"}}, r.Violations)
	return r
}

func TestText(t *testing.T) {
	good := told()
	good.Seed, good.Violations, good.Unmet, good.Behind, good.Hints = 8, nil, nil, nil, nil
	good.Verdicts = verdicts(&scenario.Expect{Safety: []string{"all"}}, nil)
	var b bytes.Buffer
	require.NoError(t, Text(&b, []*Report{told()}))
	golden(t, "report-wrong.txt", b.Bytes())
	b.Reset()
	require.NoError(t, Text(&b, []*Report{good}))
	golden(t, "report-good.txt", b.Bytes())
	b.Reset()
	require.NoError(t, Text(&b, []*Report{good, told(), {Scenario: "orchard", Seed: 9, Died: "seed 9: exit status 2: panic"}}))
	golden(t, "report-series.txt", b.Bytes())
}

// What tools read keeps its keys.
func TestReportKeys(t *testing.T) {
	data, err := json.Marshal(told())
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(data, &got))
	for _, key := range []string{"schema", "scenario", "seed", "exact", "digest", "virtual_seconds", "wall_seconds", "nodes", "violations", "unmet", "completed_at", "bytes", "max_out_of_service", "left_behind", "verdicts", "hints"} {
		require.Contains(t, got, key)
	}
	first := got["violations"].([]any)[0].(map[string]any)
	require.Equal(t, 42.5, first["at"])
	require.Equal(t, "enough-in-service", first["invariant"])
	var back Report
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, *told(), back)
}

func TestCompletion(t *testing.T) {
	two := map[string]bool{"a": true, "b": true}
	r := &Report{Completed: map[string]float64{}, Switches: []Switch{
		{1, "a", "1.0", Activated}, {2, "a", "1.0", Committed}, {3, "b", "1.0", Committed}, {4, "c", "1.0", Committed},
		{5, "a", "1.1", Committed}, {6, "b", "1.1", Committed}, {6.5, "a", "nav/1.1", Committed}, {7, "a", "1.0", WentBack},
	}, Rollouts: []RolloutResult{{Release: "1.1", Steps: []Step{{At: 4.5}}}}}
	r.complete(map[string]map[string]bool{"1.0": {"a": true, "b": true, "c": true}, "1.1": two, "nav/1.1": two, "9.9": {}},
		map[string]map[string]float64{"1.0": {"a": 0.5, "b": 2.5, "c": 1}, "1.1": {"a": 4.7}})
	at := func(x float64) *float64 { return &x }
	require.Equal(t, []Completion{
		{Release: "1.0", For: 3, Robots: 2, Fetched: at(2.5), P50: at(3), P90: at(4), Last: at(4)}, // a went back, c never left
		{Release: "1.1", For: 2, Robots: 1, Shipped: at(4.5), P50: at(5), P90: at(6), Last: at(6)},
		{Release: "9.9"},
		{Release: "nav/1.1", For: 2, Robots: 1, P50: at(6.5)},
	}, r.Completion)
	require.Equal(t, map[string]float64{"1.0": 4, "1.1": 6}, r.Completed)
	require.Equal(t, CurvePoint{7, "1.0", 2}, r.Curve[len(r.Curve)-1])
}

func TestUpperBound(t *testing.T) {
	for _, c := range []struct {
		runs, failed int
		want         float64
	}{{0, 0, 1}, {1, 0, 0.95}, {20, 0, 0.1391}, {100, 0, 0.02951}, {3000, 0, 0.000998}, {20, 1, 0.2161}, {100, 5, 0.1023}, {10, 10, 1}} {
		require.InDelta(t, c.want, UpperBound(c.runs, c.failed), 0.0002, "%d of %d", c.failed, c.runs)
	}
	require.False(t, math.IsNaN(UpperBound(1e6, 3)))
}

func TestFaultsAreOneSpanEach(t *testing.T) {
	s := time.Second
	require.Equal(t, []Trouble{{1, 3, "partition [a]"}, {2, 9, "crash [b]"}, {4, 6, "partition [a]"}}, troubles([]Note{
		{1 * s, "netsim", "fault", "partition [a]"}, {2 * s, "netsim", "fault", "crash [b]"}, {3 * s, "netsim", "fault-over", "partition [a]"},
		{4 * s, "netsim", "fault", "partition [a]"}, {6 * s, "netsim", "fault-over", "partition [a]"}, {9 * s, "a", "order", "x"},
	}))
}

// Hints speak only where the run has shown it.
func TestHints(t *testing.T) {
	p := &rollout.Plan{Waves: []uint16{1000}, CanaryMin: 1, CanaryGate: rollout.Gate{SoakSeconds: 5}, WaveGate: rollout.Gate{SoakSeconds: 7200}}
	r := told()
	x := &r.Rollouts[0]
	require.Contains(t, cutShort(r, x, p, 10*time.Minute), "soak longer than duration")
	p.WaveGate.SoakSeconds = 60
	require.Contains(t, cutShort(r, x, p, 10*time.Minute), "still in wave 1 when the run ended")
	require.Empty(t, cutShort(r, x, p, time.Hour), "the run was over before its time")
	require.Empty(t, tooWide(r, x, p), "it was held in the canary stage")
	require.Empty(t, tooBrief(r, x, p))

	x.Steps = append(x.Steps, Step{At: 100, Status: "reverting", Stage: "wave 1", Reason: "wave failed"})
	x.Steps[1].Reason = ""
	require.Contains(t, tooWide(r, x, p), "failed in wave 1, when 3 of 4 robots had run it")
	require.Contains(t, tooBrief(r, x, p), "failed 6.0 s after they had switched")
	p.CanaryGate.SoakSeconds = 6
	require.Empty(t, tooBrief(r, x, p))

	require.Contains(t, crowded(r)[0], "cell wifi-mesh 0,1")
	require.Contains(t, generous(r)[0], "sent 1.1 2.5 times")
	r.Cells[0].Full, r.SeedSent["1.1"] = 10, 1.2
	require.Empty(t, crowded(r))
	require.Empty(t, generous(r))
}

func TestStuckStory(t *testing.T) {
	n := func(at int, who, kind, text string) Note {
		return Note{time.Duration(at) * time.Second, who, kind, text}
	}
	require.Equal(t, []string{"ana tried until 9.0 s, and never could: ship: refused"}, stuck([]Note{
		n(1, "ana", "step", "publish"), n(2, "bo", "step-failed", "ship: off"), n(4, "bo", "step", "ship"), n(7, "ana", "step-failed", "ship: off"), n(9, "ana", "step-failed", "ship: refused"),
	}))
}

func TestAirCountsSaturatedTime(t *testing.T) {
	a := newAir()
	at := func(now, busy time.Duration) {
		a.look(now*time.Second, []fabric.CellTraffic{{Radio: "r", Busy: busy * time.Second}})
	}
	at(10, 5)
	at(20, 15) // all of it
	at(30, 16)
	k := cell{"r", 0, 0}
	require.Equal(t, 10*time.Second, a.full[k])
	require.Equal(t, 1.0, a.peak[k])
	require.Equal(t, 1.0, a.now)
}

func TestSamplesAreBounded(t *testing.T) {
	all := []Sample{{At: 0}, {At: 1}, {At: 2}, {At: 3}, {At: 4}}
	require.Equal(t, []Sample{{At: 0}, {At: 2}, {At: 4}}, everySecond(all))
}

func TestClock(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0.0 s", 41.24: "41.2 s", 725: "12m05s", 12000: "3h20m"} {
		require.Equal(t, want, clock(seconds))
	}
}
