package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

func TestContract(t *testing.T) {
	t.Run("disk", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, m *manifest.Manifest) storetest.Store { return openSlot(t, memorySlot(t), m) })
	})
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, m *manifest.Manifest) storetest.Store { return NewMem(m) })
	})
}

// A slot is a place for an image in a test.
type slot struct{ dir, journal string }

func newSlot(t testing.TB) slot {
	base := t.TempDir()
	s := slot{dir: filepath.Join(base, "slot"), journal: filepath.Join(base, "slot.journal")}
	t.Cleanup(func() { require.NoError(t, Remove(s.dir)) })
	return s
}

// memorySlot is a slot in a file system in memory, where there is one: a sync
// costs nothing there, and what a test cuts does not depend on it.
func memorySlot(t testing.TB) slot {
	const memory = "/dev/shm"
	base, err := os.MkdirTemp(memory, "starling-store-")
	if err != nil {
		return newSlot(t)
	}
	s := slot{dir: filepath.Join(base, "slot"), journal: filepath.Join(base, "slot.journal")}
	t.Cleanup(func() {
		require.NoError(t, Remove(s.dir))
		require.NoError(t, os.RemoveAll(base))
	})
	return s
}

// A testImage is an Image with access to its slot.
type testImage struct {
	*Image
	slot slot
}

func openSlot(t testing.TB, s slot, m *manifest.Manifest) *testImage {
	t.Helper()
	img, err := Open(Config{Dir: s.dir, Journal: s.journal, Manifest: m})
	require.NoError(t, err)
	return &testImage{img, s}
}

// Damage flips a bit of chunk n in the file that holds it.
func (i *testImage) Damage(n int) error {
	x := i.layout.Extents(n)[0]
	p := filepath.Join(i.slot.dir, i.m.Entries[x.Entry].Path)
	if err := os.Chmod(p, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, x.Offset+x.Bytes/2); err != nil {
		return err
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, x.Offset+x.Bytes/2); err != nil {
		return err
	}
	return f.Close()
}
