package store

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

var errCut = errors.New("the process is dead")

// A disk stands in the seam: it counts the steps that change the slot, cuts or
// fails one of them, and remembers what was synced.
type disk struct {
	dir  string
	at   int   // the step concerned, from 1; zero is none
	err  error // what it fails with
	once bool  // only that step fails; otherwise all that follow too

	mu     sync.Mutex // guards the fields below
	steps  int
	struck string            // the step that failed
	synced map[string][]byte // by path: contents that a power cut cannot take
}

func (d *disk) step(op, path string, bytes int) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	switch {
	case d.struck != "" && !d.once:
		return 0, errCut
	case d.steps == d.at:
		d.struck = op
		return bytes / 2, d.err
	}
	switch op {
	case "fsync":
		d.keep(path)
	case "syncfs":
		_ = filepath.WalkDir(d.dir, func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				rel, _ := filepath.Rel(d.dir, p)
				d.keep(rel)
			}
			return nil
		})
	}
	return 0, nil
}

func (d *disk) keep(path string) {
	if b, err := os.ReadFile(filepath.Join(d.dir, path)); err == nil {
		d.synced[path] = b
	}
}

// powerCut takes from the files what was not synced: page by page the old bytes
// or the new, and files without a synced name altogether or not.
func (d *disk) powerCut(t *testing.T, r *rand.Rand) {
	err := filepath.WalkDir(d.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(d.dir, p)
		now, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		old, ok := d.synced[rel]
		if !ok && r.IntN(2) == 0 {
			return errors.Join(os.Chmod(filepath.Dir(p), 0o700), os.Remove(p))
		}
		old = append(old, make([]byte, max(0, len(now)-len(old)))...)
		left := bytes.Clone(now)
		for at := 0; at < len(now); at += 4096 {
			if r.IntN(2) == 0 {
				copy(left[at:min(at+4096, len(left))], old[at:])
			}
		}
		if bytes.Equal(left, now) {
			return nil
		}
		return errors.Join(os.Chmod(p, 0o600), os.WriteFile(p, left, 0o600))
	})
	require.NoError(t, err)
}

// A life is what one process did before it died.
type life struct {
	returned map[int]bool // chunks whose WriteChunk returned nil
	flushed  map[int]bool // chunks of which a Flush returned nil
	sealed   bool         // Seal returned nil
}

// live opens the slot over d and writes the sample in an order that depends on
// seed, flushing now and then. Calls that fail are repeated three times.
func live(d *disk, s slot, sample *storetest.Sample, seed uint64) (l life, err error) {
	l = life{returned: map[int]bool{}, flushed: map[int]bool{}}
	retry := func(f func() error) error {
		for k := 0; ; k++ {
			if err = f(); err == nil || k == 3 || errors.Is(err, errCut) {
				return err
			}
		}
	}
	var img *Image
	cfg := Config{Dir: s.dir, Journal: s.journal, Manifest: sample.Manifest}
	if err := retry(func() (err error) { img, err = open(cfg, d.step); return err }); err != nil {
		return l, err
	}
	defer img.Close()
	r := rand.New(rand.NewPCG(seed, 0))
	for k, n := range r.Perm(len(sample.Manifest.Chunks)) {
		if err := retry(func() error { return img.WriteChunk(n, sample.Chunk(n)) }); err != nil {
			return l, err
		}
		l.returned[n] = true
		if k%9 != 8 {
			continue
		}
		if err := retry(img.Flush); err != nil {
			return l, err
		}
		for n := range l.returned {
			l.flushed[n] = img.HasChunk(n)
		}
	}
	err = retry(func() error {
		for n := range sample.Manifest.Chunks {
			if err := img.WriteChunk(n, sample.Chunk(n)); err != nil {
				return err
			}
		}
		return img.Seal(context.Background())
	})
	l.sealed = err == nil
	return l, err
}

// stride trades time for cover: with 1, the crash tests cut at every single step.
var stride = flag.Int("stride", 29, "crash tests cut at every stride-th step")

// everyStep runs f for each stride-th step of a life, until one has fewer, and
// always for those at which the tree and the first journal are made.
func everyStep(t *testing.T, f func(t *testing.T, at int) (struck bool)) {
	const first = 6
	for at := 1; f(t, at); {
		if at++; at > first {
			at += *stride - 1
		}
		require.Less(t, at, 5000, "a life never ends")
	}
}

// TestKilled cuts the process at every step, mid-write for writes, and leaves the
// files as they are. Nothing that was written is fetched again.
func TestKilled(t *testing.T) {
	sample := storetest.NewSample(3)
	everyStep(t, func(t *testing.T, at int) bool {
		s := memorySlot(t)
		d := &disk{dir: s.dir, at: at, err: errCut, synced: map[string][]byte{}}
		l, _ := live(d, s, sample, uint64(at))
		img := openSlot(t, s, sample.Manifest)
		for n := range l.returned {
			require.True(t, img.HasChunk(n), "chunk %d was written before the cut at step %d (%s)", n, at, d.struck)
		}
		finish(t, img, sample, l)
		return d.struck != ""
	})
}

// TestPowerCut also takes away what was not synced. What the journal vouches for
// is there, and what was flushed is held.
func TestPowerCut(t *testing.T) {
	sample := storetest.NewSample(4)
	everyStep(t, func(t *testing.T, at int) bool {
		s := memorySlot(t)
		d := &disk{dir: s.dir, at: at, err: errCut, synced: map[string][]byte{}}
		l, _ := live(d, s, sample, uint64(at))
		if _, err := os.Stat(s.dir); err == nil {
			d.powerCut(t, rand.New(rand.NewPCG(uint64(at), 9)))
		}
		img := openSlot(t, s, sample.Manifest)
		for n := range l.flushed {
			require.True(t, img.HasChunk(n), "chunk %d was flushed before the cut at step %d (%s)", n, at, d.struck)
		}
		finish(t, img, sample, l)
		return d.struck != ""
	})
}

// finish brings an image that was cut to its end, and proves the result.
func finish(t *testing.T, img *testImage, sample *storetest.Sample, l life) {
	t.Helper()
	require.True(t, !l.sealed || img.Sealed(), "a seal survives")
	storetest.RequireChunks(t, sample, img)
	storetest.Fill(t, sample, img)
	require.NoError(t, img.Seal(t.Context()))
	require.NoError(t, Verify(t.Context(), img.slot.dir, sample.Manifest))
	require.NoError(t, img.Close())
	require.NoError(t, Remove(img.slot.dir))
}

// TestStepFails fails one step with each error a disk has. The call reports it or
// heals, and repeated calls come to a sealed image.
func TestStepFails(t *testing.T) {
	sample := storetest.NewSample(5)
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EMFILE} {
		t.Run(errno.Error(), func(t *testing.T) {
			everyStep(t, func(t *testing.T, at int) bool {
				s := memorySlot(t)
				d := &disk{dir: s.dir, at: at, err: errno, once: true, synced: map[string][]byte{}}
				_, err := live(d, s, sample, 1)
				require.NoError(t, err, "step %d (%s)", d.at, d.struck)
				require.NoError(t, Verify(t.Context(), s.dir, sample.Manifest))
				require.NoError(t, Remove(s.dir))
				return d.struck != ""
			})
		})
	}
}

// TestDiskFull fills the disk for good at some write: the error says so, what is
// held stays, and the image goes on when there is room.
func TestDiskFull(t *testing.T) {
	sample := storetest.NewSample(6)
	s := newSlot(t)
	room := true
	img, err := open(Config{Dir: s.dir, Journal: s.journal, Manifest: sample.Manifest}, func(op, _ string, bytes int) (int, error) {
		if !room && (op == "write" || op == "journal" || op == "create") {
			return bytes / 3, syscall.ENOSPC
		}
		return 0, nil
	})
	require.NoError(t, err)
	require.NoError(t, img.WriteChunk(0, sample.Chunk(0)))
	require.NoError(t, img.Flush())
	require.NoError(t, img.WriteChunk(1, sample.Chunk(1)))
	room = false
	err = img.WriteChunk(2, sample.Chunk(2))
	require.ErrorIs(t, err, ErrFull)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.False(t, img.HasChunk(2))
	require.ErrorIs(t, img.Flush(), ErrFull, "the journal does not fit either")
	require.True(t, img.HasChunk(1), "the bytes are there all the same")
	storetest.RequireChunks(t, sample, img)
	room = true
	require.NoError(t, img.Flush())
	storetest.Fill(t, sample, img)
	require.NoError(t, img.Seal(t.Context()))
	require.NoError(t, img.Close())
}

// TestFlushCannotSync drops what the kernel may have dropped.
func TestFlushCannotSync(t *testing.T) {
	sample := storetest.NewSample(6)
	s := newSlot(t)
	broken := false
	img, err := open(Config{Dir: s.dir, Journal: s.journal, Manifest: sample.Manifest}, func(op, _ string, _ int) (int, error) {
		if broken && (op == "fsync" || op == "syncfs") {
			return 0, syscall.EIO
		}
		return 0, nil
	})
	require.NoError(t, err)
	require.NoError(t, img.WriteChunk(0, sample.Chunk(0)))
	require.NoError(t, img.Flush())
	require.NoError(t, img.WriteChunk(1, sample.Chunk(1)))
	broken = true
	require.ErrorIs(t, img.Flush(), syscall.EIO)
	require.True(t, img.HasChunk(0))
	require.False(t, img.HasChunk(1))
	broken = false
	storetest.Fill(t, sample, img)
	require.NoError(t, img.Seal(t.Context()))
	require.NoError(t, img.Close())
}

// TestKilledWhileMending loses a file, and then the process at every step of the
// Open that makes it anew. What is held afterwards is there.
func TestKilledWhileMending(t *testing.T) {
	sample := storetest.NewSample(3)
	everyStep(t, func(t *testing.T, at int) bool {
		s := memorySlot(t)
		img := openSlot(t, s, sample.Manifest)
		storetest.Fill(t, sample, img)
		require.NoError(t, img.Close())
		require.NoError(t, os.Remove(filepath.Join(s.dir, "bin/app")))
		require.NoError(t, os.Truncate(filepath.Join(s.dir, "lib/b.so"), 10))
		d := &disk{dir: s.dir, at: at, err: errCut, synced: map[string][]byte{}}
		if img, err := open(Config{Dir: s.dir, Journal: s.journal, Manifest: sample.Manifest}, d.step); err == nil {
			_ = img.Close() // it is dead, or at the end of its steps
		}
		img = openSlot(t, s, sample.Manifest)
		finish(t, img, sample, life{})
		return d.struck != ""
	})
}
