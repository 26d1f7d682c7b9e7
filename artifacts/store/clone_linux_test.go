package store

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

// TestCloning needs a file system that can: TMPDIR on btrfs or XFS.
func TestCloning(t *testing.T) {
	dir := t.TempDir()
	trees := make([]*tree, 2)
	for k := range trees {
		sub := filepath.Join(dir, strconv.Itoa(k))
		require.NoError(t, os.Mkdir(sub, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(sub, "a"), make([]byte, 8<<20), 0o600))
		var err error
		trees[k], err = openTree(sub, true, nil)
		require.NoError(t, err)
		defer trees[k].close()
	}
	err := trees[0].clone("a", trees[1])
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the file system of TMPDIR cannot share blocks between files: " + err.Error())
	}
	require.NoError(t, err)

	before := storetest.NewSample(1)
	old := openSlot(t, newSlot(t), before.Manifest)
	storetest.Fill(t, before, old)
	require.NoError(t, old.Flush())
	bad := rand.N(len(before.Manifest.Chunks))
	require.NoError(t, old.Damage(bad))
	img := openSlot(t, newSlot(t), before.Manifest)
	cloned := img.cloneFiles(old.Image)
	require.NotEmpty(t, cloned)
	require.NoError(t, img.Flush())
	for e, entry := range before.Manifest.Entries {
		if cloned.Has(e) {
			require.True(t, shared(t, filepath.Join(img.slot.dir, entry.Path)), "%s has blocks of its own", entry.Path)
		}
	}
	for n := range before.Manifest.Chunks {
		require.False(t, img.HasChunk(n), "nobody has proven it")
		require.Equal(t, n != bad, img.adopt(n, cloned, nil), "chunk %d", n)
	}
	require.NoError(t, img.WriteChunk(bad, before.Chunk(bad)))
	storetest.RequireChunks(t, before, img)
	_, err = old.ReadChunk(bad, nil)
	require.ErrorIs(t, err, ErrDamaged, "what was written to the new image is not in the old one")
	require.NoError(t, errors.Join(old.Close(), img.Close()))
}

// shared reports whether the first block of the file is some other file's, too
// (ioctl FS_IOC_FIEMAP, flag FIEMAP_EXTENT_SHARED).
func shared(t *testing.T, name string) bool {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	var ask struct {
		start, length                    uint64
		flags, mapped, count, reserved   uint32
		logical, physical, extent        uint64
		reserved64                       [2]uint64
		extentFlags, reserved1, r2, last uint32
	}
	ask.length, ask.flags, ask.count = 1<<62, 1, 1 // flag 1 is to sync first
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0xC020660B, uintptr(unsafe.Pointer(&ask)))
	require.Zero(t, errno)
	require.EqualValues(t, 1, ask.mapped, "%s has no blocks", name)
	return ask.extentFlags&0x2000 != 0
}
