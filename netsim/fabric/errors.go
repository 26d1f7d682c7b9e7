package fabric

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Errors of sockets are those of the operating system, inside a *net.OpError: a
// program under test cannot tell the difference.
var (
	errCrashed = fmt.Errorf("fabric: the host has crashed: %w", net.ErrClosed)
	errEnded   = fmt.Errorf("fabric: the network has ended: %w", net.ErrClosed)

	errReset       = os.NewSyscallError("read", syscall.ECONNRESET)
	errPipe        = os.NewSyscallError("write", syscall.EPIPE)
	errTimedOut    = os.NewSyscallError("connect", syscall.ETIMEDOUT)
	errRefused     = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	errInUse       = os.NewSyscallError("bind", syscall.EADDRINUSE)
	errForeign     = os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	errDown        = os.NewSyscallError("socket", syscall.ENETDOWN)
	errLong        = os.NewSyscallError("sendto", syscall.EMSGSIZE)
	errNoPort      = os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	errUnspecified = errors.New("missing address")
)

// opError is what the net package wraps an error in. It keeps io.EOF, which has no
// wrapping there, out of the way.
func opError(op, network string, local, remote net.Addr, err error) error {
	return &net.OpError{Op: op, Net: network, Source: local, Addr: remote, Err: err}
}
