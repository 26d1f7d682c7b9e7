package fabric

import (
	"context"
	"net"
)

// Urgent is a host whose sockets' packets are marked, as with a DSCP of CS6: where the
// radio knows classes they go first on the air. Nothing else tells them from others.
type Urgent struct{ host *Host }

// Urgent returns the host as one that opens such sockets.
func (h *Host) Urgent() Urgent { return Urgent{h} }

// ListenPacket is Host.ListenPacket.
func (u Urgent) ListenPacket(ctx context.Context, addr string) (net.PacketConn, error) {
	return u.host.listenPacket(ctx, addr, true)
}

// Listen is Host.Listen. What the streams accepted send is urgent.
func (u Urgent) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return u.host.listen(ctx, addr, true)
}

// Dial is Host.Dial. What this end sends is urgent.
func (u Urgent) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return u.host.dialAs(ctx, addr, true)
}
