package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim"
)

func TestMeasure(t *testing.T) {
	all := []phase{
		{12, "b", "staging"}, {10, "a", "fetching"}, {11, "a", "staging"}, {10.5, "b", "fetching"},
		{12, "a", "trial"}, {12.5, "b", "trial"}, {13, "a", "committed"}, {14, "b", "committed"}, {14.5, "b", "committed"},
		{15, "c", "fetching"}, {16, "c", "staging"}, {16.5, "c", "fetching"}, {17, "c", "staging"}, {18, "c", "trial"}, {20, "c", "committed"},
	}
	require.Equal(t, times{Fetched: 6, Canaries: 4, WaveBegins: 8, Committed: 10}, measure(all))
	require.Zero(t, measure(nil))
}

func TestPhaseOf(t *testing.T) {
	p, ok := phaseOf(netsim.Note{At: 3 * time.Second, Machine: "a", Kind: "phase", Text: "staging 1.1 (1f90cc6141ff) result=unknown"}, "1.1")
	require.True(t, ok)
	require.Equal(t, phase{3, "a", "staging"}, p)
	_, ok = phaseOf(netsim.Note{Kind: "phase", Text: "staging 1.0 (1f90cc6141ff)"}, "1.1")
	require.False(t, ok)
}

func TestBeside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.json")
	data, err := json.Marshal(demo{Schema: "starling.demo/v1", Robots: 6, TotalSeconds: 30, Phases: []phase{{1, "r01", "fetching"}, {2, "r01", "staging"}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	code, out, errs := play(t, "beside", path, "--json")
	require.Zero(t, code, errs)
	var b besides
	require.NoError(t, json.Unmarshal([]byte(out), &b))
	require.Equal(t, 1.0, b.Real.Fetched)
	s := b.Simulated
	require.Greater(t, s.Canaries, 1.0, "a healthy second, at least")
	require.Greater(t, s.WaveBegins, s.Canaries)
	require.Greater(t, s.Committed, s.WaveBegins)
	require.Greater(t, s.Committed, s.Fetched)

	require.NoError(t, os.WriteFile(path, []byte(`{"schema": "starling.status/v1"}`), 0o600))
	code, _, errs = play(t, "beside", path)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "is not what starling demo --json prints")
}
