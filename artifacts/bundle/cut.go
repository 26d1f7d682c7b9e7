package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers algorithm
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// algorithm names the cut. Where it cuts decides what two releases share, so it is
// pinned by name; readers do not depend on it.
const algorithm = "fastcdc-v1.0.0"

// openFlags keep a name that was a file when it was listed from being followed as a
// link, or waited on as a pipe, when it is read.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

// BuildImage reads a directory tree, or one file, and lists it. Equal trees give
// equal manifests: of modes only the owner's right to execute is kept, and of
// times and owners nothing. A file is listed under its own name.
//
// Devices, pipes, sockets, set-id files and links that leave the tree are errors
// that name the path. progress, which may be nil, is told how many bytes of how
// many are read. Memory does not grow with the bytes of the image, only with its
// names and chunks.
func BuildImage(ctx context.Context, path string, progress func(done, total int64)) (*manifest.Manifest, error) {
	t, err := openTree(path)
	if err != nil {
		return nil, err
	}
	var read int64
	m, err := t.cut(ctx, func(n int) {
		if read += int64(n); progress != nil {
			progress(read, t.bytes)
		}
	})
	return m, errors.Join(err, t.close())
}

// cut reads t and lists it, telling count of each chunk's length.
func (t *tree) cut(ctx context.Context, count func(n int)) (*manifest.Manifest, error) {
	s := t.stream(ctx)
	defer s.close()
	c, err := chunkers.NewChunker(algorithm, s, &chunkers.ChunkerOpts{
		MinSize: manifest.MinChunkBytes, NormalSize: manifest.AverageChunkBytes, MaxSize: manifest.MaxChunkBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("cut image %s: %w", t.path, err)
	}
	m := &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.PieceBytesFor(t.bytes), Entries: t.entries}
	for err == nil {
		var data []byte
		// The last chunk may come with io.EOF.
		if data, err = c.Next(); len(data) > 0 {
			m.Chunks = append(m.Chunks, manifest.Chunk{Digest: manifest.Sum(data), Bytes: uint32(len(data))})
			count(len(data))
		}
	}
	if err != io.EOF {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("image %s: %w", t.path, err)
	}
	return m, nil
}
