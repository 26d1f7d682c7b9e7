package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A pack is
//
//	head     8 bytes: "SPAK", format (4 bytes, big-endian)
//	frames   one zstd frame per segment, in the order of the index, no gaps
//	index    deterministic CBOR
//	tail     40 bytes: length of the index (8 bytes, big-endian), its SHA-256
//
// and nothing else. What a frame unpacks to is written down at payload.

const (
	magic     = "SPAK"
	headBytes = 8
	tailBytes = 8 + manifest.DigestBytes
)

// An Index lists what a pack holds.
type Index struct {
	Format uint `cbor:"0,keyasint"`
	// From and To name the manifests of the two images.
	From manifest.Digest `cbor:"1,keyasint"`
	To   manifest.Digest `cbor:"2,keyasint"`
	// Segments make different chunks: their runs rise from one to the next.
	Segments []Segment `cbor:"3,keyasint"`
}

// A Segment makes some chunks of the new image of some ranges of the old one.
type Segment struct {
	_ struct{} `cbor:",toarray"`
	// Runs are the chunks it makes, rising, at most MaxSegmentBytes together.
	Runs []Run
	// Base is what it needs of the old image's stream, rising and apart, at most
	// MaxBaseBytes together.
	Base   []Range
	Stored uint32 // length of its frame
	Raw    uint32 // what the frame unpacks to, at most MaxRawBytes
}

// A Run is the chunks First to First+Count-1 of a manifest.
type Run struct {
	_            struct{} `cbor:",toarray"`
	First, Count uint32
}

// A Range is some bytes of an image's stream.
type Range struct {
	_      struct{} `cbor:",toarray"`
	Offset uint64
	Bytes  uint32
}

// end is the offset after r.
func (r Range) end() uint64 { return r.Offset + uint64(r.Bytes) }

// base is the length of all ranges together.
func (s *Segment) base() int {
	n := 0
	for _, r := range s.Base {
		n += int(r.Bytes)
	}
	return n
}

// bytes is the length of what s makes of the image m.
func (s *Segment) bytes(m *manifest.Manifest) int {
	n := 0
	for _, r := range s.Runs {
		for _, c := range m.Chunks[r.First : r.First+r.Count] {
			n += int(c.Bytes)
		}
	}
	return n
}

// Encode returns the index's bytes.
func (x *Index) Encode() []byte { return canonical.Encode(x) }

// DecodeIndex parses and checks an index.
func DecodeIndex(data []byte) (*Index, error) {
	var x Index
	if err := canonical.DecodeFormat(data, MaxIndexBytes, "index of a pack", Format, &x); err != nil {
		return nil, err
	}
	if err := x.check(); err != nil {
		return nil, err
	}
	return &x, nil
}

// check reports the first thing that makes x unusable whatever the images are.
func (x *Index) check() error {
	if x.Format != Format || x.From.IsZero() || x.To.IsZero() || x.From == x.To {
		return bad("format %d, from %s to %s", x.Format, x.From.Short(), x.To.Short())
	}
	if len(x.Segments) > MaxSegments {
		return bad("%d segments, the limit is %d", len(x.Segments), MaxSegments)
	}
	next := uint64(0) // the first chunk that may come
	for i := range x.Segments {
		s := &x.Segments[i]
		if len(s.Runs) == 0 || len(s.Runs) > MaxRuns || len(s.Base) > MaxRanges {
			return bad("segment %d: %d runs of chunks, %d ranges", i, len(s.Runs), len(s.Base))
		}
		if s.Stored == 0 || s.Stored > MaxRawBytes || s.Raw == 0 || s.Raw > MaxRawBytes {
			return bad("segment %d: %d bytes unpack to %d", i, s.Stored, s.Raw)
		}
		for _, r := range s.Runs {
			if r.Count == 0 || uint64(r.First) < next {
				return bad("segment %d: chunks %d+%d are out of order", i, r.First, r.Count)
			}
			next = uint64(r.First) + uint64(r.Count)
		}
		if err := s.checkBase(); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
	}
	return nil
}

func (s *Segment) checkBase() error {
	sum, next := uint64(0), uint64(0)
	for _, r := range s.Base {
		if r.Bytes == 0 || r.Offset < next || r.end() < r.Offset {
			return bad("range %d+%d is out of order", r.Offset, r.Bytes)
		}
		next = r.end()
		if sum += uint64(r.Bytes); sum > MaxBaseBytes {
			return bad("it needs more than %d bytes of the old image", MaxBaseBytes)
		}
	}
	return nil
}

// fits reports why x cannot lead from one image to the other: ErrOther if it is for
// other images, ErrBad if it names bytes or chunks that they do not have.
func (x *Index) fits(from, to *manifest.Manifest) error {
	if f, t := from.Digest(), to.Digest(); f != x.From || t != x.To {
		return fmt.Errorf("%w: from %s to %s, wanted from %s to %s", ErrOther, x.From.Short(), x.To.Short(), f.Short(), t.Short())
	}
	old := uint64(from.Bytes())
	for i := range x.Segments {
		s := &x.Segments[i]
		last := s.Runs[len(s.Runs)-1]
		if uint64(last.First)+uint64(last.Count) > uint64(len(to.Chunks)) {
			return bad("segment %d makes chunks that the image does not have", i)
		}
		if n := s.bytes(to); n > MaxSegmentBytes {
			return bad("segment %d makes %d bytes, the limit is %d", i, n, MaxSegmentBytes)
		}
		if n := len(s.Base); n > 0 && s.Base[n-1].end() > old {
			return bad("segment %d needs bytes that the old image does not have", i)
		}
	}
	return nil
}

// A Pack is open for reading. It is as safe for concurrent use as what it reads.
type Pack struct {
	r      io.ReaderAt
	index  *Index
	frames []int64 // where each segment's frame starts
}

// Open reads the index of the pack in the first size bytes of r. Errors wrap
// ErrNotPack, ErrBad or canonical.ErrFuture, or are those of r.
func Open(r io.ReaderAt, size int64) (*Pack, error) {
	head, tail := make([]byte, headBytes), make([]byte, tailBytes)
	if size < headBytes+tailBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrNotPack, size)
	}
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it does not start with %q", ErrNotPack, magic)
	}
	switch f := binary.BigEndian.Uint32(head[len(magic):]); {
	case f > Format:
		return nil, fmt.Errorf("pack: %w: format %d, this build reads up to %d; update starling", canonical.ErrFuture, f, Format)
	case f == 0:
		return nil, bad("format 0")
	}
	if err := readAt(r, tail, size-tailBytes); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint64(tail)
	if n > MaxIndexBytes || int64(n) > size-headBytes-tailBytes {
		return nil, bad("an index of %d bytes in a pack of %d, the limit is %d", n, size, MaxIndexBytes)
	}
	data := make([]byte, n)
	if err := readAt(r, data, size-tailBytes-int64(n)); err != nil {
		return nil, err
	}
	if sum := manifest.Sum(data); string(sum[:]) != string(tail[8:]) {
		return nil, bad("its index is damaged")
	}
	x, err := DecodeIndex(data)
	if err != nil {
		return nil, err
	}
	p := &Pack{r: r, index: x}
	at := int64(headBytes)
	for i := range x.Segments {
		p.frames = append(p.frames, at)
		at += int64(x.Segments[i].Stored)
	}
	if at != size-tailBytes-int64(n) {
		return nil, bad("its segments take %d bytes, the index says %d", size-tailBytes-int64(n)-headBytes, at-headBytes)
	}
	return p, nil
}

// Index is what the pack holds. The caller does not change it.
func (p *Pack) Index() *Index { return p.index }

// readAt fills b. The end of r is ErrNotPack: the pack is shorter than was said.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ends after %d bytes", ErrNotPack, at+int64(n))
	}
	return fmt.Errorf("read pack: %w", err)
}
