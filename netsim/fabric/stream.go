package fabric

import (
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// conn is one end of a stream.
type conn struct {
	host          *Host
	life          int // of the host
	local, remote *net.TCPAddr
	in, out       *half
	urgent        bool

	// All below is guarded by the network's lock.
	listener      *listener // that shall accept it, until it has come in
	readable      gate
	writable      gate
	readDeadline  time.Time
	writeDeadline time.Time
	closed        bool  // by its user
	err           error // why it is dead: reset, timed out, crashed, or closed and done
}

// gone reports whether c takes nothing any more, so that s is answered by a reset.
// The first segment brings c in; it is refused if nobody listens any more.
func (c *conn) gone(s *segment) bool {
	switch {
	case c.life != c.host.life || !c.host.running:
		return true
	case s.kind == Opened:
		return !c.listener.take(c)
	case s.kind == Ended && c.closed: // both have closed
		return c.err != nil && c.err != net.ErrClosed
	}
	return c.err != nil || c.closed
}

// enter puts c on its host's list.
func (c *conn) enter() {
	p := &c.host.ports
	p.conns = append(p.conns, c)
	p.used[uint16(c.local.Port)]++
}

// leave takes c off its host's list: it is over.
func (c *conn) leave() {
	if c.err == nil {
		c.err = net.ErrClosed
	}
	p := &c.host.ports
	i := slices.Index(p.conns, c)
	if i < 0 {
		return
	}
	last := len(p.conns) - 1
	p.conns[i], p.conns[last] = p.conns[last], nil
	p.conns = p.conns[:last]
	port := uint16(c.local.Port)
	if p.used[port]--; p.used[port] == 0 {
		delete(p.used, port)
	}
}

// abandon ends c at once: nothing more is sent. What has arrived can still be read,
// unless the host's life is over.
func (c *conn) abandon(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.leave()
	b := &c.host.net.buffers
	for _, line := range []*fifo[*segment]{&c.out.again, &c.out.unsent} {
		for line.len() > 0 {
			c.out.drop(line.pop())
		}
	}
	c.out.waiting = 0
	if err != errReset && err != errTimedOut {
		c.in.discard(b)
	}
	c.readable.open()
	c.writable.open()
}

// discard forgets what has arrived.
func (h *half) discard(b *buffers) {
	for h.unread.len() > 0 {
		b.put(h.unread.pop())
	}
	h.full, h.begun = 0, 0
}

func (c *conn) fault(op string, err error) error {
	return opError(op, "tcp", c.local, c.remote, err)
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Read reads what has arrived. It returns io.EOF at the end, and after a reset what
// came before it.
func (c *conn) Read(b []byte) (int, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fault("read", net.ErrClosed)
		case expired(c.readDeadline):
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case c.in.full > 0:
			return c.in.read(b), nil
		case c.in.ended && c.err != errCrashed && c.err != errEnded:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.fault("read", c.err)
		}
		n.wait(&c.readable, c.readDeadline)
	}
}

// read takes up to len(b) bytes; there are some.
func (h *half) read(b []byte) (size int) {
	n := h.from.host.net
	for size < len(b) && h.full > 0 {
		first := *h.unread.first()
		k := copy(b[size:], first[h.begun:])
		size, h.begun, h.full = size+k, h.begun+k, h.full-k
		if h.begun == len(first) {
			h.begun = 0
			n.buffers.put(h.unread.pop())
		}
	}
	if h.next() != nil {
		h.ready(n.now())
	}
	return size
}

// Write queues b, and blocks while the stream has as much unsent as its window.
func (c *conn) Write(b []byte) (int, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	h := c.out
	for h.writing && c.unwritable() == nil {
		n.wait(&c.writable, c.writeDeadline)
	}
	defer c.writable.open() // the next Write has its turn
	done := 0
	for first := true; first || done < len(b); first = false {
		if err := c.unwritable(); err != nil {
			return done, c.fault("write", err)
		}
		if h.waiting >= n.cfg.Window {
			h.writing = true
			n.wait(&c.writable, c.writeDeadline)
			h.writing = false
			continue
		}
		done += h.queue(b[done:min(len(b), done+n.cfg.Window-h.waiting)])
		h.ready(n.now())
	}
	return done, nil
}

// unwritable tells why nothing can be written, if so.
func (c *conn) unwritable() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case expired(c.writeDeadline):
		return os.ErrDeadlineExceeded
	case c.err == errReset:
		return errPipe
	case c.err != nil:
		return c.err
	case c.out.finished:
		return errPipe
	}
	return nil
}

// queue takes some of b: into the last segment if it has room, else into a new one.
func (h *half) queue(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	n := h.from.host.net
	if h.unsent.len() > 0 {
		all := h.unsent.items()
		s := all[len(all)-1]
		if room := min(cap(s.data), h.segment) - len(s.data); s.kind == Segment && room > 0 {
			k := min(room, len(b))
			s.data = append(s.data, b[:k]...)
			s.size += k
			h.waiting += k
			return k
		}
	}
	k := min(len(b), h.segment)
	room := k
	if h.waiting > 0 {
		room = h.segment // more will come before it is sent
	}
	h.unsent.push(&segment{half: h, kind: Segment, data: append(n.buffers.get(room), b[:k]...), size: k})
	h.waiting += k
	return k
}

// control queues a segment without data.
func (h *half) control(now time.Duration, k Kind) {
	h.unsent.push(&segment{half: h, kind: k})
	h.ready(now)
}

// CloseWrite ends this direction: the peer reads io.EOF after all that was written.
func (c *conn) CloseWrite() error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case c.closed:
		return c.fault("close", net.ErrClosed)
	case c.err != nil:
		return c.fault("close", c.err)
	}
	c.finish(n.now())
	return nil
}

func (c *conn) finish(now time.Duration) {
	if !c.out.finished {
		c.out.finished = true
		c.out.control(now, Ended)
		c.writable.open()
	}
}

// Close ends both directions. What was written still goes out, for as long as the
// host lives; but with data unread the peer is told at once by a reset, and what
// was not yet sent is lost, as Linux does it (RFC 2525, 2.17).
func (c *conn) Close() error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	c.closed = true
	c.readable.open()
	c.writable.open()
	if c.err != nil {
		c.in.discard(&n.buffers)
		return nil
	}
	now := n.now()
	if c.in.full > 0 {
		c.in.discard(&n.buffers)
		c.abandon(net.ErrClosed)
		if p := c.out.out.now(now); p.ok {
			n.plan(now+p.oneWay(), &reset{c.in.from})
		}
		return nil
	}
	if c.out.done {
		c.leave()
	}
	c.finish(now)
	return nil
}

// SetReadDeadline makes reads fail after t; zero is never.
func (c *conn) SetReadDeadline(t time.Time) error { return c.deadlines(&t, nil) }

// SetWriteDeadline makes writes fail after t; zero is never.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.deadlines(nil, &t) }

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error { return c.deadlines(&t, &t) }

func (c *conn) deadlines(read, write *time.Time) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.fault("set", net.ErrClosed)
	}
	if read != nil {
		c.readDeadline = *read
		c.readable.open()
	}
	if write != nil {
		c.writeDeadline = *write
		c.writable.open()
	}
	return nil
}
