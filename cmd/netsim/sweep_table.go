package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/starling-swarm/starling/netsim"
)

// A row is what came of one scenario.
type row struct {
	Scenario   string  `json:"scenario"`
	Runs       int     `json:"runs"`
	Failed     int     `json:"failed"`
	FirstSeed  uint64  `json:"first_failing_seed,omitempty"` // the lowest that went wrong
	Virtual    float64 `json:"virtual_seconds"`
	Wall       float64 `json:"wall_seconds"`
	UpperBound float64 `json:"upper_bound_95"` // of the share of seeds that go wrong
}

// A failedRun is one scenario and seed that went wrong.
type failedRun struct {
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	Why      string `json:"why"`
	Replay   string `json:"replay"`
}

// A swept is what a sweep prints for tools.
type swept struct {
	Runs      int         `json:"runs"`
	Failed    int         `json:"failed"`
	Scenarios []*row      `json:"scenarios"`
	Failures  []failedRun `json:"failures"`
}

// add counts a run; r is nil if it died.
func (x *row) add(r *netsim.Report, seed uint64, failed bool) {
	x.Runs++
	if r != nil {
		x.Virtual, x.Wall = x.Virtual+r.Virtual, x.Wall+r.Wall
	}
	if failed {
		x.Failed++
		if x.FirstSeed == 0 || seed < x.FirstSeed {
			x.FirstSeed = seed
		}
	}
}

// end prints what came of each scenario.
func (w *sweep) end(out io.Writer, list []source) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum := swept{Scenarios: []*row{}, Failures: w.failures}
	for _, s := range list {
		if x := w.rows[s.name]; x != nil {
			x.UpperBound = netsim.UpperBound(x.Runs, x.Failed)
			sum.Scenarios, sum.Runs, sum.Failed = append(sum.Scenarios, x), sum.Runs+x.Runs, sum.Failed+x.Failed
		}
	}
	if w.json {
		return json.NewEncoder(out).Encode(sum)
	}
	return sum.table(out)
}

// table is for people. The bound is Clopper and Pearson's: 3 of n if none of n went wrong.
func (s *swept) table(out io.Writer) error {
	if _, err := fmt.Fprintf(out, "%-22s %6s %6s %15s %11s %8s\n", "scenario", "runs", "wrong", "at most (95 %)", "first seed", "speed"); err != nil {
		return err
	}
	for _, x := range s.Scenarios {
		first := "-"
		if x.Failed > 0 {
			first = strconv.FormatUint(x.FirstSeed, 10)
		}
		fmt.Fprintf(out, "%-22s %6d %6d %13.2f %% %11s %6.0f x\n", x.Scenario, x.Runs, x.Failed, 100*x.UpperBound, first, x.Virtual/max(x.Wall, 0.001))
	}
	_, err := fmt.Fprintf(out, "%-22s %6d %6d\n", "all", s.Runs, s.Failed)
	return err
}
