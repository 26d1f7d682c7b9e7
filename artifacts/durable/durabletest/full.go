//go:build linux

// Package durabletest makes a disk that can be filled, for tests of what is written
// then.
package durabletest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Disk is a small file system of its own, and how to fill it. Without the right to
// mount one the test is skipped.
func Disk(t *testing.T, bytes string) (dir string, fill func()) {
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+bytes); err != nil {
		t.Skip("a file system of a bounded size cannot be mounted here: ", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir, func() {
		f, err := os.Create(filepath.Join(dir, "filler"))
		require.NoError(t, err)
		for part := make([]byte, 64<<10); len(part) > 0; {
			if _, err = f.Write(part); err != nil {
				part = part[:len(part)/2]
			}
		}
		require.True(t, errors.Is(err, syscall.ENOSPC), "%v", err)
		require.NoError(t, f.Close())
		require.ErrorIs(t, os.WriteFile(filepath.Join(dir, "one more"), make([]byte, 4096), 0o600), syscall.ENOSPC)
		require.NoError(t, os.Remove(filepath.Join(dir, "one more")))
	}
}
