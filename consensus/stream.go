package consensus

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
)

// Streams opens and accepts connections between voters. It proves the other
// side's key; who may talk is decided here.
type Streams interface {
	// Dial connects to the voter with key to.
	Dial(ctx context.Context, to envelope.Key) (net.Conn, error)
	// Accept waits for a connection and says whose it is. It fails for good once
	// Close was called.
	Accept() (net.Conn, envelope.Key, error)
	// Close ends Accept. The replica calls it when Run ends; it may come twice.
	Close() error
}

const (
	// maxInbound bounds the connections of one voter; raft uses three. More are
	// closed at once.
	maxInbound = 8
	// helloTag opens every connection, then come genesis and the server id that the
	// dialer means: one robot must never answer for two seats.
	helloTag = "starling/raft/1\x00"
	maxHello = len(helloTag) + manifest.DigestBytes + 1 + 255
)

// address is what raft knows of a seat: its key and server id, no network address.
func address(v order.Voter) raft.ServerAddress {
	return raft.ServerAddress(v.Key.String() + "/" + v.Server)
}

// parseAddress is the inverse of address.
func parseAddress(a raft.ServerAddress) (envelope.Key, string, error) {
	var k envelope.Key
	digits, server, ok := strings.Cut(string(a), "/")
	if !ok || server == "" || len(server) > 255 || len(digits) != 2*len(k) {
		return k, "", fmt.Errorf("%w: address %.80q", ErrStranger, string(a))
	}
	if _, err := hex.Decode(k[:], []byte(digits)); err != nil {
		return k, "", fmt.Errorf("%w: address %.80q", ErrStranger, string(a))
	}
	return k, server, nil
}

// layer is raft's stream layer over Streams. Only keys with a seat get through,
// in both directions, and only connections for this genesis and this server id.
type layer struct {
	ctx     context.Context // ends with Run; raft's interface has none to hand on
	streams Streams
	self    raft.ServerAddress
	genesis manifest.Digest
	server  string
	seated  func(envelope.Key) bool
	patient time.Duration // for one hello
	ready   chan net.Conn // from greet to Accept; unbuffered, never closed

	mu    sync.Mutex
	conns []*conn // open ones, oldest first
	shut  bool
}

// conn is a connection that the layer can find again.
type conn struct {
	net.Conn
	key     envelope.Key
	inbound bool
	layer   *layer
}

func newLayer(ctx context.Context, r *Replica, patient time.Duration) *layer {
	return &layer{
		ctx: ctx, streams: r.cfg.Streams, self: address(r.self), genesis: r.cfg.GenesisDigest, server: r.cfg.Server,
		seated: r.seated, patient: patient, ready: make(chan net.Conn),
	}
}

// hello is what the dialer of a connection to server says first.
func (l *layer) hello(server string) []byte {
	b := append([]byte(helloTag), l.genesis[:]...)
	return append(append(b, byte(len(server))), server...)
}

// track keeps c for Close and prune; it reports whether c may live.
func (l *layer) track(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, o := range l.conns {
		if o.inbound && c.inbound && o.key == c.key {
			n++
		}
	}
	if l.shut || n >= maxInbound {
		return false
	}
	l.conns = append(l.conns, c)
	return true
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.layer.mu.Lock()
	c.layer.conns = slices.DeleteFunc(c.layer.conns, func(o *conn) bool { return o == c && !planted.Is("leak-streams") })
	c.layer.mu.Unlock()
	return c.Conn.Close()
}

// accept takes connections until Streams is closed. spawn runs each hello.
func (l *layer) accept(spawn func(func())) error {
	for {
		raw, key, err := l.streams.Accept()
		if l.ctx.Err() != nil {
			if err == nil {
				_ = raw.Close() // the layer is closing; nobody is there to be told
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("consensus: accept connections of voters: %w", err)
		}
		c := &conn{Conn: raw, key: key, inbound: true, layer: l}
		if !l.seated(key) || !l.track(c) {
			_ = raw.Close() // before a byte of it is read; the stranger learns nothing
			continue
		}
		spawn(func() { l.greet(c) })
	}
}

// greet reads the hello and hands the connection to raft.
func (l *layer) greet(c *conn) {
	want := l.hello(l.server)
	got := make([]byte, len(want))
	err := c.SetReadDeadline(time.Now().Add(l.patient))
	if err == nil {
		_, err = io.ReadFull(c, got)
	}
	if err != nil || !bytes.Equal(got, want) || c.SetReadDeadline(time.Time{}) != nil {
		_ = c.Close() // another generation, another seat, or too slow: the dialer tries again
		return
	}
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

// Accept implements net.Listener for raft.
func (l *layer) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (l *layer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	key, server, err := parseAddress(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	raw, err := l.streams.Dial(ctx, key)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, key: key, layer: l}
	if !l.track(c) {
		return nil, errors.Join(net.ErrClosed, raw.Close())
	}
	err = c.SetWriteDeadline(time.Now().Add(timeout))
	if err == nil {
		_, err = c.Write(l.hello(server))
	}
	if err == nil {
		err = c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// prune closes the connections of those who lost their seat.
func (l *layer) prune() {
	l.closeIf(func(c *conn) bool { return c.inbound && !l.seated(c.key) })
}

func (l *layer) closeIf(f func(*conn) bool) {
	l.mu.Lock()
	out := slices.Clone(l.conns)
	l.mu.Unlock()
	for _, c := range out {
		if f(c) {
			_ = c.Close() // whoever reads it learns
		}
	}
}

// Close implements net.Listener: it ends every connection.
func (l *layer) Close() error {
	l.mu.Lock()
	shut := l.shut
	l.shut = true
	l.mu.Unlock()
	if shut {
		return nil
	}
	l.closeIf(func(*conn) bool { return true })
	return l.streams.Close()
}

// Addr implements net.Listener.
func (l *layer) Addr() net.Addr { return seatAddr(l.self) }

type seatAddr string

func (seatAddr) Network() string  { return "starling" }
func (a seatAddr) String() string { return string(a) }
