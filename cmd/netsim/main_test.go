package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// tiny is a swarm that gets a release within seconds.
const tiny = `
name: tiny
about: Three carts get a release.
seed: 3
duration: 1m
world: {profile: local}
fleet: [{name: cart, count: 3, device: {boot: 1s}}]
releases:
  - {version: "1.0", size: 64KiB}
  - {version: "1.1", size: 64KiB, shared: 50%}
story:
  - {after: joined, ship: {version: "1.1", soak: 2s, waves: [100%], batch: 2}}
faults:
  - {when: canary 1.1, for: 5s, pick: cart-1, delay: {add: 20ms}}
  - {when: done 1.1, pick: cart-2, crash: {restart: 2s}}
expect: {active: "1.1"}
`

// The tests use this very binary for runs, which are not exact then: it saves a build
// with a pinned runtime. One test has that.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childName {
		main()
		return
	}
	makeEngine = func(_ context.Context, parallel int) (*engine, error) {
		return plainEngine(parallel, errors.New("this is a test"))
	}
	os.Exit(m.Run())
}

// exactEngine is built once for all tests that need runs which replay exactly.
var exactEngine = sync.OnceValues(func() (*engine, error) { return newEngine(context.Background(), 0) })

// A printer is a buffer that tells of each write.
type printer struct {
	mu   sync.Mutex
	b    bytes.Buffer // guarded by mu
	told func(text string)
}

func (p *printer) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told != nil {
		p.told(string(data))
	}
	return p.b.Write(data)
}

func (p *printer) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// command runs one command line, in a state directory of its own that must be empty
// afterwards.
func command(t *testing.T, ctx context.Context, told func(string), args ...string) (code int, stdout, stderr string) {
	was := ramDisk
	state, err := tempDir() // on the RAM disk, for nodes sync a lot
	require.NoError(t, err)
	ramDisk = state
	defer func() {
		ramDisk = was
		require.NoError(t, os.RemoveAll(state))
	}()
	out, errs := &printer{}, &printer{told: told}
	code = run(ctx, args, out, errs)
	left, err := os.ReadDir(ramDisk)
	require.NoError(t, err)
	require.Empty(t, left, "state is left behind")
	return code, out.String(), errs.String()
}

// play is a command line that nobody interrupts.
func play(t *testing.T, args ...string) (code int, stdout, stderr string) {
	return command(t, t.Context(), nil, args...)
}

// file writes a scenario, with something in it changed.
func file(t *testing.T, change ...string) string {
	path := filepath.Join(t.TempDir(), "tiny.yaml")
	require.NoError(t, os.WriteFile(path, []byte(strings.NewReplacer(change...).Replace(tiny)), 0o644))
	return path
}

func TestRun(t *testing.T) {
	path := file(t)
	page := filepath.Join(t.TempDir(), "page.html")
	code, out, errs := play(t, "run", path, "--html", page)
	require.Zero(t, code, errs)
	require.Contains(t, out, "tiny, seed 3: 4 nodes")
	require.Contains(t, out, "every promise held")
	require.Regexp(t, `1\.1 +3/3`, out)
	require.Contains(t, errs, "runs are not exact: this is a test")
	require.Regexp(t, `swarm +order +g1/\d+: rollout 1 of 1\.1: done`, errs)
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(data), "Every promise held")
}

func TestRunJSON(t *testing.T) {
	code, out, errs := play(t, "run", file(t), "--json", "--seed", "4")
	require.Zero(t, code, errs)
	require.Empty(t, errs, "tools read standard output; nobody reads this")
	var r netsim.Report
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&r))
	require.False(t, dec.More(), "one object")
	require.Equal(t, uint64(4), r.Seed)
	require.NotEmpty(t, r.Digest)
	require.False(t, r.Exact)
	require.Contains(t, r.Completed, "1.1")
	require.Positive(t, r.Wall)
	require.NotEmpty(t, r.Samples)
	require.Len(t, r.Faults, 2)
	require.Contains(t, r.Replay, "--seed 4 -v")
	require.Len(t, r.Rollouts[0].Canaries, 1)
}

// A run that does not end as expected says so, and how to see it again.
func TestWrongRunsAndTheirReplay(t *testing.T) {
	path := file(t, `active: "1.1"`, `active: "1.1", max_out_of_service: 0`)
	code, out, _ := play(t, "run", path)
	require.Equal(t, exitBroken, code)
	require.Regexp(t, `NOT MET max_out_of_service: \d`, out)
	require.Contains(t, out, "replay: netsim run "+path+" --seed 3 -v")

	code, out, _ = play(t, "run", path, "--runs", "2", "--json")
	require.Equal(t, exitBroken, code)
	var s netsim.Series
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.Equal(t, 2, s.Failed)
	require.Len(t, s.Runs, 2)
	require.Equal(t, 1.0, s.UpperBound)
}

func TestSweep(t *testing.T) {
	good, bad, save := file(t), file(t, "tiny", "worse", `active: "1.1"`, `active: "1.1", max_out_of_service: 0`), t.TempDir()
	code, out, errs := play(t, "sweep", good, bad, "--seeds", "1", "--seed", "3", "--save", save)
	require.Equal(t, exitBroken, code, errs)
	require.Contains(t, out, "worse seed 3: expected, and not so: max_out_of_service")
	require.Regexp(t, `(?m)^tiny +1 +0 +95\.00 % +- +\d+ x$`, out)
	require.Regexp(t, `(?m)^worse +1 +1 +100\.00 % +3 +\d+ x$`, out)
	require.Contains(t, out, "  replay: netsim run "+bad+" --seed 3 -v\n")
	require.Regexp(t, `(?m)^\d+s  1 runs, \d went wrong; the last was (tiny|worse) seed 3$`, errs)
	require.Regexp(t, `(?m)^all +2 +1$`, out)
	again, err := open(filepath.Join(save, "worse-3.yaml"))
	require.NoError(t, err)
	require.Equal(t, uint64(3), again.Seed)

	code, out, errs = play(t, "sweep", good, "--for", "2s")
	require.Zero(t, code, errs)
	require.Regexp(t, `(?m)^all +\d+ +0$`, out)

	code, out, _ = play(t, "sweep", good, "--seeds", "1", "--json")
	require.Zero(t, code)
	var s swept
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.Equal(t, 1, s.Runs)
	require.Equal(t, "tiny", s.Scenarios[0].Scenario)
	require.Empty(t, s.Failures)
}

func TestShrink(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a scenario a few dozen times")
	}
	path, small := file(t, `active: "1.1"`, `active: "1.1", max_out_of_service: 0`), filepath.Join(t.TempDir(), "small.yaml")
	code, _, errs := play(t, "shrink", path, "--for", "15s", "-o", small)
	require.Zero(t, code, errs)
	require.Contains(t, errs, "fails: does not meet max_out_of_service")
	s, err := open(small)
	require.NoError(t, err)
	require.Empty(t, s.Faults, "they have nothing to do with it")

	code, _, errs = play(t, "shrink", file(t))
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "nothing to shrink")
}

// What was expected and does not come without a story or without time is not what went
// wrong: shrinking keeps both, and the fault that is the reason.
func TestShrinkOfWhatDidNotCome(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a scenario a few dozen times")
	}
	path := file(t, "crash: {restart: 2s}", "crash: {}", "done 1.1, pick: cart-2", "canary 1.1, pick: cart-2")
	code, out, errs := play(t, "shrink", path, "--for", "20s")
	require.Zero(t, code, errs)
	require.Contains(t, errs, "fails: does not meet active 1.1; 1.1 is ")
	small, err := scenario.Parse("small", []byte(out))
	require.NoError(t, err, out)
	require.Len(t, small.Faults, 1, out)
	require.NotNil(t, small.Faults[0].Crash, out)
	require.Len(t, small.Story, 1, out)
	require.Equal(t, time.Minute, small.Duration)
	require.Equal(t, []scenario.Ref{"1.1"}, small.Expect.Active)
}

// What was found in half an hour is not lost to Ctrl-C.
func TestShrinkIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := func(text string) {
		if strings.Contains(text, "still fails") {
			stop()
		}
	}
	code, out, errs := command(t, ctx, told, "shrink", file(t, `active: "1.1"`, `active: "1.1", max_out_of_service: 0`))
	require.Equal(t, exitInterrupted, code, errs)
	small, err := scenario.Parse("small", []byte(out))
	require.NoError(t, err, out)
	require.Empty(t, small.Faults)
}

// Two scenarios of one name are two, and one that is named twice is one.
func TestSweepOfTwins(t *testing.T) {
	a, b, save := file(t), file(t, `active: "1.1"`, `active: "1.1", max_out_of_service: 0`), t.TempDir()
	code, out, errs := play(t, "sweep", a, b, a, "--seeds", "1", "--seed", "3", "--save", save)
	require.Equal(t, exitBroken, code, errs)
	require.Regexp(t, `(?m)^`+a+` +1 +0 `, out)
	require.Regexp(t, `(?m)^`+b+` +1 +1 `, out)
	require.Regexp(t, `(?m)^all +2 +1$`, out)
	_, err := os.Stat(filepath.Join(save, strings.ReplaceAll(b, "/", "_")+"-3.yaml"))
	require.NoError(t, err)
}

// A sweep in which no run came to its end does not say that all went well.
func TestSweepOfNothing(t *testing.T) {
	code, _, errs := play(t, "sweep", file(t), "--for", "1ms")
	require.Equal(t, exitError, code)
	require.Contains(t, errs, "no run came to its end")
}

// Ctrl-C ends the runs' processes and leaves nothing on the RAM disk.
func TestInterrupt(t *testing.T) {
	for name, args := range map[string][]string{
		"run": {"run", "--seed", "3"}, "runs": {"run", "--runs", "50"}, "replay": {"replay", "--times", "50"},
		"sweep": {"sweep", "--seeds", "0"}, "shrink": {"shrink"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond) // in the middle of a run, as a rule
			defer stop()
			told := func(text string) {
				if strings.Contains(text, "leads since") {
					stop()
				}
			}
			code, out, errs := command(t, ctx, told, append(args, file(t, `active: "1.1"`, `active: "1.1", max_out_of_service: 0`))...)
			require.Equal(t, exitInterrupted, code, errs)
			require.True(t, strings.HasSuffix(errs, "netsim: stopped\n"), errs)
			if name == "sweep" {
				require.Regexp(t, `(?m)^all +0 +0$`, out, "what came to an end is counted")
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	path := file(t)
	broken := file(t, "duration: 1m", "duraton: 1m")
	for _, c := range []struct {
		args, says string
	}{
		{"run", "want netsim run SCENARIO"},
		{"run nothing-like-it", "netsim ls lists it"},
		{"run " + broken, "duraton"},
		{"run " + path + " --runs 0", "want 1 or more"},
		{"run " + path + " --runs 2 --trace x", "are for one run"},
		{"run " + path + " --sed 4", "unknown flag: --sed"},
		{"run " + path + " --seed 0", "seeds begin at 1"},
		{"run " + path + " --html /nowhere/at/all/x.html", "/nowhere/at/all/x.html cannot be written"},
		{"run " + t.TempDir(), "is a directory"},
		{"sweep " + path + " --seeds -1", "--seeds -1: want 0"},
		{"sweep " + path + " --seed 0", "seeds begin at 1"},
		{"sweep " + path + " --for -2s", "want a time above 0"},
		{"shrink " + path + " --for 0s", "want a time above 0"},
		{"shrink " + path + " -o " + t.TempDir(), "no plain file"},
		{"replay " + path + " --seed 0", "seeds begin at 1"},
		{"replay " + path + " --times 1", "want 2 or more"},
		{"rehearse --plan x", "want --plan FILE, --release FILE and --swarm FILE"},
		{"rehearse --plan x --release nothing.star --swarm demo", "nothing.star"},
		{"simulate", `no command "simulate"`},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, out, errs := play(t, strings.Fields(c.args)...)
			require.Equal(t, exitUsage, code, errs)
			require.Contains(t, errs, c.says)
			require.Empty(t, out)
		})
	}
}

func TestList(t *testing.T) {
	code, out, _ := play(t, "ls")
	require.Zero(t, code)
	require.Regexp(t, `(?m)^demo +\S`, out)
	code, out, _ = play(t, "ls", "--json")
	require.Zero(t, code)
	var list []listed
	require.NoError(t, json.Unmarshal([]byte(out), &list))
	require.Greater(t, len(list), 20)
	for _, l := range list {
		require.Positive(t, l.Machines, l.Name)
		require.Positive(t, l.Seconds, l.Name)
	}
}

// With a pinned runtime the same scenario and seed are the same run.
func TestReplayIsExact(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this program with a pinned runtime")
	}
	plain := makeEngine
	makeEngine = func(context.Context, int) (*engine, error) { return exactEngine() }
	defer func() { makeEngine = plain }()
	code, out, errs := play(t, "replay", file(t), "--times", "3", "--json")
	var r replayed
	require.NoError(t, json.Unmarshal([]byte(out), &r), errs)
	require.True(t, r.Exact)
	require.Equal(t, 3, r.Equal, r.Differ)
	require.Zero(t, code, errs)
}
