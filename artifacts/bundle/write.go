package bundle

import (
	"bufio"
	"fmt"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A writer writes a bundle as its images are read, each chunk once.
type writer struct {
	path   string // of the bundle, for errors
	file   *os.File
	out    *bufio.Writer // to file
	bytes  uint64        // of data written
	stored []uint32      // as index.Stored
	plain  bool          // chunks are stored as they are

	mu   sync.Mutex                   // guards seen: packers ask, the one who writes adds
	seen map[manifest.Digest]struct{} // chunks written
}

// newWriter starts the bundle that is to be at path in the empty file f. What is written
// is f's after finish.
func newWriter(path string, f *os.File, plain bool) *writer {
	w := &writer{path: path, file: f, out: bufio.NewWriterSize(f, blockBytes), plain: plain, seen: map[manifest.Digest]struct{}{}}
	_, _ = w.out.Write(make([]byte, headerBytes)) // finish fills it in; an error comes again
	return w
}

func (w *writer) holds(d manifest.Digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.seen[d]
	return ok
}

// packer returns one for flow. What zstd makes of a chunk does not depend on the
// chunks before it, and so not on how many packers there are.
func (w *writer) packer() packer {
	z, err := newEncoder()
	if err != nil {
		panic(err) // its options are wrong
	}
	return func(k manifest.Chunk, data, buf []byte) []byte {
		if w.holds(k.Digest) {
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
func (w *writer) take(b *block) error {
	data := b.data
	for i, k := range b.chunks {
		part := data[:k.Bytes]
		data = data[k.Bytes:]
		if w.holds(k.Digest) {
			continue
		}
		if len(w.stored) == MaxChunks {
			return fmt.Errorf("%w: more than %d different chunks; make two components of it", canonical.ErrTooLarge, MaxChunks)
		}
		if len(b.packed[i]) > 0 {
			part = b.packed[i]
		}
		if err := w.write(part); err != nil {
			return err
		}
		w.mu.Lock()
		w.seen[k.Digest] = struct{}{}
		w.mu.Unlock()
		w.stored = append(w.stored, uint32(len(part)))
	}
	return nil
}

// write appends to the data.
func (w *writer) write(part []byte) error {
	w.bytes += uint64(len(part))
	if _, err := w.out.Write(part); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}

// finish ends the file with the index x.
func (w *writer) finish(x *index) error {
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	if err := finish(w.file, w.bytes, x); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}
