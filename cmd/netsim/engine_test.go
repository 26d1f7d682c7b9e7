package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// dying is a program that says why it dies, as a run whose node panics does.
func dying(t *testing.T) *engine {
	path := filepath.Join(t.TempDir(), "dying")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho 'panic: out of luck' >&2\necho 'goroutine 1' >&2\nexit 2\n"), 0o755))
	return &engine{program: path, slots: slots(2)}
}

func TestARunThatDies(t *testing.T) {
	e, s := dying(t), source{Scenario: new(scenario.Scenario), name: "x y.yaml"}
	p := newProgress(&printer{}, 1, false, true)
	_, err := e.series(t.Context(), s, runOptions{seed: 1}, 1, p, "netsim run x")
	require.ErrorContains(t, err, "panic: out of luck")
	require.ErrorContains(t, err, "goroutine 1", "a person needs the rest")

	p = newProgress(&printer{}, 2, false, true)
	reports, err := e.series(t.Context(), s, runOptions{seed: 5}, 2, p, "netsim run x")
	require.NoError(t, err, "of many runs one that dies is one that went wrong")
	require.Equal(t, 2, netsim.NewSeries(reports).Failed)
	require.Equal(t, uint64(6), reports[1].Seed)
	require.Equal(t, "netsim run x --seed 6 -v", reports[1].Replay)
	require.Contains(t, reports[1].Why(), "out of luck")
}

// A disk that is full makes robots fail, and is no fault of theirs; a run that goes well
// in spite of it goes well.
func TestAFullDiskIsNotTheSwarmsFault(t *testing.T) {
	was := leastFree
	leastFree = 1 << 62
	defer func() { leastFree = was }()
	code, _, errs := play(t, "run", file(t))
	require.Zero(t, code, errs)
	bad := file(t, `active: "1.1"`, `active: "1.0"`)
	for _, args := range [][]string{{"run", bad}, {"run", bad, "--runs", "2"}, {"sweep", bad, "--seeds", "1"}, {"shrink", bad}} {
		code, out, errs := play(t, args...)
		require.Equal(t, exitError, code, args)
		require.Contains(t, errs, "MiB left: what went wrong in this run may come of that")
		require.NotContains(t, out, "NOT MET")
	}
}

// A small RAM disk is left alone.
func TestWhereRunsKeepTheirState(t *testing.T) {
	ram, was := ramDisk, roomyFree
	defer func() { ramDisk, roomyFree = ram, was }()
	ramDisk = t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	roomyFree = 1
	dir, err := tempDir()
	require.NoError(t, err)
	require.Equal(t, ramDisk, filepath.Dir(dir))
	roomyFree = 1 << 62
	dir, err = tempDir()
	require.NoError(t, err)
	require.Equal(t, os.TempDir(), filepath.Dir(dir))
}

func TestTracesComeAlong(t *testing.T) {
	s := source{Scenario: &scenario.Scenario{Fleet: []scenario.Group{{}, {Mobility: scenario.Mobility{Trace: "ways/walk.csv"}}}}}
	dir := t.TempDir()
	require.ErrorContains(t, s.traces(dir), "ways/walk.csv")
	s.files = fstest.MapFS{"ways/walk.csv": {Data: []byte("0,a,1,2,3\n")}}
	require.NoError(t, s.traces(dir))
	data, err := os.ReadFile(filepath.Join(dir, "ways", "walk.csv"))
	require.NoError(t, err)
	require.Equal(t, "0,a,1,2,3\n", string(data))
}

func TestProgress(t *testing.T) {
	out := &printer{}
	p := newProgress(out, 1, false, false)
	require.False(t, p.live, "a buffer is no terminal")
	p.note(netsim.Note{At: time.Second, Machine: "operator", Kind: "step-failed", Text: "ship: off"})
	p.note(netsim.Note{At: 3 * time.Second, Machine: "operator", Kind: "step-failed", Text: "ship: off"})
	p.note(netsim.Note{At: 4 * time.Second, Machine: "cart-1", Kind: "phase", Text: "trial"})
	p.beat(netsim.Beat{At: 5})
	require.Equal(t, "    1.000s operator     step-failed ship: off\n", out.String())

	out = &printer{}
	p = newProgress(out, 1, false, false)
	p.live = true
	p.note(netsim.Note{Kind: "order"})
	p.beat(netsim.Beat{At: 65, Release: "1.1", Status: "running", Stage: "wave 1", Committed: 3, For: 12})
	p.end()
	require.Regexp(t, `^\r\x1b\[K1m5s  1\.1 running in wave 1, on 3 of 12  \d+ x\r\x1b\[K$`, out.String())

	out = &printer{}
	p = newProgress(out, 2, false, false)
	p.done(&netsim.Report{})
	p.done(&netsim.Report{Died: "x"})
	require.Regexp(t, `^1 of 2 runs, 0 went wrong, 0 s\n2 of 2 runs, 1 went wrong, 0 s\n$`, out.String())
}

func TestLinesOfAChild(t *testing.T) {
	for _, l := range []line{{Note: &netsim.Note{At: time.Second, Text: "x"}}, {Beat: &netsim.Beat{At: 2}}, {Report: &netsim.Report{Seed: 3}}} {
		data, err := json.Marshal(l)
		require.NoError(t, err)
		var got line
		require.NoError(t, json.Unmarshal(data, &got))
		require.Equal(t, l, got)
	}
}

func TestQuote(t *testing.T) {
	require.Equal(t, "a/b-1.yaml", quote("a/b-1.yaml"))
	require.Equal(t, `'it'\''s a.yaml'`, quote("it's a.yaml"))
	require.Equal(t, "''", quote(""))
}

// Whoever builds the program anew changes nothing for an engine that runs already.
func TestTheProgramIsHeld(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	data, err := os.ReadFile(self)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "netsim")
	require.NoError(t, os.WriteFile(path, data, 0o755))
	e := &engine{program: path, slots: slots(1)}
	require.NoError(t, e.hold())
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o755))
	s, err := open(file(t))
	require.NoError(t, err)
	r, err := e.run(t.Context(), s, runOptions{seed: 3})
	require.NoError(t, err)
	require.True(t, r.OK(), r.Why())
}

func TestFar(t *testing.T) {
	out := &printer{}
	p := newProgress(out, 0, false, false)
	p.far("1 runs")
	p.far("2 runs") // less than a minute later
	require.Equal(t, "0s  1 runs\n", out.String())
	p.live = true
	p.far("3 runs")
	p.end()
	require.Contains(t, out.String(), "\r\x1b[K0s  3 runs\r\x1b[K")
}

// Several that are started together, before there is a program, build one after the other.
func TestEnginesTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("builds netsim")
	}
	first, err := newEngine(t.Context(), 1)
	require.NoError(t, err)
	if first.held == nil {
		t.Skip("the program is used by its path here")
	}
	require.NoError(t, os.Remove(first.held.Name()))
	const engines = 4
	errs := make(chan error, engines)
	for range engines {
		go func() {
			e, err := newEngine(t.Context(), 1)
			if err == nil {
				err = exec.Command(e.program, "ls").Run()
			}
			errs <- err
		}()
	}
	for range engines {
		require.NoError(t, <-errs)
	}
}
