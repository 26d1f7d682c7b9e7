package netsim

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// A turn is how one robot of a stage really fared with the release.
type turn struct {
	robot string
	// held is how long it had the release committed, at most; a robot's own count of
	// healthy seconds is never more.
	held time.Duration
	took bool // it activated the release
	back bool // and is not on it any more
	here bool // it is on, and belongs to the swarm
}

// newsTime is how long it may take until the swarm knows what a robot did: a robot that
// committed less long ago may rightly count as it stood before.
const newsTime = 5 * time.Second

// unearned is why a gate could not have held on what robots really did; empty if it
// could have. robots is how many the gate judges.
func unearned(g rollout.Gate, robots int, turns []turn) string {
	soak := time.Duration(g.SoakSeconds) * time.Second
	var bad, soaked, took int
	var sum time.Duration
	for _, t := range turns {
		if !t.took {
			continue // deferred
		}
		took++
		sum += t.held
		switch {
		case t.held >= soak && (t.held > 0 || !t.back):
			soaked++
		case t.back:
			bad++
		case t.here && t.held >= newsTime:
			return fmt.Sprintf("%s has been committed for %s of %s", t.robot, t.held, soak)
		default:
			bad++ // still on trial as far as anybody knows, or off: at best it counts as lost
		}
	}
	switch limit := g.Limit(robots); {
	case bad > limit && bad > 0 && soaked == 0:
		return fmt.Sprintf("%d of %d robots did not keep the release, %d may fail", bad, took, limit)
	case bad-off(turns) > limit:
		return fmt.Sprintf("%d of %d robots did not keep the release, %d may fail", bad, took, limit)
	case sum < time.Duration(g.ExposureSeconds)*time.Second:
		return fmt.Sprintf("%s of %d s exposure", sum, g.ExposureSeconds)
	}
	return ""
}

// off are robots that took the release and are off: whether they had left, or count
// as lost, only the swarm knows.
func off(turns []turn) (n int) {
	for _, t := range turns {
		if t.took && !t.here && !t.back {
			n++
		}
	}
	return n
}

// gateOf is the gate of a stage that has one.
func gateOf(p *rollout.Plan, stage order.Stage) (rollout.Gate, bool) {
	switch stage {
	case order.Canary:
		return p.CanaryGate, true
	case order.Wave:
		return p.WaveGate, true
	case order.Soak:
		return p.SoakGate, true
	}
	return rollout.Gate{}, false
}
