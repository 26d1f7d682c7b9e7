package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim"
)

func sweepCommand() *cobra.Command {
	var first uint64
	var seeds, parallel int
	var lasts time.Duration
	var save string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sweep [SCENARIO...]",
		Short: "Run many seeds of many scenarios",
		Long: `Run scenarios with one seed after the other: those that are named, or the whole library.
Ends after --seeds of each, or when --for is over. Every scenario and seed that goes
wrong is printed, and with --save written down as a scenario file that replays it.`,
		Example: `  netsim sweep --seeds 20
  netsim sweep split-brain demo --for 2h --save failures`,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := chosen(args)
			if err != nil {
				return err
			}
			e, err := makeEngine(cmd.Context(), parallel)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if lasts > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, lasts)
				defer cancel()
			}
			w := &sweep{e: e, out: cmd.OutOrStdout(), save: save, json: asJSON, rows: map[string]*row{}, failures: []failedRun{}}
			if asJSON {
				w.out = io.Discard
			}
			if err := w.run(ctx, list, first, seeds); err != nil && (lasts == 0 || cmd.Context().Err() != nil) {
				return err
			}
			return w.end(cmd.OutOrStdout(), list)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&first, "seed", 1, "the first seed")
	f.IntVar(&seeds, "seeds", 10, "so many seeds of each scenario; 0 is without end")
	f.DurationVar(&lasts, "for", 0, "end after so much real time; 0 is when the seeds are done")
	f.IntVar(&parallel, "parallel", 0, "so many at once (default one for each core)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object at the end")
	f.StringVar(&save, "save", "", "write scenarios that went wrong to this `directory`")
	return cmd
}

// A sweep runs many seeds.
type sweep struct {
	e    *engine
	out  io.Writer
	save string
	json bool

	mu       sync.Mutex
	rows     map[string]*row // guarded by mu, like all below: by the scenario's name
	failures []failedRun     // as they came
}

// A row is what came of one scenario.
type row struct {
	Scenario   string  `json:"scenario"`
	Runs       int     `json:"runs"`
	Failed     int     `json:"failed"`
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

// run goes through the seeds, and through the scenarios with each.
func (w *sweep) run(ctx context.Context, list []source, first uint64, seeds int) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, cap(w.e.slots))
	for n := 0; seeds == 0 || n < seeds; n++ {
		for _, s := range list {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			wg.Go(func() {
				defer func() { <-room }()
				seed := first + uint64(n)
				r, err := w.e.run(ctx, s, runOptions{seed: seed})
				if ctx.Err() == nil {
					w.take(s, seed, r, err)
				}
			})
		}
	}
	return nil
}

func (w *sweep) take(s source, seed uint64, r *netsim.Report, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.rows[s.Name]
	if x == nil {
		x = &row{Scenario: s.Name}
		w.rows[s.Name] = x
	}
	x.Runs++
	what := ""
	switch {
	case err != nil:
		what = err.Error()
	case !r.OK():
		what = r.Why()
	}
	if r != nil {
		x.Virtual, x.Wall = x.Virtual+r.Virtual, x.Wall+r.Wall
	}
	if what == "" {
		return
	}
	x.Failed++
	f := failedRun{s.Name, seed, what, fmt.Sprintf("netsim run %s --seed %d -v", quote(s.name), seed)}
	w.failures = append(w.failures, f)
	fmt.Fprintf(w.out, "%s seed %d: %s\n  replay: %s\n", s.Name, seed, what, f.Replay)
	if w.save != "" {
		if err := saveFailure(w.save, s, seed, what, err); err != nil {
			fmt.Fprintf(w.out, "  not saved: %v\n", err)
		}
	}
}

// saveFailure writes a scenario whose faults are counted out for the seed.
func saveFailure(dir string, s source, seed uint64, what string, err error) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	base := filepath.Join(dir, fmt.Sprintf("%s-%d", s.Name, seed))
	var f *failure
	if errors.As(err, &f) {
		if err := writeFile(base+".stderr", []byte(f.stderr)); err != nil {
			return err
		}
	}
	return writeFile(base+".yaml", append([]byte("# "+what+"\n"), s.Replay(seed).Print()...))
}

// end prints what came of each scenario.
func (w *sweep) end(out io.Writer, list []source) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum := swept{Scenarios: []*row{}, Failures: w.failures}
	for _, s := range list {
		if x := w.rows[s.Name]; x != nil {
			x.UpperBound = netsim.UpperBound(x.Runs, x.Failed)
			sum.Scenarios, sum.Runs, sum.Failed = append(sum.Scenarios, x), sum.Runs+x.Runs, sum.Failed+x.Failed
		}
	}
	if w.json {
		if err := json.NewEncoder(out).Encode(sum); err != nil {
			return err
		}
	} else {
		sum.table(out)
	}
	if sum.Failed > 0 {
		return errBroken
	}
	return nil
}

func (s *swept) table(out io.Writer) {
	fmt.Fprintf(out, "%-20s %6s %6s %8s  %s\n", "scenario", "runs", "wrong", "speed", "seeds that go wrong at most (95 %)")
	for _, x := range s.Scenarios {
		fmt.Fprintf(out, "%-20s %6d %6d %7.0fx  %.2f %%\n", x.Scenario, x.Runs, x.Failed, x.Virtual/max(x.Wall, 0.001), 100*x.UpperBound)
	}
	fmt.Fprintf(out, "%-20s %6d %6d\n", "all", s.Runs, s.Failed)
}
