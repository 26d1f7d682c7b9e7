//go:build linux && (amd64 || arm64)

package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim/exact"
)

// In a real program every route to a file is seen, and machines have their clocks.
func TestProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program with a pinned runtime")
	}
	b, err := exact.Build(t.Context(), exact.Source{Package: "./testdata/machines"}, filepath.Join(t.TempDir(), "machines"))
	require.NoError(t, err)
	if !b.Exact {
		t.Skip("the pins do not fit this Go version: ", b.Why)
	}
	cmd := exec.CommandContext(t.Context(), b.Path)
	cmd.Dir, cmd.Env = t.TempDir(), exact.Env(1)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	// Names and contents: os 2, link 1, root 2, copy 2, sys 2, deep 2.
	require.Equal(t, `record synced, 11 at risk
full: open a/more: no space left on device
goroutine 7200h0m0s
timer 7200h0m1s
channel 7200h0m2s
deadline 3s
since 4s
right 4s 4s
fast 55s 54s 54s
stays 1m45s
`, string(out))
}

// In a plain program there is no such thing, and it says so.
func TestPlainProgram(t *testing.T) {
	if Available() {
		t.Skip("this test binary has the pins")
	}
	set, err := New(Config{Dir: t.TempDir()})
	require.NoError(t, err)
	require.ErrorIs(t, set.Hook(), exact.ErrPlain)
	require.ErrorIs(t, exact.UseClocks(), exact.ErrPlain)
	ran := false
	exact.As(3, func() { ran = true })
	require.True(t, ran)
	require.NoError(t, os.WriteFile(filepath.Join(t.TempDir(), "f"), nil, 0o600))
}
