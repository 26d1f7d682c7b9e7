package netsim

import (
	"context"
	"net"

	"github.com/starling-swarm/starling/artifacts/pace"
	"github.com/starling-swarm/starling/netsim/fabric"
)

// network is a machine's way to the others, as a node wants it. It is the fabric's, where
// control is urgent: as the operating system's network marks it.
type network struct{ host *fabric.Host }

func (n network) ListenPacket(ctx context.Context, addr string, c pace.Class) (net.PacketConn, error) {
	if c == pace.Control {
		return n.host.Urgent().ListenPacket(ctx, addr)
	}
	return n.host.ListenPacket(ctx, addr)
}

func (n network) Listen(ctx context.Context, addr string, c pace.Class) (net.Listener, error) {
	if c == pace.Control {
		return n.host.Urgent().Listen(ctx, addr)
	}
	return n.host.Listen(ctx, addr)
}

func (n network) Dial(ctx context.Context, addr string, c pace.Class) (net.Conn, error) {
	if c == pace.Control {
		return n.host.Urgent().Dial(ctx, addr)
	}
	return n.host.Dial(ctx, addr)
}

func (n network) Host(addr string) (string, error) { return n.host.Host(addr) }
