package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

func ExampleOpen() {
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(base)
	slot := filepath.Join(base, "slot-b")
	defer Remove(slot)

	hello := []byte("hello, robot\n")
	m := &manifest.Manifest{
		Format:     manifest.Format,
		PieceBytes: manifest.MinPieceBytes,
		Entries:    []manifest.Entry{{Path: "hello", Kind: manifest.File, Mode: 0o644, Bytes: uint64(len(hello))}},
		Chunks:     []manifest.Chunk{{Digest: manifest.Sum(hello), Bytes: uint32(len(hello))}},
	}
	img, err := Open(Config{Dir: slot, Journal: slot + ".journal", Manifest: m})
	if err != nil {
		panic(err)
	}
	defer img.Close()
	fmt.Println(img.WriteChunk(0, []byte("hello, world\n")))
	fmt.Println(img.WriteChunk(0, hello), img.Complete())
	// Output:
	// store: chunk 0: bytes hash to 853ff93762a0, the manifest wants 6987923ee302: fetch it from another source
	// <nil> true
}

func TestConfig(t *testing.T) {
	good := storetest.NewSample(1).Manifest
	bad := *good
	bad.Format = 9
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no dir", Config{Journal: "j", Manifest: good}, "must be set"},
		{"no manifest", Config{Dir: dir, Journal: "j"}, "must be set"},
		{"no journal", Config{Dir: dir, Manifest: good}, "Journal must be set"},
		{"journal in the tree", Config{Dir: dir, Journal: filepath.Join(dir, "bin", "j"), Manifest: good}, "inside the tree"},
		{"journal is the tree", Config{Dir: dir, Journal: dir, Manifest: good}, "inside the tree"},
		{"manifest invalid", Config{Dir: dir, Journal: "j", Manifest: &bad}, "format 9"},
		{"nothing to read", Config{Dir: filepath.Join(dir, "none"), Manifest: good, ReadOnly: true}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.cfg)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestErrors(t *testing.T) {
	sample := storetest.NewSample(1)
	img := openSlot(t, newSlot(t), sample.Manifest)
	_, err := img.ReadChunk(0, nil)
	require.ErrorIs(t, err, ErrNotHeld)
	require.ErrorIs(t, img.Seal(t.Context()), ErrIncomplete)
	require.ErrorIs(t, img.WriteChunk(-1, nil), ErrNoChunk)
	var wrong *DigestError
	require.ErrorAs(t, img.WriteChunk(3, sample.Chunk(4)), &wrong)
	require.ErrorIs(t, wrong, manifest.ErrDigest)
	require.Equal(t, DigestError{Chunk: 3, Want: sample.Manifest.Chunks[3].Digest, Got: sample.Manifest.Chunks[4].Digest}, *wrong)
	storetest.Fill(t, sample, img)
	require.NoError(t, img.Damage(3))
	_, err = img.ReadChunk(3, nil)
	require.ErrorIs(t, err, ErrDamaged)
	require.NoError(t, img.Close())
	require.ErrorIs(t, img.WriteChunk(3, sample.Chunk(3)), ErrClosed)
}

// TestReadOnly serves a tree that is not the store's, and never writes.
func TestReadOnly(t *testing.T) {
	sample := storetest.NewSample(2)
	s := newSlot(t)
	rw := openSlot(t, s, sample.Manifest)
	storetest.Fill(t, sample, rw)
	require.NoError(t, rw.Seal(t.Context()))
	require.NoError(t, rw.Close())

	link := s.dir + ".current"
	require.NoError(t, os.Symlink(s.dir, link))
	steps := 0
	ro, err := open(Config{Dir: link, Journal: s.journal, Manifest: sample.Manifest, ReadOnly: true},
		func(string, string, int) (int, error) { steps++; return 0, nil })
	require.NoError(t, err)
	require.True(t, ro.Complete())
	require.True(t, ro.Sealed())
	storetest.RequireChunks(t, sample, ro)
	require.NoError(t, (&testImage{ro, s}).Damage(0))
	_, err = ro.ReadChunk(0, nil)
	require.ErrorIs(t, err, ErrDamaged)
	require.False(t, ro.HasChunk(0))
	require.False(t, ro.Have().Has(0))
	require.False(t, ro.Sealed())
	require.ErrorIs(t, ro.WriteChunk(0, sample.Chunk(0)), ErrReadOnly)
	require.ErrorIs(t, ro.Seal(t.Context()), ErrReadOnly)
	require.NoError(t, ro.Flush())
	require.NoError(t, ro.Close())
	require.Zero(t, steps)

	ro, err = Open(Config{Dir: s.dir, Manifest: sample.Manifest, ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.False(t, ro.Sealed(), "without a journal nobody has said so")
	require.NoError(t, ro.Close())
}

// TestCopyFrom copies what two releases share, though part of it is damaged in
// the old one, and then what the image holds at another place.
func TestCopyFrom(t *testing.T) {
	before, after := storetest.NewSample(1), storetest.NewSample(2)
	old := openSlot(t, newSlot(t), before.Manifest)
	storetest.Fill(t, before, old)
	held := map[manifest.Digest]int{}
	for n, c := range before.Manifest.Chunks {
		held[c.Digest] = n
	}
	var wantChunks int
	var wantBytes int64
	for _, c := range after.Manifest.Chunks {
		if _, ok := held[c.Digest]; ok {
			wantChunks++
			wantBytes += int64(c.Bytes)
		}
	}
	require.Greater(t, wantChunks, 10)
	for n := range before.Manifest.Chunks {
		if p, off := before.Path(n); p == "lib/a.so" && off == 0 {
			require.NoError(t, old.Damage(n)) // lib/b.so has the same bytes
		}
	}
	img := openSlot(t, newSlot(t), after.Manifest)
	chunks, bytes, err := img.CopyFrom(old.Image)
	require.NoError(t, err)
	require.Equal(t, wantChunks, chunks)
	require.Equal(t, wantBytes, bytes)
	_, missing := img.Missing()
	require.Equal(t, after.Manifest.Bytes()-wantBytes, missing)
	storetest.RequireChunks(t, after, img)
	chunks, _, err = img.CopyFrom(old.Image)
	require.NoError(t, err)
	require.Zero(t, chunks)
	require.NoError(t, img.Close())
	_, _, err = img.CopyFrom(old.Image)
	require.ErrorIs(t, err, ErrClosed)

	self := openSlot(t, newSlot(t), after.Manifest)
	for n := range after.Manifest.Chunks {
		if p, _ := after.Path(n); p != "lib/b.so" {
			require.NoError(t, self.WriteChunk(n, after.Chunk(n)))
		}
	}
	_, _, err = self.CopyFrom(self.Image)
	require.NoError(t, err)
	require.True(t, self.Complete(), "lib/b.so is lib/a.so")
	require.NoError(t, errors.Join(old.Close(), self.Close()))
}

// TestFlushesByItself needs no timer: the next write looks at the clock.
func TestFlushesByItself(t *testing.T) {
	sample := storetest.NewSample(1)
	s := newSlot(t)
	synctest.Test(t, func(t *testing.T) {
		saves := 0
		img, err := open(Config{Dir: s.dir, Journal: s.journal, Manifest: sample.Manifest}, func(op, _ string, _ int) (int, error) {
			if op == "journal" {
				saves++
			}
			return 0, nil
		})
		require.NoError(t, err)
		require.Equal(t, 1, saves)
		require.NoError(t, img.WriteChunk(0, sample.Chunk(0)))
		require.NoError(t, img.WriteChunk(1, sample.Chunk(1)))
		require.Equal(t, 1, saves)
		<-time.After(FlushAfter)
		require.NoError(t, img.WriteChunk(2, sample.Chunk(2)))
		require.Equal(t, 2, saves)
		require.NoError(t, img.WriteChunk(3, sample.Chunk(3)))
		require.Equal(t, 2, saves)
		unflushed := func(bytes int64) {
			img.mu.Lock()
			defer img.mu.Unlock()
			img.unflushed = bytes
		}
		unflushed(FlushBytes)
		require.NoError(t, img.WriteChunk(4, sample.Chunk(4)))
		require.Equal(t, 2, saves, "too soon after the last")
		<-time.After(FlushApart)
		require.NoError(t, img.WriteChunk(5, sample.Chunk(5)))
		require.Equal(t, 3, saves)
		unflushed(FlushMost)
		require.NoError(t, img.WriteChunk(6, sample.Chunk(6)))
		require.Equal(t, 4, saves, "too much, however soon")
		require.NoError(t, img.Flush())
		require.NoError(t, img.Flush(), "nothing to do")
		require.Equal(t, 5, saves)
		require.NoError(t, img.Close())
	})
}

func TestSpace(t *testing.T) {
	sample := storetest.NewSample(1)
	total := sample.Manifest.Bytes()
	require.Equal(t, total+total/20, Need(sample.Manifest, nil))
	img := openSlot(t, newSlot(t), sample.Manifest)
	require.Equal(t, total+total/20, Need(sample.Manifest, img.Image))
	storetest.Fill(t, sample, img)
	require.Zero(t, Need(sample.Manifest, img.Image))
	require.NoError(t, img.Close())

	dir := filepath.Join(t.TempDir(), "not", "yet")
	require.NoError(t, Admit(dir, 1, 0))
	require.NoError(t, Admit(dir, 0, math.MaxInt64), "what needs nothing is admitted")
	for _, ask := range [][2]int64{{math.MaxInt64, 0}, {1, math.MaxInt64}, {math.MaxInt64, math.MaxInt64}} {
		err := Admit(dir, ask[0], ask[1])
		var space *SpaceError
		require.ErrorAs(t, err, &space)
		require.ErrorIs(t, err, ErrFull)
		require.Equal(t, ask, [2]int64{space.Need, space.Reserve})
		require.Positive(t, space.Free)
	}
	require.NoDirExists(t, dir)
}

func TestFullKeepsOtherErrors(t *testing.T) {
	require.NoError(t, full(nil))
	require.Equal(t, error(syscall.EIO), full(syscall.EIO))
	require.ErrorIs(t, full(syscall.EDQUOT), ErrFull)
}

// TestReadOnlyOfWhatWasCutOff opens for reading what a power cut left of a write, and of a
// removal, whose journal went first.
func TestReadOnlyOfWhatWasCutOff(t *testing.T) {
	sample := storetest.NewSample(2)
	s := newSlot(t)
	rw := openSlot(t, s, sample.Manifest)
	require.NoError(t, rw.WriteChunk(0, sample.Chunk(0)))
	require.NoError(t, rw.Flush())
	require.NoError(t, rw.Close())
	cfg := Config{Dir: s.dir, Journal: s.journal, Manifest: sample.Manifest, ReadOnly: true}
	ro, err := Open(cfg)
	require.NoError(t, err)
	require.True(t, ro.HasChunk(0))
	missing, _ := ro.Missing()
	require.Equal(t, len(sample.Manifest.Chunks)-1, missing)
	require.NoError(t, ro.Close())

	require.NoError(t, os.Remove(s.journal))
	for _, e := range sample.Manifest.Entries {
		if e.Bytes > 0 {
			require.NoError(t, os.Remove(filepath.Join(s.dir, e.Path)))
		}
	}
	ro, err = Open(cfg)
	require.NoError(t, err)
	missing, _ = ro.Missing()
	require.Equal(t, len(sample.Manifest.Chunks), missing)
	require.NoError(t, ro.Close())
}
