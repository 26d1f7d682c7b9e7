package join

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// PackedDocumentProtocol is DocumentProtocol with answers as Packer.Pack makes them: the
// manifest of a tree of many small files goes in a third of its bytes.
const PackedDocumentProtocol = "/starling/document/2"

// How a packed document begins.
const (
	rawDocument  = 0
	zstdDocument = 1
)

const (
	// packedFrom is the size from which on packing is tried.
	packedFrom = 4 << 10
	// maxRatio and ratioFree bound what comes out of a packed document: whoever sends few
	// bytes makes nobody hold many. What would shrink more goes as it is.
	maxRatio, ratioFree = 8, 64 << 10
)

// MaxPackedBytes is the longest answer for a document of at most limit bytes.
func MaxPackedBytes(limit int) int { return 1 + limit }

// A Packer packs and unpacks documents. Its zero value is ready, and it is safe for
// concurrent use; it works on one document each way at a time, to need little memory.
type Packer struct {
	once sync.Once
	enc  *zstd.Encoder
	dec  *zstd.Decoder
	err  error
}

func (p *Packer) ready() error {
	p.once.Do(func() {
		var no, nor error
		p.enc, no = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		p.dec, nor = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(manifest.MaxBytes), zstd.WithDecodeAllCapLimit(true))
		p.err = errors.Join(no, nor)
	})
	return p.err
}

// Pack is data as the answer to a DocumentRequest, packed if that makes it
// shorter. No data stays no data: the document is not here.
func (p *Packer) Pack(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) >= packedFrom {
		if err := p.ready(); err != nil {
			return nil, err
		}
		packed := p.enc.EncodeAll(data, []byte{zstdDocument})
		if len(packed) < len(data) && fitsRatio(len(packed), uint64(len(data))) {
			return packed, nil
		}
	}
	return append([]byte{rawDocument}, data...), nil
}

func fitsRatio(packed int, raw uint64) bool { return raw <= maxRatio*uint64(packed)+ratioFree }

// ErrPacking is returned for an answer that is no packed document, or one of more bytes
// than are let in.
var ErrPacking = errors.New("join: not a packed document")

// Unpack is the inverse of Pack, for a document of at most limit bytes.
// It holds no more than about eight times the answer. Errors wrap ErrPacking.
func (p *Packer) Unpack(answer []byte, limit int) ([]byte, error) {
	if len(answer) == 0 {
		return nil, nil
	}
	body := answer[1:]
	switch answer[0] {
	case rawDocument:
		if len(body) > limit {
			return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrPacking, len(body), limit)
		}
		return body, nil
	case zstdDocument:
		return p.unzip(body, limit)
	}
	return nil, fmt.Errorf("%w: it begins with %d", ErrPacking, answer[0])
}

func (p *Packer) unzip(frame []byte, limit int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacking, err)
	}
	size := h.FrameContentSize
	if !h.HasFCS || size > uint64(limit) || !fitsRatio(len(frame)+1, size) {
		return nil, fmt.Errorf("%w: %d bytes in a frame of %d, the limit is %d", ErrPacking, size, len(frame), limit)
	}
	if err := p.ready(); err != nil {
		return nil, err
	}
	data, err := p.dec.DecodeAll(frame, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacking, err)
	}
	if uint64(len(data)) != size {
		return nil, fmt.Errorf("%w: %d bytes where %d were announced", ErrPacking, len(data), size)
	}
	return data, nil
}
