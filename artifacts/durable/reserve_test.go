package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func kept(t *testing.T, dir string, bytes int64) *Reserve {
	r, err := Keep(dir, bytes)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// A reserve gives up part after part, only for files below it, and until it is empty.
func TestReserveIsGivenUpInParts(t *testing.T) {
	dir := t.TempDir()
	r := kept(t, dir, 3*partBytes-1)
	require.Zero(t, r.Left())
	require.NoError(t, r.Refill())
	require.Equal(t, int64(3*partBytes-1), size(t, r))

	needs := func(path string, parts int) (tries int, err error) {
		err = Retry(path, func() error {
			tries++
			if tries <= parts {
				return fmt.Errorf("write: %w", &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC})
			}
			return nil
		})
		return tries, err
	}
	tries, err := needs(filepath.Join(dir, "state", "record"), 1)
	require.NoError(t, err)
	require.Equal(t, 2, tries)
	require.Equal(t, int64(2*partBytes-1), size(t, r))
	require.Equal(t, r.Left(), size(t, r))

	_, err = needs(dir+"-other/record", 1)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, Retry(filepath.Join(dir, "x"), func() error { return syscall.EIO }), syscall.EIO)
	require.Equal(t, int64(2*partBytes-1), size(t, r))

	_, err = needs(filepath.Join(dir, "record"), 5)
	require.ErrorIs(t, err, syscall.ENOSPC, "more than there was")
	require.Zero(t, size(t, r))
	require.NoError(t, r.Refill())
	require.Equal(t, int64(3*partBytes-1), size(t, r))
	r.Close()
	_, err = needs(filepath.Join(dir, "record"), 1)
	require.ErrorIs(t, err, syscall.ENOSPC, "not in use any more")
}

// What was used up before a restart is not counted on after it; one directory has
// one reserve, and the nearest counts.
func TestReserveIsTakenUpAsItWasLeft(t *testing.T) {
	dir := t.TempDir()
	r := kept(t, dir, 2*partBytes)
	require.NoError(t, r.Refill())
	require.True(t, r.yield())
	_, err := Keep(dir, partBytes)
	require.Error(t, err)
	r.Close()
	r = kept(t, dir, 2*partBytes)
	require.Equal(t, int64(partBytes), r.Left())
	inner := kept(t, filepath.Join(dir, "inner"), partBytes)
	require.Equal(t, inner, above(filepath.Join(dir, "inner", "file")))
	require.Equal(t, r, above(filepath.Join(dir, "other", "file")))

	require.NoError(t, os.Remove(r.path()), "somebody made room by hand")
	require.True(t, r.yield(), "worth one more try")
	require.False(t, r.yield())
}

func size(t *testing.T, r *Reserve) int64 {
	st, err := os.Stat(r.path())
	require.NoError(t, err)
	return st.Size()
}
