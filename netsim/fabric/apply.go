package fabric

import (
	"fmt"
	"hash/fnv"
	"slices"
)

// applied is a fault that lies over the network.
type applied struct {
	fault  Fault
	covers func(from, to int) bool
	key    uint64 // of its draws: by what it is, not by when it came

	packets []*packet // held back by a clog, in order
	bytes   int       // of packets
	streams []*half   // held back by a clog, in order
}

// maxClogBytes bounds the packets that a clog holds back; more are dropped.
const maxClogBytes = 16 << 20

// draws is the key for what a does to p. A second hop under the same fault draws
// anew; what other faults draw changes nothing.
func (a *applied) draws(p *path) uint64 {
	p.spoils++
	return mix(a.key ^ p.spoils<<48)
}

// Apply lays a fault over the network. lift ends it; calling it again does nothing.
// A fault that is impossible or names an unknown host is an error.
func (n *Net) Apply(f Fault) (lift func(), err error) {
	if f == nil {
		return nil, fmt.Errorf("fabric: no fault")
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("apply %v: %w", f, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	covers, err := f.cover(n)
	if err != nil {
		return nil, fmt.Errorf("apply %v: %w", f, err)
	}
	text := fnv.New64a()
	_, _ = text.Write([]byte(f.String())) // never fails
	a := &applied{fault: f, covers: covers, key: mix(text.Sum64())}
	for slices.ContainsFunc(n.faults, func(o *applied) bool { return o.key == a.key }) {
		a.key = mix(a.key) // the same fault twice draws twice
	}
	n.faults = append(n.faults, a)
	n.touch()
	return func() { n.lift(a) }, nil
}

// lift takes a away and lets go what it held back.
func (n *Net) lift(a *applied) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.faults, a)
	if i < 0 {
		return
	}
	n.faults = slices.Delete(n.faults, i, i+1)
	n.touch()
	if n.ended {
		return
	}
	now := n.now()
	for _, p := range a.packets {
		if p.life == p.link.from.life {
			p.link.from.queue(now, p)
		}
	}
	for _, s := range a.streams {
		s.clogged = false
		s.ready(now)
	}
	a.packets, a.streams = nil, nil
}

// hold keeps a packet until a is lifted; it reports false if a holds too many.
func (a *applied) hold(p *packet) bool {
	if a.bytes += len(p.data); a.bytes > maxClogBytes {
		a.bytes -= len(p.data)
		return false
	}
	a.packets = append(a.packets, p)
	return true
}

// Faults lists what lies over the network, oldest first.
func (n *Net) Faults() []Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Fault
	for _, a := range n.faults {
		out = append(out, a.fault)
	}
	return out
}
