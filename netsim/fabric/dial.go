package fabric

import (
	"context"
	"net"
	"os"
	"slices"
	"time"
)

// backlog is how many streams wait to be accepted; who comes then tries again.
const backlog = 128

// Requests for a stream are sent again after 1, 2, 4 ... seconds, as Linux does.
const (
	firstDialRetry = time.Second
	maxDialRetries = 6
)

// listener is a socket for streams.
type listener struct {
	host   *Host
	addr   *net.TCPAddr
	urgent bool

	// All below is guarded by the network's lock.
	arrived    fifo[*conn]
	acceptable gate
	deadline   time.Time
	err        error
}

// Listen opens a socket for streams at "host:port"; port 0 picks one. It fails with
// EADDRINUSE if another socket of this host listens at the port.
func (h *Host) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return h.listen(ctx, addr, false)
}

func (h *Host) listen(ctx context.Context, addr string, urgent bool) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	ip, port, err := h.bind(ctx, addr, func(p uint16) bool { return h.ports.streams[p] != nil })
	if err != nil {
		return nil, opError("listen", "tcp", nil, nil, err)
	}
	l := &listener{host: h, addr: &net.TCPAddr{IP: ip, Port: int(port)}, urgent: urgent}
	h.ports.streams[port] = l
	return l, nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// Accept waits for the next stream.
func (l *listener) Accept() (net.Conn, error) {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case l.err != nil:
			return nil, opError("accept", "tcp", nil, l.addr, l.err)
		case expired(l.deadline):
			return nil, opError("accept", "tcp", nil, l.addr, os.ErrDeadlineExceeded)
		case l.arrived.len() > 0:
			return l.arrived.pop(), nil
		}
		n.wait(&l.acceptable, l.deadline)
	}
}

// SetDeadline makes Accept fail after t; zero is never.
func (l *listener) SetDeadline(t time.Time) error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.err != nil {
		return opError("set", "tcp", nil, l.addr, l.err)
	}
	l.deadline = t
	l.acceptable.open()
	return nil
}

// Close ends the socket; streams that nobody has accepted are reset.
func (l *listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.err != nil {
		return opError("close", "tcp", nil, l.addr, l.err)
	}
	l.fail(net.ErrClosed)
	now := n.now()
	for l.arrived.len() > 0 {
		c := l.arrived.pop()
		if c.err != nil {
			continue
		}
		c.closed = true
		c.abandon(net.ErrClosed)
		if p := c.out.out.now(now); p.ok {
			n.plan(now+p.oneWay(), &reset{c.in.from})
		}
	}
	return nil
}

func (l *listener) fail(err error) {
	l.err = err
	if port := uint16(l.addr.Port); l.host.ports.streams[port] == l {
		delete(l.host.ports.streams, port)
	}
	l.acceptable.open()
}

// take lets c wait to be accepted. It reports false if that cannot be.
func (l *listener) take(c *conn) bool {
	if l.err != nil || l.arrived.len() >= 2*backlog { // room was there when it asked
		return false
	}
	c.enter()
	l.arrived.push(c)
	l.acceptable.open()
	return true
}

// hears reports whether l is meant by an address.
func (l *listener) hears(ip net.IP) bool { return l.addr.IP.IsUnspecified() || l.addr.IP.Equal(ip) }

// A dial is a stream that is being opened.
type dial struct {
	from    *Host
	to      *Host // nil: nobody has the address
	ip      net.IP
	port    uint16
	urgent  bool
	step    func(d *dial, now time.Duration)
	tries   int
	at      *listener     // that has answered
	there   int           // the life of to in which it did
	done    chan struct{} // closed by settle
	settled bool
	conn    *conn // guarded by the network's lock, as err
	err     error
}

// Dial opens a stream to "host:port", whose host is a name or an IP address. It takes
// one round trip. Where nobody listens it is refused after as long; where nobody
// answers it blocks until ctx ends, or 127 s.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return h.dialAs(ctx, addr, false)
}

func (h *Host) dialAs(ctx context.Context, addr string, urgent bool) (net.Conn, error) {
	d, err := h.dial(ctx, addr, urgent)
	if err != nil {
		return nil, opError("dial", "tcp", nil, nil, err)
	}
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if !d.settled {
		d.settle(nil, ctx.Err())
	}
	if d.err != nil {
		return nil, opError("dial", "tcp", nil, &net.TCPAddr{IP: d.ip, Port: int(d.port)}, d.err)
	}
	return d.conn, nil
}

// dial sends the first request.
func (h *Host) dial(ctx context.Context, addr string, urgent bool) (*dial, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if err := h.usable(); err != nil {
		return nil, err
	}
	ip, port, err := h.resolve(addr)
	if err != nil {
		return nil, err
	}
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1).To4()
	}
	d := &dial{from: h, to: h.hostAt(ip), ip: ip, port: port, urgent: urgent, done: make(chan struct{})}
	h.ports.dials = append(h.ports.dials, d)
	d.step = (*dial).request
	h.net.plan(h.net.now(), d)
	return d, nil
}

// settle ends d, one way or the other.
func (d *dial) settle(c *conn, err error) {
	d.settled, d.conn, d.err = true, c, err
	if i := slices.Index(d.from.ports.dials, d); i >= 0 {
		d.from.ports.dials = slices.Delete(d.from.ports.dials, i, i+1)
	}
	close(d.done)
}

func (d *dial) run(_ *Net, now time.Duration) {
	if !d.settled {
		d.step(d, now)
	}
}

// after lets step be the next, at a time.
func (d *dial) after(at time.Duration, step func(*dial, time.Duration)) {
	d.step = step
	d.from.net.plan(at, d)
}

// request asks for the stream.
func (d *dial) request(now time.Duration) {
	if d.from.holds(d) {
		return
	}
	if d.to == nil {
		d.retry(now)
		return
	}
	out, back := d.from.link(d.to), d.to.link(d.from)
	p, q := out.now(now), back.now(now)
	k := out.nextSegment()
	if !p.ok || !q.ok || p.clog != nil || q.clog != nil || k.hit(forLoss, p.meanLoss()) || k.hit(forRetry, q.meanLoss()) {
		d.retry(now)
		return
	}
	d.from.count(d.port).sent(1, tcpHeader)
	done := p.serve(now, 1, tcpHeader, 0, d.urgent)
	d.after(done.through+p.delay(k), (*dial).arrive)
}

// retry waits and asks again, or gives up.
func (d *dial) retry(now time.Duration) {
	to := -1
	if d.to != nil {
		to = d.to.index
	}
	e := Event{At: now, Kind: Retried, From: d.from.index, To: to, ToPort: d.port}
	wait := firstDialRetry << d.tries
	if d.tries++; d.tries > maxDialRetries+1 {
		e.Kind = TimedOut
		d.from.net.note(e)
		d.settle(nil, errTimedOut)
		return
	}
	d.from.net.note(e)
	d.after(now+wait, (*dial).request)
}

// arrive is the request at the other host.
func (d *dial) arrive(now time.Duration) {
	if d.to.holds(d) {
		return
	}
	d.at = d.to.ports.streams[d.port]
	if d.at != nil && !d.at.hears(d.ip) {
		d.at = nil
	}
	if !d.to.wired || d.at != nil && d.at.arrived.len() >= backlog {
		d.retry(now)
		return
	}
	d.to.count(d.port).received(1, tcpHeader)
	d.to.count(d.port).sent(1, tcpHeader)
	d.there = d.to.life
	back := d.to.link(d.from)
	p := back.now(now)
	done := p.serve(now, 1, tcpHeader, 0, d.at != nil && d.at.urgent)
	d.after(done.through+p.delay(back.nextSegment()), (*dial).answer)
}

// answer is the answer at the host that asked.
func (d *dial) answer(now time.Duration) {
	if d.from.holds(d) {
		return
	}
	d.from.count(d.port).received(1, tcpHeader)
	if d.at == nil {
		d.from.net.note(Event{At: now, Kind: Refused, From: d.from.index, To: d.to.index, ToPort: d.port})
		d.settle(nil, errRefused)
		return
	}
	port, err := d.from.ports.pick(func(p uint16) bool { return d.from.ports.used[p] > 0 || d.from.ports.streams[p] != nil })
	if err != nil {
		d.settle(nil, err)
		return
	}
	here, there := &net.TCPAddr{IP: d.from.ip, Port: int(port)}, &net.TCPAddr{IP: d.ip, Port: int(d.port)}
	if d.ip.IsLoopback() {
		here.IP = d.ip
	}
	a := &conn{host: d.from, life: d.from.life, local: here, remote: there, urgent: d.urgent}
	b := &conn{host: d.to, life: d.there, local: there, remote: here, listener: d.at, urgent: d.at.urgent}
	a.out, b.out = newHalf(a, b, d.port), newHalf(b, a, d.port)
	a.in, b.in = b.out, a.out
	a.enter()
	a.out.control(now, Opened)
	d.settle(a, nil)
}
