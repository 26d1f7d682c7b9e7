package main

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSmoke runs a small race and a small story from the command line to the table,
// with limits that need no root. It builds the members, which takes its time once.
func TestSmoke(t *testing.T) {
	var out bytes.Buffer
	args := []string{"-n", "1", "-scale", "64", "-own", "-systems", "starling,torrent", "-dir", t.TempDir(), "unlimited", "uplinks-4", "killed"}
	require.NoError(t, command(t.Context(), args, &out), out.String())
	for _, want := range []string{`unlimited: `, `starling +\d+\.\d\d s +-`, `torrent +\d+\.\d\d s +\d\.`, `killed at \[`, `lost: \d`} {
		require.Regexp(t, want, out.String())
	}
}

func TestCommandRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown case": {"nonsense"}, "no rounds": {"-n", "0"}, "scale": {"-scale", "0"}, "flag": {"-nonsense"},
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, command(t.Context(), args, &bytes.Buffer{})) })
	}
}

func TestBound(t *testing.T) {
	s := setup{image: &image{size: 64 * mib}, fetchers: 4, uplink: 16 * mib}
	require.Equal(t, 4*time.Second, s.bound(), "the seed must send the file once")
	s.uplink = 0
	require.Zero(t, s.bound())
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	require.True(t, math.IsNaN(median([]float64{1, math.NaN(), 2})))
	require.Equal(t, "-", number(math.NaN(), 2))
	require.Equal(t, "1.50", number(1.5, 2))
}
