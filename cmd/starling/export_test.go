package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file is put in the place of a file only: not of a directory, and not of a device,
// which would be gone.
func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	fill := func(f *os.File) error { _, err := f.WriteString("new"); return err }
	fine := func(string) error { return nil }
	path := filepath.Join(dir, "x.star")
	for range 2 {
		require.NoError(t, replaceFile(path, fill, fine))
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(data))
	require.ErrorContains(t, replaceFile(dir, fill, fine), "is there and no file")
	require.ErrorContains(t, replaceFile(os.DevNull, func(*os.File) error { panic("not called") }, fine), "is there and no file")
	require.ErrorIs(t, replaceFile(path, fill, func(string) error { return os.ErrInvalid }), os.ErrInvalid)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
