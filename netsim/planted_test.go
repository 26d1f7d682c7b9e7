package netsim

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/scenario"
)

type hunt struct {
	bug, scenario string
	seed          uint64 // 0 is the scenario's own
}

// hunts say by which run each planted bug is found: a scenario of the library or of
// testdata/planted, with its own seed unless another is named.
var hunts = []hunt{
	{"quorum-of-one", "demo", 0},
	{"two-rollouts", "testdata/planted/second-ship.yaml", 0},
	{"wrong-bytes", "byzantine-tenth", 0},
	{"arm-alone", "testdata/planted/cut-off.yaml", 0},
	{"any-batch", "demo", 0},
	{"forget-orders", "testdata/planted/restarts.yaml", 0},
	{"batch-plus-one", "testdata/planted/batches.yaml", 0},
	{"skip-gate", "demo", 0},
	{"commit-early", "demo", 0},
	{"ignore-halt", "emergency-stop", 0},
	{"voters-together", "demo", 0},
	{"no-revert", "demo", 0},
	{"other-cohorts", "demo", 0},
	{"no-rejoin", "testdata/planted/no-rejoin.yaml", 0},
	{"keep-quarantined", "paused-by-hand", 0},
	{"wait-for-all", "testdata/planted/wait-for-all.yaml", 0},
	{"dead-voters-stay", "testdata/planted/dead-voters-stay.yaml", 0},
	{"forget-votes", "testdata/planted/forget-votes.yaml", 0},
	{"second-genesis", "testdata/planted/second-genesis.yaml", 0},
	{"any-variant", "testdata/planted/any-variant.yaml", 0},
	{"wide-meta", "demo", 0},
	{"leak-streams", "testdata/planted/leak-streams.yaml", 0},
	{"far-behind", "testdata/planted/far-behind.yaml", 0},
}

// TestPlantedBugsAreFound builds the simulator with bugs in it and lets each loose: the
// invariant that it breaks must say so.
func TestPlantedBugsAreFound(t *testing.T) {
	if os.Getenv("NETSIM_PLANTED") == "" {
		t.Skip("runs the simulator for minutes: NETSIM_PLANTED=1 go test -timeout 30m -run TestPlanted ./netsim")
	}
	source := exact.Source{Package: ".", Dir: filepath.Join("..", "cmd", "netsim"), Flags: []string{"-tags=planted"}}
	built, err := exact.Build(t.Context(), source, filepath.Join(t.TempDir(), "netsim"))
	require.NoError(t, err)
	for _, bug := range planted.Bugs() {
		t.Run(bug.Name, func(t *testing.T) {
			at := slices.IndexFunc(hunts, func(h hunt) bool { return h.bug == bug.Name })
			require.GreaterOrEqual(t, at, 0, "nobody looks for it")
			h := hunts[at]
			s := aScenario(t, h.scenario)
			if h.seed == 0 {
				h.seed = s.Seed
			}
			r := let(t, built.Path, s, h.seed, bug.Name)
			var broken []string
			for _, v := range r.Violations {
				broken = append(broken, v.Invariant)
			}
			require.Contains(t, broken, bug.Breaks, "%s on %s, seed %d", bug.Does, h.scenario, h.seed)
		})
	}
	t.Run("none", func(t *testing.T) { // it was the bug that broke the promise
		var names []string
		for _, h := range hunts {
			names = append(names, h.scenario)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			s := aScenario(t, name)
			require.Empty(t, let(t, built.Path, s, s.Seed, "none").Violations, "without a bug, on %s", name)
		}
	})
}

func aScenario(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	if filepath.Ext(name) == "" {
		s, err := scenario.Open(name)
		require.NoError(t, err)
		return s
	}
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	s, err := scenario.Parse(name, data)
	require.NoError(t, err)
	return s
}

// let runs s once with a bug, and returns the report.
func let(t *testing.T, program string, s *scenario.Scenario, seed uint64, bug string) *Report {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "planted.") // nodes sync a lot
	if err != nil {
		dir = t.TempDir()
	}
	defer os.RemoveAll(dir)
	var out, errs bytes.Buffer
	s = s.Clone()
	s.Seed = seed
	cmd := exec.CommandContext(t.Context(), program, "one-run", "--seed", strconv.FormatUint(seed, 10))
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(s.Print()), &out, &errs
	cmd.Env = append(exact.Env(seed), planted.Env+"="+bug)
	require.NoError(t, cmd.Run(), "%s", &errs)
	for d := json.NewDecoder(&out); ; {
		var line struct{ Report *Report }
		require.NoError(t, d.Decode(&line), "there is no report")
		if line.Report != nil {
			return line.Report
		}
	}
}

// TestNothingIsPlanted looks for what the bugs are named by in a build without them.
func TestNothingIsPlanted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator")
	}
	program := filepath.Join(t.TempDir(), "netsim")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/netsim").CombinedOutput()
	require.NoError(t, err, "%s", out)
	data, err := os.ReadFile(program)
	require.NoError(t, err)
	require.False(t, bytes.Contains(data, []byte(planted.Env)), "it reads %s", planted.Env)
	for _, b := range planted.Bugs() {
		require.False(t, bytes.Contains(data, []byte(b.Does)), "it knows %s", b.Name)
	}
}

// TestEveryInvariantHasABug keeps the list of bugs as long as that of the invariants.
func TestEveryInvariantHasABug(t *testing.T) {
	for _, i := range scenario.Invariants() {
		require.True(t, slices.ContainsFunc(planted.Bugs(), func(b planted.Bug) bool { return b.Breaks == i.Name }), "nobody has shown that %s is noticed when it breaks", i.Name)
	}
}
