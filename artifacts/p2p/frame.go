package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// ErrFrame is returned for a frame above the limit: the other side speaks
// something else or means harm. Reset the stream.
var ErrFrame = errors.New("p2p: frame above the limit")

const (
	frameHead  = 4       // bytes of the big-endian length
	firstAlloc = 4 << 10 // what a frame's buffer starts with
	smallFrame = 32 << 10
)

// WriteFrame writes the length of b, four bytes big-endian, and b. It does not
// keep b.
func WriteFrame(w io.Writer, b []byte) error {
	if uint64(len(b)) > math.MaxUint32 {
		return fmt.Errorf("%w: %d bytes", ErrFrame, len(b))
	}
	head := binary.BigEndian.AppendUint32(make([]byte, 0, frameHead+min(len(b), smallFrame)), uint32(len(b)))
	if len(b) <= smallFrame {
		_, err := w.Write(append(head, b...))
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// ReadFrame reads what WriteFrame wrote. It returns ErrFrame if more than limit
// bytes are announced, io.EOF if the stream ended before the frame and
// io.ErrUnexpectedEOF if within it. It never holds more than about three times
// the bytes that arrived, whatever is announced.
func ReadFrame(r io.Reader, limit int) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	announced := binary.BigEndian.Uint32(head[:])
	if int64(announced) > int64(limit) {
		return nil, fmt.Errorf("%w: %d bytes announced, the limit is %d", ErrFrame, announced, limit)
	}
	n := int(announced)
	buf := make([]byte, 0, min(n, firstAlloc))
	for len(buf) < n {
		have := len(buf)
		if have == cap(buf) {
			grown := make([]byte, have, min(n, 2*have))
			copy(grown, buf)
			buf = grown
		}
		got, err := io.ReadFull(r, buf[have:cap(buf)])
		buf = buf[:have+got]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// Call opens a stream to peer, sends request as one frame, and returns the
// answer, one frame of at most limit bytes. ctx bounds all of it. With an error
// of Open the request was not sent; with any other it may have been handled.
func (h *Host) Call(ctx context.Context, peer envelope.Key, protocol string, request []byte, limit int) ([]byte, error) {
	s, err := h.Open(ctx, peer, protocol)
	if err != nil {
		return nil, err
	}
	return s.call(ctx, request, limit)
}

// CallAt is Call at a known address, as OpenAt.
func (h *Host) CallAt(ctx context.Context, addr string, peer envelope.Key, protocol string, request []byte, limit int) ([]byte, error) {
	s, err := h.OpenAt(ctx, addr, peer, protocol)
	if err != nil {
		return nil, err
	}
	return s.call(ctx, request, limit)
}

// call exchanges one frame each way and closes s.
func (s *Stream) call(ctx context.Context, request []byte, limit int) (answer []byte, err error) {
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer func() {
		if stop(); err != nil {
			_ = s.Reset()
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			err = fmt.Errorf("call %s of %s: %w", s.protocol, s.Peer().Short(), err)
		}
	}()
	if err := WriteFrame(s, request); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	answer, err = ReadFrame(s, limit)
	if err == io.EOF {
		err = fmt.Errorf("%w: it ended without an answer", ErrReset)
	}
	if err != nil {
		return nil, err
	}
	return answer, s.Close()
}

// Answer makes f the handler of a protocol of one request and one answer: it
// reads a frame of at most limit bytes, and sends what f returns. All of it must
// be done within timeout, which also bounds f's ctx. An error of f resets the
// stream; f does not keep request.
func Answer(limit int, timeout time.Duration, f func(ctx context.Context, peer envelope.Key, request []byte) ([]byte, error)) func(context.Context, *Stream) {
	return func(ctx context.Context, s *Stream) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := s.exchange(ctx, limit, timeout, f); err != nil {
			s.c.host.cfg.Log.Debug("request not answered", "peer", s.Peer().Short(), "protocol", s.protocol, "err", err)
			_ = s.Reset()
		}
	}
}

func (s *Stream) exchange(ctx context.Context, limit int, timeout time.Duration, f func(context.Context, envelope.Key, []byte) ([]byte, error)) error {
	if err := s.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	request, err := ReadFrame(s, limit)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	answer, err := f(ctx, s.Peer(), request)
	if err != nil {
		return err
	}
	if err := WriteFrame(s, answer); err != nil {
		return fmt.Errorf("send the answer: %w", err)
	}
	if err := s.CloseWrite(); err != nil {
		return fmt.Errorf("send the answer: %w", err)
	}
	return s.Close()
}
