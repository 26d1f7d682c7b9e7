package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// directALPN is what both sides choose inside the handshake for a connection without
	// a muxer. Whoever does not know it chooses yamux.
	directALPN = "starling/direct/1"
	// lingerTime is how long the end of a direct stream waits for the peer to take what is
	// being written, and then for it to have read that.
	lingerTime = 5 * time.Second
)

// The lines that answer a proposal which is turned down.
const (
	refusedLine = "na" // multistream-select's word for it
	busyLine    = "busy"
)

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

	closed chan struct{} // closed with the connection
	close  sync.Once     // guards closed

	// reading and writing hold one token each, taken by whoever reads and by whoever
	// writes: TLS has locks of its own, and to wait for those is not seen in virtual time.
	reading, writing chan struct{}
	broken           error // why nothing more can be written; the writer's

	ended chan struct{} // closed when the stream was closed at this end

	mu      sync.Mutex // guards what follows, and that deadlines are the user's until ended is closed
	answer  string     // the line that refuses the stream; final when ended is closed
	writeBy time.Time  // the deadline for writes
}

func newDirect(c *tls.Conn, raw *pulse, inbound bool) *direct {
	d := &direct{
		conn: c, raw: raw, inbound: inbound, stream: make(chan struct{}, 1), closed: make(chan struct{}),
		reading: make(chan struct{}, 1), writing: make(chan struct{}, 1), ended: make(chan struct{}),
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
	d.mu.Lock()
	defer d.mu.Unlock()
	if isDone(d.ended) {
		return
	}
	d.answer, d.writeBy = answer, time.Now().Add(lingerTime)
	close(d.ended)
	// Whoever reads returns, and soon whoever writes. An error says that the connection
	// has ended.
	_ = d.conn.SetReadDeadline(time.Unix(1, 0))
	_ = d.conn.SetWriteDeadline(d.writeBy)
}

// linger says goodbye, waits until the peer has done so too, and closes the connection.
// Were it closed before, what the peer has not read yet would be lost if it is still
// writing.
func (d *direct) linger() {
	defer d.Close()
	if d.IsClosed() || d.goodbye() != nil {
		return
	}
	d.reading <- struct{}{}
	defer func() { <-d.reading }()
	if err := d.conn.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, d.conn) // its error is the end that it waits for
}

func (d *direct) goodbye() error {
	d.writing <- struct{}{}
	defer func() { <-d.writing }()
	if d.answer != "" {
		if _, err := d.write(lines(header, d.answer)); err != nil {
			return err
		}
	}
	return d.endWrites()
}

// write writes b. What was written in part cannot be gone on with: the peer could not
// decrypt that. The caller holds writing.
func (d *direct) write(b []byte) (n int, err error) {
	if d.broken != nil {
		return 0, d.broken
	}
	n, d.broken = sealed{d.conn, d.raw}.Write(b)
	return n, d.broken
}

// endWrites tells the peer that nothing more will come, once. TLS would give up after
// five seconds, whatever the deadline; so that is not when it is sent. The caller holds
// writing.
func (d *direct) endWrites() error {
	if d.broken != nil {
		return d.broken
	}
	d.raw.gather()
	err := d.conn.CloseWrite()
	d.mu.Lock()
	_ = d.conn.SetWriteDeadline(d.writeBy) // an error says that the connection has ended: so does send
	d.mu.Unlock()
	d.broken = errors.Join(err, d.raw.send())
	return d.broken
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
