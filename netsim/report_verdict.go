package netsim

import (
	"slices"

	"github.com/starling-swarm/starling/netsim/scenario"
)

// What a Verdict says.
const (
	Held      = "held"
	Broken    = "broken"
	Unchecked = "unchecked" // the scenario does not ask for it
)

// A Verdict is what came of one invariant.
type Verdict struct {
	Invariant string `json:"invariant"`
	Means     string `json:"means"`
	// AtLast says that it is about the connected robots after the faults; others hold
	// at every step.
	AtLast  bool    `json:"at_last"`
	Verdict string  `json:"verdict"`
	Times   int     `json:"times"` // how often it was broken, as far as that was kept
	First   float64 `json:"first"` // when it was broken first
}

// verdicts are one for each invariant, in the order of scenario.Invariants.
func verdicts(e *scenario.Expect, broken []Breach) []Verdict {
	list, asked := []Verdict{}, e.Checked()
	for _, i := range scenario.Invariants() {
		v := Verdict{Invariant: i.Name, Means: i.Means, AtLast: i.Live, Verdict: Held}
		if !slices.Contains(asked, i.Name) {
			v.Verdict = Unchecked
		}
		for _, b := range broken {
			if b.Invariant != i.Name {
				continue
			}
			if v.Times++; v.Times == 1 {
				v.Verdict, v.First = Broken, b.At
			}
		}
		list = append(list, v)
	}
	return list
}
