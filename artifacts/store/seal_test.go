package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

// TestSealedTree compares a sealed slot with the sample by other means than the
// store's own.
func TestSealedTree(t *testing.T) {
	sample := storetest.NewSample(2)
	s := newSlot(t)
	img := openSlot(t, s, sample.Manifest)
	storetest.Fill(t, sample, img)
	require.NoError(t, img.Seal(t.Context()))
	require.NoError(t, img.Close())
	stream, seen := []byte(nil), 0
	for _, e := range sample.Manifest.Entries {
		p := filepath.Join(s.dir, e.Path)
		fi, err := os.Lstat(p)
		require.NoError(t, err)
		switch e.Kind {
		case manifest.File:
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			stream = append(stream, b...)
			require.Equal(t, os.FileMode(e.Mode)&^0o222, fi.Mode(), e.Path)
		case manifest.Dir:
			require.Equal(t, os.ModeDir|os.FileMode(e.Mode)&^0o222, fi.Mode(), e.Path)
		case manifest.Link:
			target, err := os.Readlink(p)
			require.NoError(t, err)
			require.Equal(t, e.Target, target)
		}
	}
	require.True(t, string(stream) == string(sample.Stream))
	require.NoError(t, filepath.WalkDir(s.dir, func(string, os.DirEntry, error) error { seen++; return nil }))
	require.Equal(t, len(sample.Manifest.Entries)+1, seen)

	img = openSlot(t, s, sample.Manifest)
	require.True(t, img.Sealed())
	require.True(t, img.Complete())
	require.NoError(t, img.Damage(1))
	_, err := img.ReadChunk(1, nil)
	require.ErrorIs(t, err, ErrDamaged)
	img = openSlot(t, s, sample.Manifest) // as if the process had died
	require.False(t, img.Sealed(), "a broken seal is journaled at once")
	require.False(t, img.HasChunk(1))
	chunks, _ := img.Missing()
	require.Equal(t, 1, chunks)
	mend(t, img, sample)
}

func TestVerify(t *testing.T) {
	sample := storetest.NewSample(2)
	for _, tt := range []struct {
		name   string
		change func(dir string) error
		want   string // empty: nothing wrong
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"write bits", func(d string) error { return os.Chmod(filepath.Join(d, "bin/app"), 0o755) }, ""},
		{"a mode", func(d string) error { return os.Chmod(filepath.Join(d, "etc/conf"), 0o555) }, "mode"},
		{"a set-id bit", func(d string) error { return os.Chmod(filepath.Join(d, "bin/app"), 0o555|os.ModeSetuid) }, "mode"},
		{"a stray", func(d string) error { return os.WriteFile(filepath.Join(d, "etc/more"), nil, 0o400) }, `"etc/more" is not in the manifest`},
		{"a file less", func(d string) error { return os.Remove(filepath.Join(d, "etc/none")) }, "etc/none"},
		{"a length", func(d string) error { return os.Truncate(filepath.Join(d, "bin/helper"), 2999) }, "2999 bytes"},
		{"a link", func(d string) error {
			return first(os.Remove(filepath.Join(d, "bin/run")), os.Symlink("helper", filepath.Join(d, "bin/run")))
		}, "link"},
		{"a kind", func(d string) error {
			return first(os.Remove(filepath.Join(d, "etc/none")), os.Mkdir(filepath.Join(d, "etc/none"), 0o500))
		}, "is a directory"},
		{"a byte", func(d string) error {
			f, err := os.OpenFile(filepath.Join(d, "bin/app"), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("???"), 500_000)
			return first(err, f.Close())
		}, `"bin/app"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := memorySlot(t)
			img := openSlot(t, s, sample.Manifest)
			storetest.Fill(t, sample, img)
			require.NoError(t, img.Seal(t.Context()))
			require.NoError(t, img.Close())
			for _, p := range []string{"", "bin", "etc", "bin/app", "bin/helper"} {
				require.NoError(t, os.Chmod(filepath.Join(s.dir, p), map[bool]os.FileMode{true: 0o750, false: 0o755}[p == "etc"]))
			}
			require.NoError(t, tt.change(s.dir))
			err := Verify(t.Context(), s.dir, sample.Manifest)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
