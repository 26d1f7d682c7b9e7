package bundle

import (
	"context"
	"errors"
	"fmt"

	"github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc"
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// algorithm names the cut. Where it cuts decides what two releases share, so it is
// pinned by name; readers do not depend on it. cutPoint is the same function at
// nearly twice the speed, and a test holds it against the library's.
const algorithm = "fastcdc-v1.0.0"

// shortMask and longMask are what the fingerprint must lack for a cut before and
// after AverageChunkBytes: 16 bits are the average's logarithm, two more and two
// fewer pull lengths towards it (FastCDC §3.4, normalisation level 2).
var shortMask, longMask = spacedMask(18), spacedMask(14)

// spacedMask has so many ones, evenly spaced from the highest bit down.
func spacedMask(ones int) (mask uint64) {
	for i := range ones {
		mask |= 1 << (63 - i*(64/ones))
	}
	return mask
}

// openFlags keep a name that was a file when it was listed from being followed as a
// link, or waited on as a pipe, when it is read.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

// BuildImage reads a directory tree, or one file, and lists it. Equal trees give
// equal manifests: of modes only the owner's right to execute is kept, and of times
// and owners nothing. A file is listed under its own name, also if it is an archive:
// only Build looks into those, for robots need not carry what reads them.
//
// Devices, pipes, sockets, set-id files and links that leave the tree are errors
// that name the path. progress, which may be nil, is told how many bytes of how
// many are read. Memory does not grow with the bytes of the image, only with its
// names and chunks.
func BuildImage(ctx context.Context, path string, progress func(done, total int64)) (*manifest.Manifest, error) {
	t, err := openOf(path, (*tree).openFolder)
	if err != nil {
		return nil, err
	}
	var read int64
	m, err := t.cut(ctx, nil, func(b *block) error {
		if read += int64(len(b.data)); progress != nil {
			progress(read, t.bytes)
		}
		return nil
	})
	return m, errors.Join(err, t.close())
}

// cut reads t and lists it. pack and take are as in flow; take is called before the
// tree is known not to have changed meanwhile.
func (t *tree) cut(ctx context.Context, pack func() packer, take func(*block) error) (*manifest.Manifest, error) {
	m := &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.PieceBytesFor(t.bytes), Entries: t.entries}
	s := t.stream(ctx)
	err := flow(ctx, s, pack, func(b *block) error {
		m.Chunks = append(m.Chunks, b.chunks...)
		return take(b)
	})
	if err = errors.Join(err, s.close()); err != nil {
		return nil, err
	}
	if err := t.from.same(); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("image %s: %w", t.path, err)
	}
	return m, nil
}

// cutPoint returns the length of the first chunk of data, which holds
// MaxChunkBytes or all that is left of the stream.
func cutPoint(data []byte) int {
	n := min(len(data), manifest.MaxChunkBytes)
	if n <= manifest.MinChunkBytes {
		return n
	}
	mid := min(n, manifest.AverageChunkBytes)
	print, at := scan(0, data[manifest.MinChunkBytes:mid], shortMask)
	if at >= 0 {
		return manifest.MinChunkBytes + at
	}
	if _, at = scan(print, data[mid:n], longMask); at >= 0 {
		return mid + at
	}
	return n
}

// scan rolls the fingerprint over data until it has no bit of mask, and returns it
// and where that was, or -1. Four bytes go in at once: the table's part of their
// fingerprints does not wait for the byte before.
func scan(print uint64, data []byte, mask uint64) (uint64, int) {
	gear := &fastcdc.G
	i := 0
	for ; i+4 <= len(data); i += 4 {
		d := data[i : i+4 : i+4]
		a := gear[d[0]]
		b := a<<1 + gear[d[1]]
		c := b<<1 + gear[d[2]]
		e := c<<1 + gear[d[3]]
		switch {
		case (print<<1+a)&mask == 0:
			return 0, i
		case (print<<2+b)&mask == 0:
			return 0, i + 1
		case (print<<3+c)&mask == 0:
			return 0, i + 2
		}
		if print = print<<4 + e; print&mask == 0 {
			return 0, i + 3
		}
	}
	for ; i < len(data); i++ {
		if print = print<<1 + gear[data[i]]; print&mask == 0 {
			return 0, i
		}
	}
	return print, -1
}
