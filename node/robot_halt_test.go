package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/update"
)

// A halted robot wants nothing any more, also where it only waits to try again; what
// is on trial or goes back is left alone.
func TestUnderHaltNothingIsWanted(t *testing.T) {
	r := &robot{}
	for p := member.Idle; int(p) < member.Phases; p++ {
		r.now.Store(&standing{Status: update.Status{Phase: p}})
		for _, v := range []*View{{Halted: true, HaltReason: "fire"}, {Alarm: "two truths"}} {
			e := r.underHalt(v)
			if p == member.Trial || p == member.Reverting {
				require.Nil(t, e, p.String())
			} else {
				require.IsType(t, update.Unwanted{}, e, p.String())
			}
		}
	}
}
