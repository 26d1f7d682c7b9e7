package node

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/starling-swarm/starling/artifacts/pace"
)

// ports remembers which ports were picked for port 0.
type ports struct {
	Gossip  int `json:"gossip"`
	Bulk    int `json:"bulk"`
	Control int `json:"control"`
}

func (n *Node) listen() error {
	ctx := context.Background() // opening a local port does not wait for anybody
	kept, _, err := load[ports](n.dir.path("ports"))
	if err != nil {
		n.log.Warn("ports of the last start unknown", "err", err)
	}
	err = withKept(n.cfg.Gossip, ":7946", kept.Gossip, func(addr string) (err error) {
		n.packets, n.streams, err = listenPair(ctx, n.cfg.Network, addr)
		return err
	})
	if err != nil {
		return err
	}
	var bulk, control net.Listener
	for _, l := range []struct {
		addr, def string
		kept      int
		class     pace.Class
		into      *net.Listener
	}{{n.cfg.Bulk, ":7947", kept.Bulk, pace.Bulk, &bulk}, {n.cfg.Control, ":7948", kept.Control, pace.Control, &control}} {
		err := withKept(l.addr, l.def, l.kept, func(addr string) (err error) {
			*l.into, err = n.cfg.Network.Listen(ctx, addr, l.class)
			return err
		})
		if err != nil {
			return errors.Join(err, closeAll(bulk, control))
		}
	}
	if n.bulk, err = n.newHost(bulk, pace.Bulk, bulkPort, nil); err != nil {
		return errors.Join(err, closeAll(bulk, control))
	}
	if n.control, err = n.newHost(control, pace.Control, controlPort, n.charge); err != nil {
		return errors.Join(err, closeAll(control))
	}
	now := ports{portOf(n.streams.Addr()), portOf(bulk.Addr()), portOf(control.Addr())}
	if now == kept {
		return nil
	}
	if err := save(n.dir.path("ports"), now); err != nil { // a full disk must not keep a robot from going back
		n.log.Warn("ports not written down; others must find this node anew after a restart", "err", err)
	}
	return nil
}

// withKept opens addr; for port 0 it tries the port of the last start first.
func withKept(addr, def string, kept int, open func(string) error) error {
	if addr == "" {
		addr = def
	}
	if host, port, err := net.SplitHostPort(addr); err == nil && port == "0" && kept != 0 {
		if open(net.JoinHostPort(host, itoa(kept))) == nil {
			return nil
		}
	}
	return open(addr)
}

func closeAll(ls ...net.Listener) error {
	var errs []error
	for _, l := range ls {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

func portOf(a net.Addr) int {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return 0
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return p
}
