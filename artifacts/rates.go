package artifacts

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

const (
	// rateMin is how many bytes must have gone before a rate is told: less fits into
	// the queues on the way, and says nothing.
	rateMin = 1 << 20
	// rateMost is how many are remembered: a robot's link changes as it moves.
	rateMost = 16 << 20
	// maxRates bounds the members that rates are kept of, above the largest swarm.
	maxRates = 2048
)

// A Rate is how fast a member was seen to take and to send, in bytes per second while
// it did so; zero is not known. It includes the limits of both ends.
type Rate struct {
	Peer     envelope.Key
	Up, Down float64
}

// rates measures what goes to and comes from each member.
type rates struct {
	mu sync.Mutex // guards of
	of map[envelope.Key]*gauge
}

type gauge struct {
	bytes, seconds float64 // sent
	down           float64
}

func (r *rates) gauge(k envelope.Key) *gauge {
	g := r.of[k]
	if g == nil {
		if r.of == nil || len(r.of) >= maxRates {
			r.of = map[envelope.Key]*gauge{}
		}
		g = &gauge{}
		r.of[k] = g
	}
	return g
}

// sent notes bytes that a member took, and how long that was.
func (r *rates) sent(k envelope.Key, n int, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.gauge(k)
	g.bytes, g.seconds = g.bytes+float64(n), g.seconds+took.Seconds()
	if g.bytes > rateMost {
		g.bytes, g.seconds = g.bytes/2, g.seconds/2
	}
}

// got notes how fast a member sent.
func (r *rates) got(k envelope.Key, bytesPerSec float64) {
	if bytesPerSec == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gauge(k).down = bytesPerSec
}

// Rates are those that were measured since New, by key.
func (x *Exchange) Rates() []Rate {
	x.rates.mu.Lock()
	defer x.rates.mu.Unlock()
	out := []Rate{}
	for k, g := range x.rates.of {
		r := Rate{Peer: k, Down: g.down}
		if g.bytes >= rateMin && g.seconds > 0 {
			r.Up = g.bytes / g.seconds
		}
		if r.Up > 0 || r.Down > 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Rate) int { return bytes.Compare(a.Peer[:], b.Peer[:]) })
	return out
}
