package store

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

// TestScribbled lets a payload put other things where the image's files were.
// Wherever the store meets them, nothing outside the slot changes, no wrong byte
// comes out, and the image can be mended.
func TestScribbled(t *testing.T) {
	scribbles := []struct {
		name string
		do   func(dir, outside string) error
	}{
		{"directory becomes a link out", func(dir, outside string) error {
			return replace(filepath.Join(dir, "bin"), func(p string) error { return os.Symlink(outside, p) })
		}},
		{"deep directory becomes a link inside", func(dir, _ string) error {
			return replace(filepath.Join(dir, "lib/deep"), func(p string) error { return os.Symlink("../etc", p) })
		}},
		{"file becomes a link out", func(dir, outside string) error {
			return replace(filepath.Join(dir, "bin/app"), func(p string) error { return os.Symlink(filepath.Join(outside, "app"), p) })
		}},
		{"file becomes a second name of one outside", func(dir, outside string) error {
			return replace(filepath.Join(dir, "bin/app"), func(p string) error { return os.Link(filepath.Join(outside, "app"), p) })
		}},
		{"file becomes a pipe", func(dir, _ string) error {
			return replace(filepath.Join(dir, "bin/app"), func(p string) error { return syscall.Mkfifo(p, 0o600) })
		}},
		{"file becomes a directory", func(dir, _ string) error {
			return replace(filepath.Join(dir, "bin/app"), func(p string) error { return os.MkdirAll(filepath.Join(p, "in"), 0o700) })
		}},
		{"directory becomes a file", func(dir, _ string) error {
			return replace(filepath.Join(dir, "etc/conf.d"), func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) })
		}},
		{"file is gone", func(dir, _ string) error {
			return replace(filepath.Join(dir, "bin/app"), func(string) error { return nil })
		}},
		{"file is cut", func(dir, _ string) error {
			return first(os.Chmod(filepath.Join(dir, "bin/app"), 0o600), os.Truncate(filepath.Join(dir, "bin/app"), 1000))
		}},
		{"everything is gone", func(dir, _ string) error {
			return replace(filepath.Join(dir, "bin"), func(string) error {
				return replace(filepath.Join(dir, "lib"), func(string) error {
					return replace(filepath.Join(dir, "etc"), func(string) error { return nil })
				})
			})
		}},
		{"permissions are gone", func(dir, _ string) error {
			return first(os.Chmod(filepath.Join(dir, "bin/app"), 0), os.Chmod(filepath.Join(dir, "lib"), 0))
		}},
	}
	meetings := []struct {
		name string
		meet func(t *testing.T, img *testImage, sample *storetest.Sample) *testImage
	}{
		{"in use", func(t *testing.T, img *testImage, sample *storetest.Sample) *testImage { return img }},
		{"on open", func(t *testing.T, img *testImage, sample *storetest.Sample) *testImage {
			require.NoError(t, img.Close())
			img = openSlot(t, img.slot, sample.Manifest)
			storetest.RequireChunks(t, sample, img)
			return img
		}},
		{"without a journal", func(t *testing.T, img *testImage, sample *storetest.Sample) *testImage {
			require.NoError(t, img.Close())
			require.NoError(t, os.Remove(img.slot.journal))
			img = openSlot(t, img.slot, sample.Manifest)
			storetest.RequireChunks(t, sample, img)
			return img
		}},
	}
	for _, sc := range scribbles {
		for _, me := range meetings {
			for _, sealed := range []bool{false, true} {
				name := sc.name + ", " + me.name
				if sealed {
					name += ", sealed"
				}
				t.Run(name, func(t *testing.T) {
					img, sample := scribble(t, sealed, sc.do)
					img = me.meet(t, img, sample)
					mend(t, img, sample)
				})
			}
		}
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func replace(p string, with func(p string) error) error {
	return first(os.Chmod(filepath.Dir(p), 0o700), removeAny(p), with(p))
}

// removeAny removes a file, or a directory with what is in it.
func removeAny(p string) error {
	if fi, err := os.Lstat(p); err == nil && fi.IsDir() {
		return Remove(p)
	}
	return os.Remove(p)
}

// scribble fills an image and lets do change it; what lies outside is checked at
// the end.
func scribble(t *testing.T, sealed bool, do func(dir, outside string) error) (*testImage, *storetest.Sample) {
	sample := storetest.NewSample(9)
	s := memorySlot(t)
	outside := filepath.Join(filepath.Dir(s.dir), "outside")
	require.NoError(t, os.Mkdir(outside, 0o755))
	// They have the lengths of the image's own, so that only their place
	// tells them apart.
	precious := map[string][]byte{"app": bytes.Repeat([]byte("precious"), 700<<10/8), "helper": bytes.Repeat([]byte("precious"), 3000/8)}
	for name, b := range precious {
		require.NoError(t, os.WriteFile(filepath.Join(outside, name), b, 0o644))
	}
	t.Cleanup(func() {
		for name, want := range precious {
			b, err := os.ReadFile(filepath.Join(outside, name))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, b), "%s outside the slot was changed", name)
			fi, err := os.Stat(filepath.Join(outside, name))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o644), fi.Mode())
		}
		names, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Len(t, names, 2)
	})
	img := openSlot(t, s, sample.Manifest)
	storetest.Fill(t, sample, img)
	if sealed {
		require.NoError(t, img.Seal(t.Context()))
		require.NoError(t, os.Chmod(s.dir, 0o755))
	}
	require.NoError(t, do(s.dir, outside))
	return img, sample
}

// mend reads, writes and seals until the image is whole, as a node would.
func mend(t *testing.T, img *testImage, sample *storetest.Sample) {
	for n := range sample.Manifest.Chunks {
		data, err := img.ReadChunk(n, nil)
		if err == nil {
			require.True(t, string(data) == string(sample.Chunk(n)))
		}
	}
	var err error
	for range 3 {
		storetest.Fill(t, sample, img)
		if err = img.Seal(t.Context()); err == nil {
			break
		}
		require.ErrorIs(t, err, ErrDamaged)
	}
	require.NoError(t, err)
	require.NoError(t, img.Close())
	require.NoError(t, Verify(t.Context(), img.slot.dir, sample.Manifest))
	img = openSlot(t, img.slot, sample.Manifest)
	require.True(t, img.Sealed())
	storetest.RequireChunks(t, sample, img)
	require.NoError(t, img.Close())
}

// TestFileVanishesBeforeFlush: what cannot be synced because it is gone is not
// held, and does not stand in the way of the rest.
func TestFileVanishesBeforeFlush(t *testing.T) {
	sample := storetest.NewSample(9)
	s := newSlot(t)
	img := openSlot(t, s, sample.Manifest)
	require.NoError(t, img.Flush())
	app := -1
	for n := range sample.Manifest.Chunks {
		if p, _ := sample.Path(n); p == "bin/app" && app < 0 {
			app = n
		}
	}
	last := len(sample.Manifest.Chunks) - 1
	require.NoError(t, img.WriteChunk(app, sample.Chunk(app)))
	require.NoError(t, img.WriteChunk(last, sample.Chunk(last)))
	require.NoError(t, os.Remove(filepath.Join(s.dir, "bin/app")))
	require.NoError(t, img.Flush())
	require.False(t, img.HasChunk(app))
	require.True(t, img.HasChunk(last))
	mend(t, img, sample)
}

// TestDirIsLink: what a link leads to is not emptied.
func TestDirIsLink(t *testing.T) {
	sample := storetest.NewSample(9)
	s := newSlot(t)
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "thesis"), []byte("x"), 0o600))
	require.NoError(t, os.Symlink(home, s.dir))
	_, err := Open(Config{Dir: s.dir, Journal: s.journal, Manifest: sample.Manifest})
	require.ErrorContains(t, err, "symbolic link")
	require.Error(t, Remove(s.dir))
	require.FileExists(t, filepath.Join(home, "thesis"))
	require.NoError(t, os.Remove(s.dir))
}

// TestSealRemovesStrays: only what the manifest lists stays.
func TestSealRemovesStrays(t *testing.T) {
	sample := storetest.NewSample(9)
	s := newSlot(t)
	outside := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(outside, nil, 0o600))
	img := openSlot(t, s, sample.Manifest)
	storetest.Fill(t, sample, img)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "stray"), nil, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "lib/stray/in"), 0o700))
	require.NoError(t, os.Symlink(filepath.Dir(outside), filepath.Join(s.dir, "lib/stray/in/out")))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "lib/stray/in/f"), nil, 0))
	require.NoError(t, os.Chmod(filepath.Join(s.dir, "lib/stray/in"), 0))
	require.NoError(t, img.Seal(t.Context()))
	require.NoError(t, Verify(t.Context(), s.dir, sample.Manifest))
	require.FileExists(t, outside)
	require.NoError(t, img.Close())
}

// TestPipeDoesNotHang: opening a pipe without a writer would wait for ever.
func TestPipeDoesNotHang(t *testing.T) {
	sample := storetest.NewSample(9)
	s := newSlot(t)
	img := openSlot(t, s, sample.Manifest)
	storetest.Fill(t, sample, img)
	require.NoError(t, os.Remove(filepath.Join(s.dir, "bin/app")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(s.dir, "bin/app"), 0o600))
	done := make(chan error, 1) // one result
	go func() { done <- Verify(t.Context(), s.dir, sample.Manifest) }()
	select {
	case err := <-done:
		require.ErrorIs(t, err, ErrDamaged)
	case <-time.After(time.Minute):
		t.Fatal("verify waits for a pipe")
	}
	mend(t, img, sample)
}
