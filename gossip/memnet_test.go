package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A memnet is a small network in memory: packets take a millisecond and may be
// lost, streams are pipes, and an address that cannot be reached swallows both.
// It is built on channels, so that it works in a synctest bubble.
type memnet struct {
	mu    sync.Mutex
	hosts map[netip.AddrPort]*memhost
	cut   func(from, to netip.AddrPort) bool // nil: nothing is lost
}

func newMemnet() *memnet { return &memnet{hosts: map[netip.AddrPort]*memhost{}} }

// lose makes cut decide which packets and dials are lost; nil heals all.
func (n *memnet) lose(cut func(from, to netip.AddrPort) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// reach returns the host at to, if from reaches it.
func (n *memnet) reach(from, to netip.AddrPort) *memhost {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut != nil && n.cut(from, to) {
		return nil
	}
	return n.hosts[to]
}

// host plugs a machine in.
func (n *memnet) host(addr string) *memhost {
	h := &memhost{
		net: n, addr: netip.MustParseAddrPort(addr),
		packets: make(chan mempacket, 1024), streams: make(chan net.Conn, 64),
		closed: make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[h.addr] = h
	return h
}

// alias lets h answer at a second address.
func (n *memnet) alias(addr string, h *memhost) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[netip.MustParseAddrPort(addr)] = h
}

type mempacket struct {
	data []byte
	from net.Addr
}

// A memhost is a packet socket; listener is its stream socket.
type memhost struct {
	net     *memnet
	addr    netip.AddrPort
	packets chan mempacket
	streams chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (h *memhost) Close() error {
	h.once.Do(func() {
		close(h.closed)
		h.net.mu.Lock()
		defer h.net.mu.Unlock()
		if h.net.hosts[h.addr] == h {
			delete(h.net.hosts, h.addr)
		}
	})
	return nil
}

func (h *memhost) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-h.packets:
		return copy(b, p.data), p.from, nil
	case <-h.closed:
		return 0, nil, net.ErrClosed
	}
}

func (h *memhost) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-h.closed:
		return 0, net.ErrClosed
	default:
	}
	p := mempacket{data: append([]byte(nil), b...), from: net.UDPAddrFromAddrPort(h.addr)}
	if to := h.net.reach(h.addr, addr.(*net.UDPAddr).AddrPort()); to != nil {
		time.AfterFunc(time.Millisecond, func() {
			select {
			case to.packets <- p:
			default:
			}
		})
	}
	return len(b), nil
}

func (h *memhost) dial(ctx context.Context, addr string) (net.Conn, error) {
	to := h.net.reach(h.addr, netip.MustParseAddrPort(addr))
	if to == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	near, far := net.Pipe()
	select {
	case to.streams <- far:
		return near, nil
	case <-to.closed:
		return nil, errors.New("refused")
	}
}

func (h *memhost) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(h.addr) }
func (h *memhost) SetDeadline(time.Time) error      { return nil }
func (h *memhost) SetReadDeadline(time.Time) error  { return nil }
func (h *memhost) SetWriteDeadline(time.Time) error { return nil }

func (h *memhost) listener() net.Listener { return memlistener{h} }

type memlistener struct{ h *memhost }

func (l memlistener) Accept() (net.Conn, error) {
	select {
	case c := <-l.h.streams:
		return c, nil
	case <-l.h.closed:
		return nil, net.ErrClosed
	}
}
func (l memlistener) Close() error   { return l.h.Close() }
func (l memlistener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.h.addr) }
