package gossip

import (
	"sync"
	"time"

	"github.com/starling-swarm/starling/gossip/member"
)

// trips remembers how long probes of each member took there and back. It is safe for
// concurrent use.
type trips struct {
	mu     sync.Mutex
	of     map[member.Index]time.Duration // bounded by the members in the table
	newest Probe
}

// A Probe is the newest probe that was answered. Count is how many there were: as long
// as it stays, nothing is new. Trip is how long it took; Least is what the member was
// known to take without queues, zero if it was never probed before.
type Probe struct {
	Count       uint64
	Trip, Least time.Duration
}

// Probe returns the newest probe that was answered.
func (m *Membership) Probe() Probe {
	m.trips.mu.Lock()
	defer m.trips.mu.Unlock()
	return m.trips.newest
}

// note takes one round trip. What counts is the least, for queues only add to it; an
// old one fades, for robots move.
func (t *trips) note(i member.Index, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest = Probe{t.newest.Count + 1, rtt, t.of[i]}
	if old, ok := t.of[i]; ok {
		rtt = min(rtt, old+old/8)
	}
	if t.of == nil {
		t.of = map[member.Index]time.Duration{}
	}
	t.of[i] = max(rtt, time.Nanosecond)
}

// RoundTrip is about how long a packet to a member and back takes, without queues:
// over a radio mesh a measure of the hops to it. Zero is unknown; each member
// probes one other at a time, and so knows few of them at first.
func (m *Membership) RoundTrip(i member.Index) time.Duration {
	m.trips.mu.Lock()
	defer m.trips.mu.Unlock()
	return m.trips.of[i]
}
