package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	free, total, err := Disk(filepath.Join(dir, "not", "there"))
	require.NoError(t, err)
	require.Positive(t, free)
	require.GreaterOrEqual(t, total, free)
}

func TestSize(t *testing.T) {
	dir := t.TempDir()
	none, err := Size(filepath.Join(dir, "gone"))
	require.NoError(t, err)
	require.Zero(t, none)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "c"), make([]byte, 1<<20), 0o644))
	f, err := os.Create(filepath.Join(dir, "hole"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<30))
	require.NoError(t, f.Close())
	got, err := Size(dir)
	require.NoError(t, err)
	require.InDelta(t, 1<<20, got, 64<<10)
}
