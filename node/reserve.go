package node

import (
	"context"
	"errors"
	"time"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/store"
)

const (
	// reserveBytes is what is held for the records of updates, the voter's log and
	// promises, the newest order and the halt file: some hundred writes of them.
	reserveBytes = 1 << 20
	// reserveRoom is how much must be free before the reserve is filled: it must not
	// be what fills the disk.
	reserveRoom = 4 * reserveBytes
)

// openReserve takes up the reserve, and fills it if there is room. Without one the
// node goes on: a full disk is when it is needed, and when it cannot be made.
func (n *Node) openReserve() {
	if n.cfg.NoReserve {
		return
	}
	r, err := durable.Keep(n.cfg.Dir, reserveBytes)
	if err != nil {
		n.log.Warn("no reserve for a full disk", "err", err)
		return
	}
	n.reserve = r
	n.fillReserve()
}

// fillReserve makes the reserve whole again after it was used.
func (n *Node) fillReserve() {
	if n.reserve.Left() == reserveBytes {
		return
	}
	err := store.Admit(n.cfg.Dir, reserveRoom, 0)
	var full *store.SpaceError
	if errors.As(err, &full) {
		return
	}
	if err == nil {
		err = n.reserve.Refill()
	}
	if err != nil {
		n.log.Warn("reserve for a full disk not filled", "err", err)
	}
}

// tendReserve fills the reserve once there is room again.
func (n *Node) tendReserve(ctx context.Context) error {
	if n.reserve == nil {
		return nil
	}
	tick := time.NewTicker(n.time.meta)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			n.fillReserve()
		}
	}
}
