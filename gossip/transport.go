package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	packetBytes  = 4 << 10 // what is longer is cut, and then cannot be decrypted: members send 1,200 bytes at most
	packetQueue  = 256     // packets waiting for memberlist; more are dropped, as a full socket would
	streamQueue  = 16      // streams waiting for memberlist; more are closed
	maxStreams   = 64      // streams open that others opened; more are closed
	streamBytes  = 1 << 20 // read from one stream: the state of 1,024 members is below 200 KB
	streamLife   = time.Minute
	maxReadPause = time.Second // after errors of a socket that is not closed
)

// A transport carries memberlist over the sockets it was handed. Nothing a
// stranger sends can make it hold more than its bounds.
type transport struct {
	// ctx ends dials when Run ends: memberlist's interface has no context.
	ctx       context.Context
	packets   net.PacketConn
	streams   net.Listener
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	advertise netip.AddrPort
	count     *counters

	packetCh chan *memberlist.Packet // from readPackets; full: dropped
	streamCh chan net.Conn           // from acceptStreams; full: closed

	mu     sync.Mutex
	open   []*stream // oldest first
	theirs int       // how many of open were opened by others
	closed bool
}

var _ memberlist.Transport = (*transport)(nil)

func newTransport(ctx context.Context, cfg *Config, advertise netip.AddrPort, count *counters) *transport {
	return &transport{
		ctx: ctx, packets: cfg.Packets, streams: cfg.Streams, dial: cfg.Dial, advertise: advertise, count: count,
		packetCh: make(chan *memberlist.Packet, packetQueue),
		streamCh: make(chan net.Conn, streamQueue),
	}
}

// FinalAdvertiseAddr is part of memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IP(t.advertise.Addr().AsSlice()), int(t.advertise.Port()), nil
}

// PacketCh is part of memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packetCh }

// StreamCh is part of memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streamCh }

// WriteTo is part of memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := literal(addr)
	if err != nil {
		return time.Time{}, err
	}
	n, err := t.packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	t.count.sentPackets.Add(1)
	t.count.sentBytes.Add(uint64(n))
	return time.Now(), err
}

// DialTimeout is part of memberlist.Transport. A timeout above dialTimeout is
// cut to it.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, min(timeout, dialTimeout))
	defer cancel()
	conn, err := t.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	// memberlist writes the label before it sets a deadline of its own.
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s := t.track(conn, false)
	if s == nil {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	return s, nil
}

// Shutdown is part of memberlist.Transport. It closes every stream and both
// sockets, which ends readPackets and acceptStreams; it may be called twice.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	open := slices.Clone(t.open)
	t.mu.Unlock()
	if !first {
		return nil
	}
	errs := []error{t.packets.Close(), t.streams.Close()}
	for _, s := range open {
		errs = append(errs, s.Close())
	}
	return ignoreClosed(errs...)
}

// ignoreClosed joins the errors that do not say that the thing was closed before.
func ignoreClosed(errs ...error) error {
	var out error
	for _, err := range errs {
		if err != nil && !errors.Is(err, net.ErrClosed) {
			out = errors.Join(out, err)
		}
	}
	return out
}

func (t *transport) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// readPackets hands packets to memberlist until the socket closes.
func (t *transport) readPackets() error {
	buf := make([]byte, packetBytes)
	for failures := 0; ; {
		n, from, err := t.packets.ReadFrom(buf)
		if err != nil {
			if failures++; t.again(err, failures) {
				continue
			}
			return t.ended("packets", err)
		}
		failures = 0
		t.count.receivedPackets.Add(1)
		t.count.receivedBytes.Add(uint64(n))
		if n == 0 {
			continue
		}
		if oldPadding(buf[:n]) {
			t.count.packetsDropped.Add(1)
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.packetCh <- p:
		default:
			t.count.packetsDropped.Add(1)
		}
	}
}

// acceptStreams hands streams to memberlist until the listener closes.
func (t *transport) acceptStreams() error {
	for failures := 0; ; {
		conn, err := t.streams.Accept()
		if err != nil {
			if failures++; t.again(err, failures) {
				continue
			}
			return t.ended("streams", err)
		}
		failures = 0
		s := t.track(conn, true)
		if s == nil {
			t.count.streamsRefused.Add(1)
			_ = conn.Close() // a stranger's; nothing was written
			continue
		}
		select {
		case t.streamCh <- s:
		default:
			t.count.streamsRefused.Add(1)
			_ = s.Close()
		}
	}
}

// again waits after a socket's error and says whether to go on.
func (t *transport) again(err error, failures int) bool {
	if t.isClosed() || errors.Is(err, net.ErrClosed) {
		return false
	}
	pause := min(time.Millisecond<<min(failures, 10), maxReadPause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// ended is nil if this transport closed the socket itself.
func (t *transport) ended(what string, err error) error {
	if t.isClosed() || t.ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("gossip: the socket for %s was closed under us: %w", what, err)
}

// track bounds a connection; nil means that it must be closed.
func (t *transport) track(conn net.Conn, theirs bool) *stream {
	s := &stream{Conn: conn, t: t, theirs: theirs}
	s.left.Store(streamBytes)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || (theirs && t.theirs >= maxStreams) {
		return nil
	}
	if theirs {
		t.theirs++
	}
	t.open = append(t.open, s)
	// memberlist forgets to close a stream to which it cannot write its label.
	s.life = time.AfterFunc(streamLife, func() { _ = s.Close() })
	return s
}

func (t *transport) forget(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.open, s)
	if i < 0 {
		return
	}
	t.open = slices.Delete(t.open, i, i+1)
	s.life.Stop()
	if s.theirs {
		t.theirs--
	}
}

// A stream is a connection that ends: after streamBytes read, after streamLife,
// or with its transport.
type stream struct {
	net.Conn
	t      *transport
	theirs bool
	left   atomic.Int64
	head   streamHead
	life   *time.Timer // set under t.mu before the stream is handed out
}

var errTooMuch = errors.New("gossip: the peer sends more than a state can hold")

// Read is part of net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	left := s.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := s.Conn.Read(b[:min(int64(len(b)), left)])
	s.left.Add(-int64(n))
	s.t.count.receivedBytes.Add(uint64(n))
	if harm := s.head.read(b[:n]); harm != nil {
		return 0, harm
	}
	return n, err
}

// Write is part of net.Conn.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.t.count.sentBytes.Add(uint64(n))
	return n, err
}

// Close is part of net.Conn.
func (s *stream) Close() error {
	s.t.forget(s)
	return s.Conn.Close()
}

// literal parses "ip:port": nothing in gossip asks a name server on its own.
func literal(addr string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("gossip: %q is not an IP address with a port", addr)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}
