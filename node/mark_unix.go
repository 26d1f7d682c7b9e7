//go:build unix

package node

import "golang.org/x/sys/unix"

// mark sets the DSCP of a socket's packets, of either version of IP: a socket for both
// has two marks, one for one version lacks the other. Packets that bear no mark arrive
// all the same, so that a refusal is nothing to tell anybody.
func mark(fd uintptr, dscp int) {
	const ecn = 2 // bits below the DSCP, which the kernel keeps for itself
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, dscp<<ecn)
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp<<ecn)
}
