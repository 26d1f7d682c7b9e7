package netsim

import (
	"math/rand/v2"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario"
)

// A part is one hit of a fault: on all who were picked, or on one after the other.
type part struct {
	after time.Duration // the fault's start
	fault scenario.Fault
	names []string
}

// parts counts out a fault whose machines only the run could name; a timeline has done
// so with all others. Who is hit when is drawn as there.
func parts(f *scenario.Fault, names []string) []part {
	r := rand.New(rand.NewPCG(f.Draw, uint64(len(names))))
	switch {
	case f.Swizzle != nil:
		return swizzle(f, names, r)
	case f.Spread > 0:
		return spread(f, names, r)
	}
	return []part{{0, *f, names}}
}

// spread hits names one by one, the last one Spread after the first.
func spread(f *scenario.Fault, names []string, r *rand.Rand) (list []part) {
	for i, k := range r.Perm(len(names)) {
		list = append(list, part{f.Spread * time.Duration(i) / time.Duration(max(1, len(names)-1)), *f, names[k : k+1]})
	}
	return list
}

// swizzle clogs names one by one, and releases them in another order.
func swizzle(f *scenario.Fault, names []string, r *rand.Rand) (list []part) {
	gap, release := f.Swizzle.Gap, r.Perm(len(names))
	for i, k := range r.Perm(len(names)) {
		one, begin := *f, gap*time.Duration(i)
		one.Swizzle, one.Clog = nil, &scenario.Clog{Ends: scenario.Ends{Direction: "both"}}
		one.For = max(f.For+gap*time.Duration(release[i])-begin, time.Millisecond)
		list = append(list, part{begin, one, names[k : k+1]})
	}
	return list
}
