package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
)

// maxReaders bounds the goroutines that hash an image. A storage card is busy
// with one; an NVMe drive is not.
const maxReaders = 4

// A body is a manifest laid over a tree.
type body struct {
	m      *manifest.Manifest
	layout *manifest.Layout
	starts []int64 // indexed as m.Entries: where its bytes start in the stream
	t      *tree
}

func newBody(m *manifest.Manifest, t *tree) body {
	b := body{m: m, layout: manifest.NewLayout(m), starts: make([]int64, len(m.Entries)), t: t}
	var at int64
	for e := range m.Entries {
		b.starts[e] = at
		at += int64(m.Entries[e].Bytes)
	}
	return b
}

// find returns the index of the entry with this path, or -1.
func (b *body) find(path string) int {
	e, ok := slices.BinarySearchFunc(b.m.Entries, path, func(x manifest.Entry, p string) int { return strings.Compare(x.Path, p) })
	if !ok {
		return -1
	}
	return e
}

// chunksOf returns the chunks that have bytes in entry e: first to end-1.
func (b *body) chunksOf(e int) (first, end int) {
	if b.m.Entries[e].Bytes == 0 {
		return 0, 0
	}
	from, to := b.starts[e], b.starts[e]+int64(b.m.Entries[e].Bytes)
	end = sort.Search(len(b.m.Chunks), func(n int) bool { return b.layout.Offset(n) >= to })
	first = sort.Search(end, func(n int) bool { return b.layout.Offset(n)+int64(b.m.Chunks[n].Bytes) > from })
	return first, end
}

// load reads chunk n into buf, or into a new slice if buf is too small, and
// hashes it. The error is ErrDamaged unless trying again could help.
func (b *body) load(n int, buf []byte) ([]byte, error) {
	size := int(b.m.Chunks[n].Bytes)
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	rest := buf
	for _, x := range b.layout.Extents(n) {
		if err := b.t.readAt(b.m.Entries[x.Entry].Path, rest[:x.Bytes], x.Offset); err != nil {
			if passing(err) {
				return nil, fmt.Errorf("read chunk %d: %w", n, err)
			}
			return nil, fmt.Errorf("%w: chunk %d: %w", ErrDamaged, n, err)
		}
		rest = rest[x.Bytes:]
	}
	if got := manifest.Sum(buf); got != b.m.Chunks[n].Digest && !planted.Is("wrong-bytes") {
		return nil, fmt.Errorf("%w: chunk %d hashes to %s, the manifest says %s", ErrDamaged, n, got.Short(), b.m.Chunks[n].Digest.Short())
	}
	return buf, nil
}

// passing reports whether err speaks of the process or the machine, not of the
// file: trying again later may help.
func passing(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN)
}

// full marks an error that says there is no space.
func full(err error) error {
	if (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && !errors.Is(err, ErrFull) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// blank reports whether some of chunk n was certainly never written: it lies in
// a hole of a sparse file.
func (b *body) blank(n int) bool {
	for _, x := range b.layout.Extents(n) {
		fd, _, err := b.t.open(b.m.Entries[x.Entry].Path, unix.O_RDONLY)
		if err != nil {
			return false // load says what is wrong with it
		}
		hole := isHole(fd, x.Offset, x.Bytes)
		unix.Close(fd) // open for reading only
		if hole {
			return true
		}
	}
	return false
}

// audit hashes these chunks and returns those that are damaged. It stops at the
// first error of another kind, or when ctx ends.
func (b *body) audit(ctx context.Context, chunks []int) (bad manifest.Bitmap, err error) {
	var next atomic.Int64
	var mu sync.Mutex // guards bad
	g, each := errgroup.WithContext(ctx)
	for range min(maxReaders, runtime.GOMAXPROCS(0), len(chunks)) {
		g.Go(func() error {
			var buf []byte
			for {
				k := int(next.Add(1)) - 1
				if k >= len(chunks) {
					return nil
				}
				if err := each.Err(); err != nil {
					return err
				}
				if buf == nil {
					buf = make([]byte, manifest.MaxChunkBytes)
				}
				_, err := b.load(chunks[k], buf)
				if errors.Is(err, ErrDamaged) {
					mu.Lock()
					bad = bad.With(chunks[k])
					mu.Unlock()
				} else if err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return bad, ctx.Err()
}
