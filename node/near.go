package node

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// A near is a member and how long a packet to it and back takes; zero is unknown.
type near struct {
	key  envelope.Key
	trip time.Duration
}

// farEvery: every so many candidates one is drawn from all, however far, so that
// pieces find their way between groups of robots that are near each other.
const farEvery = 4

// nearFirst orders members by distance, roughly: on a mesh each hop to a source costs
// the air of a hop, but robots that all choose alike would crowd a few. Who is not
// known is taken to be as far as most.
func nearFirst(all []near) []envelope.Key {
	var known []time.Duration
	for _, m := range all {
		if m.trip > 0 {
			known = append(known, m.trip)
		}
	}
	middle := time.Millisecond
	if len(known) > 0 {
		slices.Sort(known)
		middle = known[len(known)/2]
	}
	for i := range all {
		trip := float64(cmp.Or(all[i].trip, middle))
		all[i].trip = time.Duration(trip * (0.5 + rand.Float64()))
	}
	slices.SortFunc(all, func(a, b near) int { return cmp.Compare(a.trip, b.trip) })
	keys := make([]envelope.Key, len(all))
	for i := range all {
		if i%farEvery == farEvery-1 {
			j := i + rand.IntN(len(all)-i)
			all[i], all[j] = all[j], all[i]
		}
		keys[i] = all[i].key
	}
	return keys
}
