package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A spool holds the chunks of a bundle until its manifests, which stand before them,
// are known: so that every image is read once. It is a file without a name beside
// the bundle.
type spool struct {
	file   *os.File
	bytes  uint64
	stored []uint32 // as index.Stored
	plain  bool     // chunks are stored as they are

	mu   sync.Mutex                   // guards seen: packers ask, the one who writes adds
	seen map[manifest.Digest]struct{} // chunks written
}

func newSpool(out string, plain bool) (*spool, error) {
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &spool{file: f, plain: plain, seen: map[manifest.Digest]struct{}{}}, nil
}

func (s *spool) close() error { return s.file.Close() }

func (s *spool) holds(d manifest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.seen[d]
	return ok
}

// packer returns one for flow. What zstd makes of a chunk does not depend on the
// chunks before it, and so not on how many packers there are.
func (s *spool) packer() packer {
	z, err := newEncoder()
	if err != nil {
		panic(err) // its options are wrong
	}
	return func(c manifest.Chunk, data, buf []byte) []byte {
		if s.holds(c.Digest) {
			return buf
		}
		if buf = z.EncodeAll(data, buf); len(buf) > len(data)-len(data)*SavePermille/1000 || len(buf) >= len(data) {
			return buf[:0]
		}
		return buf
	}
}

// newEncoder makes an encoder of the fastest level, which lets go quickly of what
// cannot be compressed. It is not closed: without a stream it holds memory only.
func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
}

// take writes the chunks of b that are new.
func (s *spool) take(b *block) error {
	data := b.data
	for i, c := range b.chunks {
		part := data[:c.Bytes]
		data = data[c.Bytes:]
		if s.holds(c.Digest) {
			continue
		}
		if len(s.stored) == MaxChunks {
			return fmt.Errorf("%w: more than %d different chunks; make two components of it", canonical.ErrTooLarge, MaxChunks)
		}
		if len(b.packed[i]) > 0 {
			part = b.packed[i]
		}
		if _, err := s.file.Write(part); err != nil {
			return fmt.Errorf("write chunks: %w", err)
		}
		s.mu.Lock()
		s.seen[c.Digest] = struct{}{}
		s.mu.Unlock()
		s.bytes += uint64(len(part))
		s.stored = append(s.stored, uint32(len(part)))
	}
	return nil
}

// copyTo appends the chunks to f.
func (s *spool) copyTo(ctx context.Context, f *os.File) error {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	const part = 64 << 20 // between looks at ctx
	for left := int64(s.bytes); left > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.CopyN(f, s.file, min(left, part)) // within the kernel, where it can
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}
