package artifacts

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/pace"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// paced writes to a stream as the shaper allows. A write that makes no headway for the
// time of silence is an error.
type paced struct {
	ctx   context.Context // ends with the stream: an io.Writer cannot be handed one
	s     Stream
	shape *shaper
	peer  string
}

func (p paced) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		part := b[done : done+p.shape.step(len(b)-done)]
		if err := p.shape.wait(p.ctx, pace.Bulk, p.peer, len(part)); err != nil {
			return done, err
		}
		if err := p.s.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return done, err
		}
		n, err := p.s.Write(part)
		if done += n; err != nil {
			return done, err
		}
	}
	return len(b), nil
}

// metered reads from a stream at the node's download rate, and says when bytes came.
// Not reading on holds the sender back.
type metered struct {
	ctx   context.Context // as in paced
	r     io.Reader
	shape *shaper // of what is taken in
	heard func()
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.r.Read(b[:m.shape.step(len(b))])
	if n == 0 {
		return n, err
	}
	m.heard()
	if e := m.shape.wait(m.ctx, pace.Bulk, "", n); e != nil {
		return n, e
	}
	m.heard() // it is us who were slow
	return n, err
}

// codec packs and unpacks chunks. Its buffers are shared by all streams: each waits
// for the one before, so that many streams need no more memory.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(manifest.MaxChunkBytes))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(manifest.MaxChunkBytes), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &codec{enc, dec}, nil
}

// errEncoding says that a chunk's bytes cannot be what was asked for.
var errEncoding = errors.New("artifacts: wrong length, or not zstd")

// unpack returns the bytes of a chunk of the given length, in buf if they were
// packed. It never makes more than that many.
func (c *codec) unpack(d wire.Data, length int, buf *[]byte) ([]byte, error) {
	data := d.Bytes
	if d.Encoding == wire.Zstd {
		if cap(*buf) < length {
			*buf = make([]byte, length)
		}
		var err error
		if data, err = c.dec.DecodeAll(data, (*buf)[:0:length]); err != nil {
			return nil, errEncoding
		}
	}
	if len(data) != length {
		return nil, errEncoding
	}
	return data, nil
}

// packer packs the chunks of one stream. After a chunk that did not shrink it leaves
// the next ones alone, more of them each time: they lie near each other in the
// image, and packing what is packed already costs more than sending it.
type packer struct {
	c          *codec
	buf        []byte
	skip, next int // chunks to leave alone: now, and after the next failure
}

const maxSkip = 32

// pack returns data as it should go on the wire.
func (p *packer) pack(data []byte) (wire.Encoding, []byte) {
	if p.skip > 0 {
		p.skip--
		return wire.Raw, data
	}
	p.buf = p.c.enc.EncodeAll(data, p.buf[:0])
	if len(p.buf) > len(data)-len(data)/20 {
		p.skip = p.next
		p.next = min(max(1, 2*p.next), maxSkip)
		return wire.Raw, data
	}
	p.next = 0
	return wire.Zstd, p.buf
}
