package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/starling-swarm/starling/gossip/member"
)

// ErrConfig is wrapped by every complaint of New and SetKeys about what they
// were given: correct it.
var ErrConfig = errors.New("gossip: bad config")

// Config says what a Membership needs. New takes over the sockets: it closes
// them also when it returns an error.
type Config struct {
	// Self is this node's index in the roster.
	Self member.Index
	// Swarm keeps swarms apart that share a radio. 1 to member.MaxSwarmBytes bytes.
	Swarm string
	// Keys encrypt all gossip, 32 bytes each, newest first: the first encrypts,
	// all decrypt. At least one. See SetKeys.
	Keys [][]byte
	// Packets and Streams are the sockets, on one port.
	Packets net.PacketConn
	Streams net.Listener
	// Dial opens a stream to another member's Streams. It ends with ctx.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Advertise is where others reach this node, as IP address and port. Empty
	// is the address of Streams, which must then be one address and not all.
	Advertise string
	// Profile is the same for the whole swarm. Zero is LAN.
	Profile Profile
	// Admit says whether the member with index i may be here, at this IP
	// address: in the roster and not revoked. It is asked under memberlist's
	// lock: it must return at once and must not call the Membership. Nil admits
	// all below member.MaxMembers.
	Admit func(i member.Index, host string) bool
	// Seeds are gossip addresses to try when rejoining, "host:port": from the
	// invite, remembered from Members of an earlier run. It is called by the
	// rejoin loop and may block a little. Nil is none.
	Seeds func() []string
	// Meta is what this node says of itself at first.
	Meta Meta
	// Log takes what a person may want to know. Nil discards it.
	Log *slog.Logger
}

func (c *Config) check() error {
	var errs []error
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
	}
	if c.Self >= member.MaxMembers {
		complain("self is %d, a roster has at most %d members", c.Self, member.MaxMembers)
	}
	if c.Swarm == "" || len(c.Swarm) > member.MaxSwarmBytes {
		complain("swarm %q must have 1 to %d bytes", c.Swarm, member.MaxSwarmBytes)
	}
	if err := checkKeys(c.Keys); err != nil {
		errs = append(errs, err)
	}
	if c.Packets == nil || c.Streams == nil || c.Dial == nil {
		complain("packets, streams and dial are needed")
	}
	if c.Profile > Narrow {
		complain("%s is unknown; choose lan, mesh, local or narrow", c.Profile)
	}
	return errors.Join(errs...)
}

// address is where others reach this node.
func (c *Config) address() (netip.AddrPort, error) {
	text := c.Advertise
	if text == "" {
		text = c.Streams.Addr().String()
	}
	a, err := literal(text)
	if err != nil || a.Addr().IsUnspecified() {
		return a, fmt.Errorf("%w: others cannot reach %q; set Advertise to an IP address and port of this machine", ErrConfig, text)
	}
	return a, nil
}
