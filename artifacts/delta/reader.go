package delta

import (
	"fmt"
	"io"
	"sort"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Reader reads the stream of an image, chunk by verified chunk. It keeps the last
// one. It is not safe for concurrent use.
type Reader struct {
	img    Image
	m      *manifest.Manifest
	layout *manifest.Layout
	last   int // the chunk in buf; -1 is none
	buf    []byte
}

// NewReader reads img.
func NewReader(img Image) *Reader {
	m := img.Manifest()
	return &Reader{img: img, m: m, layout: manifest.NewLayout(m), last: -1, buf: make([]byte, manifest.MaxChunkBytes)}
}

// ReadAt implements io.ReaderAt. Errors are those of the image, and io.EOF at the end
// of its stream.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read image at %d", off)
	}
	n := sort.Search(len(r.m.Chunks), func(n int) bool { return r.layout.Offset(n)+int64(r.m.Chunks[n].Bytes) > off })
	done := 0
	for ; done < len(p); n++ {
		if n == len(r.m.Chunks) {
			return done, io.EOF
		}
		if n != r.last {
			buf, err := r.img.ReadChunk(n, r.buf)
			if err != nil {
				r.last = -1
				return done, err
			}
			r.buf, r.last = buf, n
		}
		done += copy(p[done:], r.buf[off+int64(done)-r.layout.Offset(n):])
	}
	return done, nil
}
