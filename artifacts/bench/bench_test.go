package main

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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

// TestDelta updates a small tree every way that is installed: each compares what came
// with what was wanted.
func TestDelta(t *testing.T) {
	older, newer := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "tree")
	source, err := goSource(t.Context())
	require.NoError(t, err)
	for _, dir := range []string{older, newer} {
		require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(source, "encoding"))))
	}
	for _, name := range []string{"gob/decode.go", "json/scanner.go", "xml/xml.go"} {
		text, err := os.ReadFile(filepath.Join(newer, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(newer, name), append([]byte("// A line that is new.\n"), text...), 0o644))
	}
	var out bytes.Buffer
	require.NoError(t, command(t.Context(), []string{"-dir", t.TempDir(), "-old", older, "-new", newer, "delta"}, &out), out.String())
	row := func(way string) int64 {
		m := regexp.MustCompile(`(?m)^ +` + way + `  +(\d+) `).FindStringSubmatch(out.String())
		require.NotNil(t, m, "%s: %s", way, out.String())
		n, err := strconv.ParseInt(m[1], 10, 64)
		require.NoError(t, err)
		return n
	}
	chunks := row("starling, chunks")
	require.Less(t, row("starling, pack")*2, chunks, "%s", out.String())
	if _, err := exec.LookPath("zsync"); err != nil {
		t.Skip("the rest needs zsync")
	}
	require.Less(t, row("zsync -z"), row("zsync"), "%s", out.String())
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
