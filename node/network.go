package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/starling-swarm/starling/artifacts/pace"
)

// A Network is a node's only way to other machines. The operating system's is
// OSNetwork; a simulator brings its own. What it sends for a socket is of the socket's
// class, pace.Control or pace.Bulk: where links know classes, control goes first and
// bulk last.
type Network interface {
	// ListenPacket opens addr ("host:port", port 0 picks one) for datagrams.
	ListenPacket(ctx context.Context, addr string, c pace.Class) (net.PacketConn, error)
	// Listen opens addr for streams.
	Listen(ctx context.Context, addr string, c pace.Class) (net.Listener, error)
	// Dial opens a stream to addr, whose host is a name or an IP address.
	Dial(ctx context.Context, addr string, c pace.Class) (net.Conn, error)
	// Host is the address at which the machine that has addr reaches this one,
	// as far as this machine can tell.
	Host(addr string) (string, error)
}

// OSNetwork is the operating system's network. It marks packets with the DSCP of their
// class, by which Wi-Fi (WMM), switches and modems tell them apart; where the system
// takes no marks, all are alike.
type OSNetwork struct{}

// The DSCP (RFC 2474) of what a node sends: CS6 is network control, CS1 is low-priority
// data (RFC 4594). RFC 8622 would have bulk be LE instead, but Linux chooses the access
// category of Wi-Fi by the three upper bits, which for LE are those of best effort.
const (
	dscpControl = 48
	dscpBulk    = 8
)

func dscpOf(c pace.Class) int {
	if c == pace.Bulk {
		return dscpBulk
	}
	return dscpControl
}

// marked sets a new socket's DSCP.
func marked(c pace.Class) func(network, address string, s syscall.RawConn) error {
	return func(_, _ string, s syscall.RawConn) error {
		return s.Control(func(fd uintptr) { mark(fd, dscpOf(c)) })
	}
}

// A marking marks what it accepts: with IPv6 the listener's mark is not passed on. A stream
// that cannot be marked is as good: no peer shall end a listener by it.
type marking struct {
	net.Listener
	class pace.Class
}

func (l marking) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if raw, err := c.(*net.TCPConn).SyscallConn(); err == nil {
		_ = marked(l.class)("", "", raw) // it is closed already: whoever reads from it is told
	}
	return c, nil
}

// ListenPacket opens a UDP socket.
func (OSNetwork) ListenPacket(ctx context.Context, addr string, class pace.Class) (net.PacketConn, error) {
	c := net.ListenConfig{Control: marked(class)}
	p, err := c.ListenPacket(ctx, "udp", addr)
	return p, explain(addr, err)
}

// Listen opens a TCP listener.
func (OSNetwork) Listen(ctx context.Context, addr string, class pace.Class) (net.Listener, error) {
	c := net.ListenConfig{Control: marked(class)}
	l, err := c.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, explain(addr, err)
	}
	return marking{l, class}, nil
}

// Dial opens a TCP connection.
func (OSNetwork) Dial(ctx context.Context, addr string, class pace.Class) (net.Conn, error) {
	d := net.Dialer{Control: marked(class)}
	return d.DialContext(ctx, "tcp", addr)
}

// Host asks the routing table which local address leads to addr. No packet is sent.
func (OSNetwork) Host(addr string) (string, error) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return "", fmt.Errorf("find the address that leads to %s: %w", addr, err)
	}
	host := c.LocalAddr().(*net.UDPAddr).IP.String()
	return host, c.Close()
}

// ErrPortTaken is returned when another process listens at the address.
var ErrPortTaken = errors.New("node: the port is taken by another process; stop it, or choose another port in the section listen")

func explain(addr string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w (%s)", ErrPortTaken, addr)
	default:
		return fmt.Errorf("listen at %s: %w", addr, err)
	}
}

// dialer is n's Dial for one class.
func dialer(n Network, c pace.Class) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) { return n.Dial(ctx, addr, c) }
}

// listenPair opens addr for gossip: for datagrams and for streams at one port.
func listenPair(ctx context.Context, n Network, addr string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen at %q: %w", addr, err)
	}
	const tries = 20 // a port that is free for streams may be taken for datagrams
	for i := 0; ; i++ {
		l, err := n.Listen(ctx, addr, pace.Control)
		if err != nil {
			return nil, nil, err
		}
		_, chosen, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
		p, err := n.ListenPacket(ctx, net.JoinHostPort(host, chosen), pace.Control)
		if err == nil {
			return p, l, nil
		}
		if err = errors.Join(err, l.Close()); port != "0" || i == tries {
			return nil, nil, err
		}
	}
}
