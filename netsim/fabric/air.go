package fabric

import (
	"math"
	"time"
)

// A server is something that can serve one packet after the other: an uplink, a
// downlink, the air of a cell.
type server struct {
	free  time.Duration // when it has done all its work
	first time.Duration // when it has done what is urgent
	used  time.Duration // all work so far
}

// serve adds work and returns when it will be done. Work is served in the order in
// which it comes, and the server is never idle while it has some.
func (s *server) serve(now, work time.Duration) time.Duration {
	s.free = max(s.free, now) + work
	s.used += work
	return s.free
}

// urge adds work that goes before all that is not urgent, and returns when it will be
// done. What waits already ends no later for it: urgent work is little, and what comes
// next pays.
func (s *server) urge(now, work time.Duration) time.Duration {
	s.first = max(s.first, now) + work
	return min(s.first, s.serve(now, work))
}

// backlog is how much work waits.
func (s *server) backlog(now time.Duration) time.Duration { return max(s.free-now, 0) }

// place is a square of the world for one kind of radio.
type place struct {
	radio string
	x, y  int
}

// A cell is the air above one square, whose side is the radio's range if the config
// says nothing else. A transmission keeps busy the cells of sender and receiver and
// the eight around each: carrier sense and interference reach about twice as far as
// reception. So one packet at a time is sent in a neighbourhood, h hops in it cost
// h times the airtime, and on a long chain of hops every fourth or so can send at
// the same time, as measured by Li et al. (Capacity of Ad Hoc Wireless Networks,
// MobiCom 2001).
type cell struct {
	server
	place place
	sent  time.Duration // airtime of transmissions that began in this square
}

// cell returns the cell of a square.
func (n *Net) cell(p place) *cell {
	c := n.cells[p]
	if c == nil {
		c = &cell{place: p}
		n.cells[p] = c
		n.ordered = append(n.ordered, c)
	}
	return c
}

// square is where a host with a shared radio is.
func (n *Net) square(h *Host) place {
	side := h.radio.Range
	if n.cfg.CellMetres > 0 && side > 0 {
		side = n.cfg.CellMetres
	}
	if side == 0 { // everywhere is one square
		return place{radio: h.radio.Name}
	}
	return place{h.radio.Name, int(math.Floor(h.at.X / side)), int(math.Floor(h.at.Y / side))}
}

// disturbed calls f with every cell that a transmission from a to b keeps busy, once.
func (n *Net) disturbed(a, b *Host, f func(*cell)) {
	if a.radio.Range == 0 {
		f(n.cell(n.square(a)))
		return
	}
	from, to := n.square(a), n.square(b)
	around(from, func(p place) { f(n.cell(p)) })
	if from == to {
		return
	}
	around(to, func(p place) {
		if abs(p.x-from.x) > 1 || abs(p.y-from.y) > 1 {
			f(n.cell(p))
		}
	})
}

func around(c place, f func(place)) {
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			f(place{c.radio, c.x + dx, c.y + dy})
		}
	}
}

func abs(x int) int { return max(x, -x) }
