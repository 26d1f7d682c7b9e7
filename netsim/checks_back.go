package netsim

import (
	"fmt"

	"github.com/starling-swarm/starling/consensus/order"
)

// A height is how far a machine has got in what never decreases, over all its lives.
type height struct {
	pointer             order.Pointer
	roster, halt        uint64
	root, targets       uint64
	snapshot, timestamp uint64
}

// falls lists what is lower in now than in h.
func (h height) falls(now height) []string {
	var list []string
	fell := func(what string, from, to uint64) {
		if to < from {
			list = append(list, fmt.Sprintf("%s fell from %d to %d", what, from, to))
		}
	}
	if now.pointer.Before(h.pointer) {
		list = append(list, fmt.Sprintf("order fell from %s to %s", h.pointer, now.pointer))
	}
	fell("roster", h.roster, now.roster)
	fell("halt counter", h.halt, now.halt)
	fell("root", h.root, now.root)
	fell("targets", h.targets, now.targets)
	fell("snapshot", h.snapshot, now.snapshot)
	fell("timestamp", h.timestamp, now.timestamp)
	return list
}
