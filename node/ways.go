package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// errWay is wrapped by the refusal of a transfer over an interface that it may not use.
var errWay = errors.New("node: not over this interface")

// ways are the network interfaces that image bytes may leave and enter by. It is
// judged by addresses: those of this machine's end of a connection.
type ways struct {
	names []string // none: every way is good
	// addrs are an interface's addresses now: they come and go with the link.
	addrs func(name string) ([]netip.Addr, error)
}

func newWays(names []string) *ways { return &ways{names, interfaceAddrs} }

// interfaceAddrs asks the operating system.
func interfaceAddrs(name string) ([]netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	list, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out, nil
}

// lacks says that none of the interfaces is there with an address; empty is that one
// is, or that all may be used.
func (w *ways) lacks() string {
	for _, name := range w.names {
		if have, err := w.addrs(name); err == nil && len(have) > 0 {
			return ""
		}
	}
	if len(w.names) == 0 {
		return ""
	}
	return "no interface " + strings.Join(w.names, " or ") + " with an address is here"
}

// allow returns nil if images may use a connection whose end here is local.
func (w *ways) allow(local net.Addr) error {
	if len(w.names) == 0 {
		return nil
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return fmt.Errorf("%w: %s is no address of one: %w", errWay, local, err)
	}
	var errs []error
	for _, name := range w.names {
		have, err := w.addrs(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		if slices.Contains(have, at.Addr().Unmap().WithZone("")) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%w: %s is not an address of %s", errWay, at.Addr(), strings.Join(w.names, " or ")), errors.Join(errs...))
}
