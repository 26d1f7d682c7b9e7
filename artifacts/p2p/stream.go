package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multistream"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// A Stream is a net.Conn to one peer for one protocol. Reads and writes may run
// at the same time, from one goroutine each. Whoever got it from Open or as a
// handler closes it.
type Stream struct {
	c        *conn
	s        network.MuxedStream
	protocol string
	inbound  bool
	done     atomic.Bool // closed or reset by us
}

var _ net.Conn = (*Stream)(nil)

// Peer is who is at the other end; it has proved this key.
func (s *Stream) Peer() envelope.Key { return s.c.key }

// Protocol is what was agreed when the stream was opened.
func (s *Stream) Protocol() string { return s.protocol }

// Read reads what the peer wrote; io.EOF is its CloseWrite or Close. Errors are
// ErrReset, net.ErrClosed and os.ErrDeadlineExceeded.
func (s *Stream) Read(b []byte) (int, error) {
	n, err := s.s.Read(b)
	return n, s.explain(err)
}

// Write writes b; it blocks while the peer does not read. Errors are as for Read.
func (s *Stream) Write(b []byte) (int, error) {
	n, err := s.s.Write(b)
	return n, s.explain(err)
}

// CloseWrite tells the peer that nothing more will come.
func (s *Stream) CloseWrite() error { return s.explain(s.s.CloseWrite()) }

// Close ends both directions and returns nil. What was written is still
// delivered, if the connection lives; CloseWrite says so if not. A peer that is
// still writing is not told and may block: Reset stops it.
func (s *Stream) Close() error {
	if s.done.Swap(true) {
		return nil
	}
	defer s.c.host.release(s.c, s.inbound)
	_ = s.s.Close() // an error only says that the stream has ended otherwise
	return nil
}

// Reset gives the stream up: the peer gets ErrReset.
func (s *Stream) Reset() error { return s.reset(network.StreamNoError) }

func (s *Stream) reset(why network.StreamErrorCode) error {
	if s.done.Swap(true) {
		return nil
	}
	defer s.c.host.release(s.c, s.inbound)
	return s.s.ResetWithError(why)
}

// SetDeadline bounds reads and writes; a zero t ends the bound.
func (s *Stream) SetDeadline(t time.Time) error { return s.s.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.s.SetReadDeadline(t) }

// SetWriteDeadline bounds writes.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.s.SetWriteDeadline(t) }

// LocalAddr is this end of the raw connection.
func (s *Stream) LocalAddr() net.Addr { return s.c.raw.LocalAddr() }

// RemoteAddr is the other end of the raw connection.
func (s *Stream) RemoteAddr() net.Addr { return s.c.raw.RemoteAddr() }

// explain translates an error of the muxer into our words.
func (s *Stream) explain(err error) error {
	var timeout net.Error
	switch {
	case err == nil || err == io.EOF:
		return err
	case s.done.Load():
		return net.ErrClosed
	case !s.c.mux.IsClosed() && errors.As(err, &timeout) && timeout.Timeout():
		return os.ErrDeadlineExceeded
	}
	return fmt.Errorf("%w: %v", ErrReset, err)
}

// header opens every negotiation of a protocol.
const header = multistream.ProtocolID

// hello is what both sides send to agree on protocol.
func hello(protocol string) []byte { return lines(header, protocol) }

func lines(all ...string) []byte {
	var b []byte
	for _, line := range all {
		b = binary.AppendUvarint(b, uint64(len(line)+1))
		b = append(append(b, line...), '\n')
	}
	return b
}

// readHello returns the protocol of the other side's hello.
func readHello(r io.Reader) (string, error) {
	first, err := multistream.ReadNextToken[string](r)
	if err != nil {
		return "", err
	}
	if first != header {
		return "", fmt.Errorf("the peer speaks %.40q, want %q", first, header)
	}
	return multistream.ReadNextToken[string](r)
}

// propose asks the peer for protocol and waits for its consent.
func (s *Stream) propose(protocol string) error {
	if _, err := s.s.Write(hello(protocol)); err != nil {
		return err
	}
	got, err := readHello(s.s)
	if err != nil {
		return err
	}
	if got == busyLine {
		return fmt.Errorf("%w: the peer takes no stream now", ErrBusy)
	}
	if got != protocol {
		return fmt.Errorf("%w: it answers %.40q to %q", ErrRefused, got, protocol)
	}
	s.protocol = protocol
	return nil
}

// answer hears what an incoming stream is for and runs its handler, if the peer
// is admitted.
func (s *Stream) answer(ctx context.Context) {
	h := s.c.host
	if err := s.s.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		_ = s.Reset()
		return
	}
	protocol, err := readHello(s.s)
	if err != nil {
		h.cfg.Log.Debug("stream without a protocol", "peer", s.c.key.Short(), "err", err)
		_ = s.reset(network.StreamProtocolNegotiationFailed)
		return
	}
	h.mu.Lock()
	handler := h.handlers[protocol]
	h.mu.Unlock()
	if handler == nil {
		_ = s.reset(network.StreamProtocolNegotiationFailed)
		return
	}
	if err := h.cfg.Admit(s.c.key, protocol); err != nil {
		h.cfg.Log.Info("stream refused", "peer", s.c.key.Short(), "protocol", protocol, "err", err)
		_ = s.reset(network.StreamGated)
		return
	}
	s.protocol = protocol
	if _, err := s.s.Write(hello(protocol)); err != nil {
		_ = s.Reset()
		return
	}
	if err := s.s.SetDeadline(time.Time{}); err != nil {
		_ = s.Reset()
		return
	}
	handler(ctx, s)
}
