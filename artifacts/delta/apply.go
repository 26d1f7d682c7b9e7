package delta

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// newDecoder unpacks frames, none of which may grow beyond the largest. It starts no
// goroutine.
func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxRawBytes), zstd.WithDecoderMaxWindow(MaxRawBytes), zstd.WithDecodeAllCapLimit(true))
}

// Applied says what Apply did.
type Applied struct {
	Chunks  int   // made, verified and written
	Bytes   int64 // of them
	Skipped int   // segments for which the old image lacks something
}

// Apply makes the chunks that into lacks and the pack has, of what old holds. Whatever
// cannot be read of old is passed over; its chunks stay missing. Every chunk is
// verified by into, so a wrong one is never written. It needs less than 32 MiB.
//
// The error is ErrOther for a pack between other images, ErrBad for one that does not
// make what it promises, that of the pack's reader or of into, or ctx's; what was made
// until then stays. progress may be nil; it gets the bytes that segments have brought.
func (p *Pack) Apply(ctx context.Context, old Image, into Slot, progress func(done, total int64)) (Applied, error) {
	var a Applied
	m := into.Manifest()
	if err := p.index.fits(old.Manifest(), m); err != nil {
		return a, err
	}
	var total, done int64
	for i := range p.index.Segments {
		total += int64(p.index.Segments[i].bytes(m))
	}
	d, err := newDecoder()
	if err != nil {
		return a, fmt.Errorf("apply pack: %w", err)
	}
	defer d.Close()
	base, work := NewReader(old), &work{zstd: d}
	for i := range p.index.Segments {
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		s := &p.index.Segments[i]
		if s.wanted(into) {
			if err := p.segment(i, base, into, work, &a); err != nil {
				return a, fmt.Errorf("segment %d: %w", i, err)
			}
		}
		if done += int64(s.bytes(m)); progress != nil {
			progress(done, total)
		}
	}
	return a, nil
}

// wanted reports whether into lacks a chunk that s makes.
func (s *Segment) wanted(into Slot) bool {
	for _, r := range s.Runs {
		for n := r.First; n < r.First+r.Count; n++ {
			if !into.HasChunk(int(n)) {
				return true
			}
		}
	}
	return false
}

// work is memory that segments share, one after the other.
type work struct {
	zstd                   *zstd.Decoder
	frame, raw, base, made []byte
}

// sized returns a slice of n bytes, in b's memory if that is large enough.
func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// segment applies segment i.
func (p *Pack) segment(i int, old io.ReaderAt, into Slot, w *work, a *Applied) error {
	s := &p.index.Segments[i]
	w.base = sized(w.base, s.base())
	rest := w.base
	for _, r := range s.Base {
		if _, err := old.ReadAt(rest[:r.Bytes], int64(r.Offset)); err != nil {
			a.Skipped++
			return nil // the chunks will be fetched
		}
		rest = rest[r.Bytes:]
	}
	w.frame, w.made = sized(w.frame, int(s.Stored)), sized(w.made, s.bytes(into.Manifest()))
	if err := readAt(p.r, w.frame, p.frames[i]); err != nil {
		return err
	}
	w.raw = sized(w.raw, int(s.Raw))
	raw, err := w.zstd.DecodeAll(w.frame, w.raw[:0:s.Raw])
	if err != nil || len(raw) != int(s.Raw) {
		return bad("%d bytes unpack to %d, the index says %d: %v", s.Stored, len(raw), s.Raw, err)
	}
	if err := unpack(raw, w.base, w.made); err != nil {
		return err
	}
	return s.put(into, w.made, a)
}

// put writes the chunks that s made.
func (s *Segment) put(into Slot, made []byte, a *Applied) error {
	chunks := into.Manifest().Chunks
	for _, r := range s.Runs {
		for n := int(r.First); n < int(r.First+r.Count); n++ {
			data := made[:chunks[n].Bytes]
			made = made[len(data):]
			if into.HasChunk(n) {
				continue
			}
			err := into.WriteChunk(n, data)
			switch {
			case errors.Is(err, manifest.ErrDigest):
				return bad("chunk %d: %v", n, err)
			case err != nil:
				return err
			}
			a.Chunks++
			a.Bytes += int64(len(data))
		}
	}
	return nil
}
