package netsim

import (
	"maps"
	"time"

	"github.com/starling-swarm/starling/netsim/fabric"
)

const (
	sampleEvery = 5 * time.Second // of virtual time, between two looks at traffic and air
	placeEvery  = 10              // samples, between two maps
	// maxSamples bounds what is kept of a run of any length: when there are more, every
	// second one goes, and from then on half as many are taken.
	maxSamples = 400
)

// A Sample is the swarm at one moment. Lists are indexed as Report.Machines; machines
// that are not there yet are at the end, and missing.
type Sample struct {
	At      float64           `json:"at"`
	Out     int               `json:"out_of_service"`
	Islands int               `json:"islands"`        // of machines that reach each other, as it was
	Largest int               `json:"largest_island"` // nodes that run on one of them, at most
	Seen    map[string]int    `json:"seen,omitempty"` // members alive, as each voter sees it
	Bytes   map[string]uint64 `json:"bytes"`          // so far, by class
	Busiest float64           `json:"busiest_cell"`   // share of airtime since the sample before, in the fullest cell
	Places  [][2]float64      `json:"places,omitempty"`
	Island  []int             `json:"island,omitempty"` // number of the island each machine is on
}

// sample looks at traffic, air and leaders, and now and then adds the swarm as it is to
// the report's time line. The watcher's goroutine calls it.
func (w *World) sample() {
	now, traffic := time.Since(Start), w.net.Traffic()
	leader := ""
	if list := w.leaders(); len(list) == 1 {
		leader = list[0]
	}
	sent := w.sentNow()
	x := w.watch
	x.mu.Lock()
	x.air.look(now, traffic.Cells)
	maps.Copy(x.sent, sent)
	if n := len(x.leaders); n == 0 && leader != "" || n > 0 && x.leaders[n-1].Leader != leader {
		x.leaders = append(x.leaders, Leadership{now.Seconds(), leader})
	}
	due, places := now >= x.nextSample, len(x.samples)%placeEvery == 0
	x.mu.Unlock()
	if !due {
		return
	}
	s := w.snapshot(now, traffic, places)
	x.mu.Lock()
	defer x.mu.Unlock()
	s.Busiest, x.air.now = x.air.now, 0
	x.samples = append(x.samples, s)
	if len(x.samples) > maxSamples {
		x.samples, x.sampleGap = everySecond(x.samples), 2*x.sampleGap
	}
	x.nextSample = now + x.sampleGap
}

// snapshot is the swarm as it is now, with places if they are asked for.
func (w *World) snapshot(now time.Duration, traffic fabric.Traffic, places bool) Sample {
	islands := w.net.Islands()
	w.truth.mu.Lock()
	out := w.truth.out
	w.truth.mu.Unlock()
	s := Sample{At: now.Seconds(), Out: out, Islands: len(islands), Largest: w.largestCrowd(islands), Bytes: byClass(traffic), Seen: map[string]int{}}
	for _, name := range w.voters() {
		if m := w.machineNamed(name); m != nil && m.view() != nil {
			s.Seen[name] = m.alive().node.Status().Members.Alive
		}
	}
	if places {
		s.Places, s.Island = w.places(islands)
	}
	return s
}

// everySecond keeps the first and each second one after it.
func everySecond(all []Sample) (kept []Sample) {
	for i := 0; i < len(all); i += 2 {
		kept = append(kept, all[i])
	}
	return kept
}

// largestCrowd is how many nodes run on the fullest island.
func (w *World) largestCrowd(islands [][]int) int {
	runs := map[int]bool{}
	for _, m := range w.machines() {
		if m.host != nil && m.alive() != nil {
			runs[m.host.Index()] = true
		}
	}
	most := 0
	for _, list := range islands {
		n := 0
		for _, h := range list {
			if runs[h] {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// places are where all machines are, and on which island.
func (w *World) places(islands [][]int) (at [][2]float64, on []int) {
	island := map[int]int{}
	for i, list := range islands {
		for _, h := range list {
			island[h] = i + 1
		}
	}
	for _, m := range w.machines() {
		if m.host == nil {
			continue
		}
		p := m.host.Position()
		at, on = append(at, [2]float64{p.X, p.Y}), append(on, island[m.host.Index()])
	}
	return at, on
}
