package node

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/pace"
)

// markOf is what the kernel writes into a socket's packets.
func markOf(t *testing.T, c any, level, option int) (dscp int) {
	raw, err := c.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		tos, err := unix.GetsockoptInt(int(fd), level, option)
		require.NoError(t, err)
		dscp = tos >> 2
	}))
	return dscp
}

// Each packet says of which class it is, also those of streams that were accepted.
func TestPacketsAreMarked(t *testing.T) {
	n := OSNetwork{}
	for class, want := range map[pace.Class]int{pace.Control: dscpControl, pace.Bulk: dscpBulk} {
		for addr, option := range map[string][2]int{
			"127.0.0.1:0": {unix.IPPROTO_IP, unix.IP_TOS},
			"[::1]:0":     {unix.IPPROTO_IPV6, unix.IPV6_TCLASS},
			":0":          {unix.IPPROTO_IP, unix.IP_TOS}, // for both versions: dialed by the older
		} {
			l, err := n.Listen(t.Context(), addr, class)
			if err != nil && addr == "[::1]:0" {
				t.Logf("no IPv6 here: %v", err)
				continue
			}
			require.NoError(t, err)
			to := l.Addr().String()
			if addr == ":0" {
				_, port, err := net.SplitHostPort(to)
				require.NoError(t, err)
				to = "127.0.0.1:" + port
			}
			out, err := n.Dial(t.Context(), to, class)
			require.NoError(t, err)
			in, err := l.Accept()
			require.NoError(t, err)
			require.Equal(t, want, markOf(t, out, option[0], option[1]), "%s %s, dialed", class, addr)
			require.Equal(t, want, markOf(t, in, option[0], option[1]), "%s %s, accepted", class, addr)
			require.NoError(t, out.Close())
			require.NoError(t, in.Close())
			require.NoError(t, l.Close())
		}
		p, err := n.ListenPacket(t.Context(), "127.0.0.1:0", class)
		require.NoError(t, err)
		require.Equal(t, want, markOf(t, p, unix.IPPROTO_IP, unix.IP_TOS), "%s, packets", class)
		require.NoError(t, p.Close())
	}
}
