package bundle

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// An Image is one image of a bundle, read by the index of its chunks as a slot is. It
// lives no longer than its bundle.
type Image struct {
	b *Bundle
	m *manifest.Manifest
}

// Image returns the image whose manifest has digest d. Errors are those of Manifest.
func (b *Bundle) Image(d manifest.Digest) (*Image, error) {
	m, err := b.Manifest(d)
	if err != nil {
		return nil, err
	}
	return &Image{b: b, m: m}, nil
}

// Manifest lists the image. The caller does not change it.
func (i *Image) Manifest() *manifest.Manifest { return i.m }

// HasChunk reports whether the image has a chunk n: a bundle is always whole.
func (i *Image) HasChunk(n int) bool { return n >= 0 && n < len(i.m.Chunks) }

// ReadChunk returns the verified bytes of chunk n. Errors are those of
// Bundle.ReadChunk; the buffer is not used.
func (i *Image) ReadChunk(n int, _ []byte) ([]byte, error) {
	if !i.HasChunk(n) {
		return nil, fmt.Errorf("%w: chunk %d", ErrNotHeld, n)
	}
	return i.b.ReadChunk(i.m.Chunks[n])
}
