package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// Mem is an image in memory, with the manners of an Image: for tests and
// simulations. It is safe for concurrent use. Nothing survives it.
type Mem struct {
	m      *manifest.Manifest
	digest manifest.Digest

	mu     sync.Mutex // guards all below
	ledger *ledger
	data   map[int][]byte // by index in Manifest.Chunks
	sealed bool
	closed bool
}

// NewMem returns an image that holds nothing of m yet. m must pass Check and must
// not change.
func NewMem(m *manifest.Manifest) *Mem {
	return &Mem{m: m, digest: m.Digest(), ledger: newLedger(m), data: map[int][]byte{}}
}

// Manifest is what the image is to hold.
func (s *Mem) Manifest() *manifest.Manifest { return s.m }

// Digest names the image.
func (s *Mem) Digest() manifest.Digest { return s.digest }

// HasChunk is as Image.HasChunk.
func (s *Mem) HasChunk(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.has(n)
}

// Have is as Image.Have.
func (s *Mem) Have() manifest.Bitmap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.have.Clone()
}

// Missing is as Image.Missing.
func (s *Mem) Missing() (chunks int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.chunks, s.ledger.bytes
}

// Complete is as Image.Complete.
func (s *Mem) Complete() bool {
	chunks, _ := s.Missing()
	return chunks == 0
}

// Sealed is as Image.Sealed.
func (s *Mem) Sealed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealed
}

// WriteChunk is as Image.WriteChunk; data is copied.
func (s *Mem) WriteChunk(n int, data []byte) error {
	if n < 0 || n >= len(s.m.Chunks) {
		return fmt.Errorf("%w: chunk %d of %d", ErrNoChunk, n, len(s.m.Chunks))
	}
	if got := manifest.Sum(data); got != s.m.Chunks[n].Digest || len(data) != int(s.m.Chunks[n].Bytes) {
		return &DigestError{Chunk: n, Want: s.m.Chunks[n].Digest, Got: got}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if !s.ledger.has(n) {
		s.data[n] = append([]byte(nil), data...)
		s.ledger.add(n)
	}
	return nil
}

// WriteRun is as Image.WriteRun.
func (s *Mem) WriteRun(first int, data []byte) (held int, err error) {
	for _, part := range split(s.m, first, data) {
		if err := s.WriteChunk(first+held, part); err != nil {
			return held, err
		}
		held++
	}
	return held, nil
}

// ReadChunk is as Image.ReadChunk.
func (s *Mem) ReadChunk(n int, buf []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if !s.ledger.has(n) {
		return nil, fmt.Errorf("%w: chunk %d", ErrNotHeld, n)
	}
	if manifest.Sum(s.data[n]) != s.m.Chunks[n].Digest {
		s.ledger.drop(n)
		s.sealed = false
		return nil, fmt.Errorf("%w: chunk %d", ErrDamaged, n)
	}
	return append(buf[:0], s.data[n]...), nil
}

// ReadRun is as Image.ReadRun.
func (s *Mem) ReadRun(first, end int, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for n := first; n < end; n++ {
		data, err := s.ReadChunk(n, nil)
		if err != nil {
			return nil, err
		}
		buf = append(buf, data...)
	}
	return buf, nil
}

// Damage flips a bit of chunk n, as a failing disk would. It returns ErrNotHeld
// if there is nothing to damage.
func (s *Mem) Damage(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ledger.has(n) {
		return fmt.Errorf("%w: chunk %d", ErrNotHeld, n)
	}
	s.data[n][len(s.data[n])/2] ^= 0x10
	return nil
}

// Flush does nothing: there is nothing to outlive.
func (s *Mem) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return nil
}

// Seal is as Image.Seal.
func (s *Mem) Seal(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.sealed:
		return nil
	case s.ledger.chunks > 0:
		return fmt.Errorf("%w: %d chunks of %d bytes are missing", ErrIncomplete, s.ledger.chunks, s.ledger.bytes)
	}
	for n := range s.m.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if manifest.Sum(s.data[n]) != s.m.Chunks[n].Digest {
			s.ledger.drop(n)
		}
	}
	if s.ledger.chunks > 0 {
		return fmt.Errorf("%w: %d chunks: fetch them again", ErrDamaged, s.ledger.chunks)
	}
	s.sealed = true
	return nil
}

// Close ends all use; a second Close does nothing.
func (s *Mem) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
