package fabric

import (
	"context"
	"net"
	"os"
	"time"
)

// socketBuffer is how many bytes of packets wait to be read; more are dropped.
const socketBuffer = 1 << 20

// maxPacket is the largest payload of a datagram.
const maxPacket = 65507

// packetConn is a socket for packets.
type packetConn struct {
	host   *Host
	addr   *net.UDPAddr // as bound: it may be unspecified
	src    *net.UDPAddr // as receivers see it
	urgent bool

	// All below is guarded by the network's lock.
	arrived  fifo[*packet]
	bytes    int // of arrived
	readable gate
	deadline time.Time
	err      error // it is closed, or its life has ended
}

// ListenPacket opens a socket for packets at "host:port"; port 0 picks one. It fails
// with EADDRINUSE if another socket of this host has the port.
func (h *Host) ListenPacket(ctx context.Context, addr string) (net.PacketConn, error) {
	return h.listenPacket(ctx, addr, false)
}

func (h *Host) listenPacket(ctx context.Context, addr string, urgent bool) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	ip, port, err := h.bind(ctx, addr, func(p uint16) bool { return h.ports.packets[p] != nil })
	if err != nil {
		return nil, opError("listen", "udp", nil, nil, err)
	}
	src := ip
	if ip.IsUnspecified() {
		src = h.ip
	}
	p := &packetConn{
		host: h, addr: &net.UDPAddr{IP: ip, Port: int(port)}, src: &net.UDPAddr{IP: src, Port: int(port)}, urgent: urgent,
	}
	h.ports.packets[port] = p
	return p, nil
}

func (p *packetConn) LocalAddr() net.Addr { return p.addr }

// ReadFrom reads one packet; what does not fit into b is lost.
func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case p.err != nil:
			return 0, nil, opError("read", "udp", p.addr, nil, p.err)
		case expired(p.deadline):
			return 0, nil, opError("read", "udp", p.addr, nil, os.ErrDeadlineExceeded)
		case p.arrived.len() > 0:
			q := p.arrived.pop()
			p.bytes -= len(q.data)
			size := copy(b, q.data)
			n.buffers.put(q.data)
			return size, q.from.src, nil
		}
		n.wait(&p.readable, p.deadline)
	}
}

// WriteTo sends one packet. It never blocks: a packet for which there is no room is lost.
func (p *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	ip, port, err := p.destination(addr)
	switch {
	case p.err != nil:
		err = p.err
	case err == nil && len(b) > maxPacket:
		err = errLong
	}
	if err != nil {
		return 0, opError("write", "udp", p.addr, addr, err)
	}
	now := n.now()
	q := &packet{
		from: p, fromPort: uint16(p.addr.Port), toPort: port, life: p.host.life,
		data: append(n.buffers.get(len(b)), b...),
	}
	to := p.host.hostAt(ip)
	if to == nil {
		q.drop(now, NoRoute)
		return len(b), nil
	}
	q.link = p.host.link(to)
	p.host.queue(now, q)
	return len(b), nil
}

func (p *packetConn) destination(addr net.Addr) (net.IP, uint16, error) {
	if a, ok := addr.(*net.UDPAddr); ok && a != nil {
		return a.IP, uint16(a.Port), nil
	}
	if addr == nil {
		return nil, 0, errUnspecified
	}
	return p.host.resolve(addr.String())
}

// Close ends the socket; packets on their way still go.
func (p *packetConn) Close() error {
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.err != nil {
		return opError("close", "udp", p.addr, nil, p.err)
	}
	p.fail(net.ErrClosed)
	return nil
}

func (p *packetConn) fail(err error) {
	p.err = err
	if port := uint16(p.addr.Port); p.host.ports.packets[port] == p {
		delete(p.host.ports.packets, port)
	}
	for p.arrived.len() > 0 {
		p.host.net.buffers.put(p.arrived.pop().data)
	}
	p.bytes = 0
	p.readable.open()
}

// SetReadDeadline makes reads fail after t; zero is never.
func (p *packetConn) SetReadDeadline(t time.Time) error {
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.err != nil {
		return opError("set", "udp", p.addr, nil, p.err)
	}
	p.deadline = t
	p.readable.open()
	return nil
}

// SetWriteDeadline does nothing, for writes do not block.
func (p *packetConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (p *packetConn) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }
