package netsim

import (
	"time"

	"github.com/starling-swarm/starling/netsim/fabric"
)

// saturated is the share of time from which a cell of radios counts as full: what is
// left are gaps that nobody can use.
const saturated = 0.9

// air is what was seen of the cells of radios.
type air struct {
	last map[cell]time.Duration // busy so far
	at   time.Duration
	peak map[cell]float64       // highest share of one look
	full map[cell]time.Duration // time in which it was saturated
	now  float64                // highest share of any since the last sample
}

// A cell is a place where radios of one kind share the air.
type cell struct {
	radio string
	x, y  int
}

func newAir() air {
	return air{last: map[cell]time.Duration{}, peak: map[cell]float64{}, full: map[cell]time.Duration{}}
}

// look takes how busy each cell has been until now.
func (a *air) look(now time.Duration, cells []fabric.CellTraffic) {
	window := now - a.at
	for _, c := range cells {
		k := cell{c.Radio, c.X, c.Y}
		if window > 0 {
			share := float64(c.Busy-a.last[k]) / float64(window)
			a.peak[k], a.now = max(a.peak[k], share), max(a.now, share)
			if share >= saturated {
				a.full[k] += window
			}
		}
		a.last[k] = c.Busy
	}
	a.at = now
}
