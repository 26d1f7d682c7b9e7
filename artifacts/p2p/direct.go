package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

const (
	// directALPN is what both sides choose inside the handshake for a connection without
	// a muxer. Whoever does not know it chooses yamux.
	directALPN = "starling/direct/1"
	// lingerTime is how long the end of a direct stream waits for the peer to have read
	// what was written.
	lingerTime = 5 * time.Second
	// directSilence is how long a direct connection may bring nothing: no muxer asks the
	// peer whether it is still there.
	directSilence = 2 * keepAlive
)

// The lines that answer a proposal which is turned down.
const (
	refusedLine = "na" // multistream-select's word for it
	busyLine    = "busy"
)

// errNoDirect is a peer that answers, and would not agree on a direct connection.
var errNoDirect = errors.New("no connection for one stream")

// errDirectOver ends whoever waits for another stream of a direct connection.
var errDirectOver = errors.New("the connection carries one stream, and that has ended")

// A direct is a TLS connection that carries one stream and no muxer: bytes are copied
// less often and wake fewer goroutines, for a third less processor time. It implements
// network.MuxedConn.
type direct struct {
	conn    *tls.Conn
	raw     *pulse
	stream  chan struct{} // holds one token until the stream has begun
	inbound bool

	ended  chan struct{} // closed when the stream was closed at this end
	end    sync.Once     // guards ended and answer
	answer string        // the line that refuses the stream; set before ended is closed
	closed chan struct{} // closed with the connection
	close  sync.Once     // guards closed

	reading chan struct{} // holds one token, taken by whoever reads
}

func newDirect(c *tls.Conn, raw *pulse, inbound bool) *direct {
	d := &direct{
		conn: c, raw: raw, inbound: inbound, stream: make(chan struct{}, 1),
		ended: make(chan struct{}), closed: make(chan struct{}), reading: make(chan struct{}, 1),
	}
	d.stream <- struct{}{}
	raw.whole = true
	return d
}

// Close implements network.MuxedConn.
func (d *direct) Close() error {
	d.close.Do(func() { close(d.closed) })
	return d.raw.Close()
}

// CloseWithError implements network.MuxedConn: a peer that waits for an answer gets it.
func (d *direct) CloseWithError(network.ConnErrorCode) error {
	d.finish(busyLine)
	d.linger()
	return nil
}

// IsClosed implements network.MuxedConn.
func (d *direct) IsClosed() bool { return isDone(d.closed) }

// As implements network.MuxedConn.
func (d *direct) As(any) bool { return false }

// OpenStream implements network.MuxedConn, for the side that dialed, once.
func (d *direct) OpenStream(context.Context) (network.MuxedStream, error) {
	select {
	case <-d.stream:
		return directStream{d}, nil
	default:
		return nil, errDirectOver
	}
}

// AcceptStream implements network.MuxedConn, for the other side once. Then it waits, at
// either side, until the stream has ended, sees it off, and returns an error.
func (d *direct) AcceptStream() (network.MuxedStream, error) {
	if d.inbound {
		select {
		case <-d.stream:
			return directStream{d}, nil
		default:
		}
	}
	select {
	case <-d.ended:
		d.linger()
	case <-d.closed:
	}
	return nil, errDirectOver
}

// finish ends the stream at this end, at once; what is left to do is linger's. answer
// refuses the stream, if it is not empty.
func (d *direct) finish(answer string) {
	d.end.Do(func() {
		d.answer = answer
		close(d.ended)
		_ = d.conn.SetReadDeadline(time.Unix(1, 0)) // whoever reads returns; an error says that the connection has ended
	})
}

// linger says goodbye, waits until the peer has done so too, and closes the connection.
// Were it closed before, what the peer has not read yet would be lost if it is still
// writing.
func (d *direct) linger() {
	defer d.Close()
	if d.answer != "" {
		if err := d.conn.SetWriteDeadline(time.Now().Add(lingerTime)); err != nil {
			return
		}
		if _, err := d.conn.Write(lines(header, d.answer)); err != nil {
			return
		}
	}
	if err := d.conn.CloseWrite(); err != nil {
		return
	}
	d.reading <- struct{}{}
	defer func() { <-d.reading }()
	if err := d.conn.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, d.conn) // its error is the end that it waits for
}

// A directStream is the one stream of a direct connection.
type directStream struct{ d *direct }

// Read implements network.MuxedStream.
func (s directStream) Read(b []byte) (int, error) {
	s.d.reading <- struct{}{}
	defer func() { <-s.d.reading }()
	if isDone(s.d.ended) {
		return 0, network.ErrReset
	}
	return s.d.conn.Read(b)
}

// Write implements network.MuxedStream.
func (s directStream) Write(b []byte) (int, error) {
	if isDone(s.d.ended) {
		return 0, network.ErrReset
	}
	return sealed{s.d.conn, s.d.raw}.Write(b)
}

// CloseWrite implements network.MuxedStream.
func (s directStream) CloseWrite() error { return s.d.conn.CloseWrite() }

// CloseRead implements network.MuxedStream.
func (s directStream) CloseRead() error { return s.d.conn.SetReadDeadline(time.Unix(1, 0)) }

// Close implements network.MuxedStream.
func (s directStream) Close() error {
	s.d.finish("")
	return nil
}

// Reset implements network.MuxedStream.
func (s directStream) Reset() error {
	s.d.finish("")
	return s.d.Close()
}

// ResetWithError implements network.MuxedStream. The peer hears the reason if it waits
// for the answer to its proposal.
func (s directStream) ResetWithError(code network.StreamErrorCode) error {
	switch code {
	case network.StreamGated, network.StreamProtocolNegotiationFailed:
		s.d.finish(refusedLine)
	case network.StreamRateLimited, network.StreamResourceLimitExceeded:
		s.d.finish(busyLine)
	default:
		return s.Reset()
	}
	return nil
}

// SetDeadline implements network.MuxedStream.
func (s directStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements network.MuxedStream.
func (s directStream) SetReadDeadline(t time.Time) error {
	if isDone(s.d.ended) {
		return network.ErrReset
	}
	return s.d.conn.SetReadDeadline(t)
}

// SetWriteDeadline implements network.MuxedStream.
func (s directStream) SetWriteDeadline(t time.Time) error {
	if isDone(s.d.ended) {
		return network.ErrReset
	}
	return s.d.conn.SetWriteDeadline(t)
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// OpenDirect is Open with a connection for this stream alone, which costs a handshake
// and spares processor time with every byte: for streams that bring much over fast
// links. A peer that cannot be dialed, has no place for one more, or does not know of
// such connections, gets a stream over one that stands, or is made, for all.
func (h *Host) OpenDirect(ctx context.Context, peer envelope.Key, protocol string) (*Stream, error) {
	s, err := h.tryDirect(ctx, peer, protocol)
	return s, h.told(ctx, err, peer, protocol)
}

func (h *Host) tryDirect(ctx context.Context, peer envelope.Key, protocol string) (*Stream, error) {
	if err := h.ready(ctx, peer, protocol); err != nil {
		return nil, err
	}
	c, err := h.dialPeer(ctx, "", peer, true)
	if err == nil {
		var s *Stream
		if s, err = h.openOn(ctx, c, protocol); err == nil {
			return s, nil
		}
	}
	if ctx.Err() == nil && (errors.Is(err, errNoDirect) || errors.Is(err, ErrBusy) || h.best(peer) != nil) {
		return h.tryOpen(ctx, "", peer, protocol)
	}
	return nil, err
}

// admitDirect enters a direct connection into its table, or returns ErrBusy, ErrRefused
// or ErrClosed.
func (h *Host) admitDirect(c *conn) error {
	if !c.outbound && !h.cfg.Known(c.key) {
		return fmt.Errorf("%w: strangers share one connection", ErrRefused)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ended:
		return ErrClosed
	case len(h.directs) >= h.cfg.MaxPeers:
		return fmt.Errorf("%w: %d streams have connections of their own", ErrBusy, len(h.directs))
	}
	c.heardAt = time.Now()
	h.directs = append(h.directs, c)
	return nil
}

// silent returns the direct connections that have brought nothing for too long. host.mu
// is held.
func (h *Host) silent(now time.Time) (old []*conn) {
	for _, c := range h.directs {
		if heard := c.raw.heard.Load(); heard != c.heard {
			c.heard, c.heardAt = heard, now
		}
		if now.Sub(c.heardAt) >= directSilence {
			old = append(old, c)
		}
	}
	return old
}
