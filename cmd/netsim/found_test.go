package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// foundBugs are scenarios that once went wrong, one for each bug that the simulator
// found in nodes, shrunk to what showed it. Each says what went wrong, and fails on the
// sources of that time with its own seed.
const foundBugs = "../../netsim/testdata/found"

// TestFoundBugsStayAway plays them in the exact build: every promise holds now, and
// what is expected comes.
func TestFoundBugsStayAway(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this program with a pinned runtime")
	}
	paths, err := filepath.Glob(filepath.Join(foundBugs, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	e, err := exactEngine()
	require.NoError(t, err)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			s, err := open(path)
			require.NoError(t, err)
			r, err := e.run(t.Context(), s, runOptions{seed: s.Seed})
			require.NoError(t, err)
			require.True(t, r.Exact, "%v", r.Loose)
			require.True(t, r.OK(), "%s\n  it was: %s\n  replay: netsim run %s --seed %d -v", r.Why(), s.About, path, s.Seed)
		})
	}
}
