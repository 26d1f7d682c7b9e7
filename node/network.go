package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// A Network is a node's only way to other machines. The operating system's is
// OSNetwork; a simulator brings its own.
type Network interface {
	// ListenPacket opens addr ("host:port", port 0 picks one) for datagrams.
	ListenPacket(ctx context.Context, addr string) (net.PacketConn, error)
	// Listen opens addr for streams.
	Listen(ctx context.Context, addr string) (net.Listener, error)
	// Dial opens a stream to addr, whose host is a name or an IP address.
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// Host is the address at which the machine that has addr reaches this one,
	// as far as this machine can tell.
	Host(addr string) (string, error)
}

// OSNetwork is the operating system's network.
type OSNetwork struct{}

// ListenPacket opens a UDP socket.
func (OSNetwork) ListenPacket(ctx context.Context, addr string) (net.PacketConn, error) {
	var c net.ListenConfig
	p, err := c.ListenPacket(ctx, "udp", addr)
	return p, explain(addr, err)
}

// Listen opens a TCP listener.
func (OSNetwork) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", addr)
	return l, explain(addr, err)
}

// Dial opens a TCP connection.
func (OSNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
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

// listenPair opens addr for datagrams and for streams at one port.
func listenPair(ctx context.Context, n Network, addr string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen at %q: %w", addr, err)
	}
	const tries = 20 // a port that is free for streams may be taken for datagrams
	for i := 0; ; i++ {
		l, err := n.Listen(ctx, addr)
		if err != nil {
			return nil, nil, err
		}
		_, chosen, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, nil, errors.Join(err, l.Close())
		}
		p, err := n.ListenPacket(ctx, net.JoinHostPort(host, chosen))
		if err == nil {
			return p, l, nil
		}
		if err = errors.Join(err, l.Close()); port != "0" || i == tries {
			return nil, nil, err
		}
	}
}
