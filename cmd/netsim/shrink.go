package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim/scenario"
)

func shrinkCommand() *cobra.Command {
	var seed uint64
	var parallel int
	var budget time.Duration
	var out string
	cmd := &cobra.Command{
		Use:   "shrink SCENARIO",
		Short: "Find the smallest scenario that still goes wrong in the same way",
		Long: `Leave out faults, steps, robots, time and sizes as long as the same promise is broken
with the same seed, and print the smallest scenario found, also after Ctrl-C.
Where no promise is broken, but something expected did not come, only faults, robots and
sizes are left out, and the story must come as far as before: without its steps, or
without the time, nothing could come.`,
		Example: "  netsim shrink split-brain --seed 41 -o small.yaml",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open(args[0])
			if err != nil {
				return err
			}
			if budget <= 0 {
				return usagef("--for %s: want a time above 0", budget)
			}
			if err := writable(out); err != nil {
				return err
			}
			if seed, err = startSeed(cmd, seed, s.Seed); err != nil {
				return err
			}
			e, err := makeEngine(cmd.Context(), parallel)
			if err != nil {
				return err
			}
			h := &shrinker{e: e, from: s, seed: seed, end: time.Now().Add(budget), say: func(format string, a ...any) {
				fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", a...)
			}}
			small, stopped := h.shrink(cmd.Context())
			if small == nil {
				return stopped
			}
			text := append(fmt.Appendf(nil, "# %s, with seed %d\n", h.kind, seed), small.Print()...)
			if out != "" {
				err = writeFile(out, text)
			} else {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return errors.Join(err, stopped)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&seed, "seed", 0, "the seed (default the scenario's)")
	f.DurationVar(&budget, "for", 30*time.Minute, "end after so much real time")
	f.IntVar(&parallel, "parallel", 0, "so many at once (default one for each core)")
	f.StringVarP(&out, "out", "o", "", "write the scenario to this `file`")
	return cmd
}

// A shrinker looks for a smaller scenario with the same failure.
type shrinker struct {
	e     *engine
	from  source
	seed  uint64
	end   time.Time
	say   func(format string, args ...any)
	kind  string        // of the failure
	unmet bool          // no promise was broken: something expected did not come
	once  time.Duration // real time that one run of the first scenario took
	tried int
}

// shrink takes the first smaller scenario that still fails, again and again. If ctx ends it
// returns the smallest so far with the error; nil if it knows of none that fails.
func (h *shrinker) shrink(ctx context.Context) (*scenario.Scenario, error) {
	s := h.from.Replay(h.seed)
	began := time.Now()
	var err error
	h.kind, h.unmet, err = h.fails(ctx, s)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case h.kind == "":
		return nil, usagef("%s with seed %d goes well: there is nothing to shrink", s.Name, h.seed)
	}
	h.once = time.Since(began)
	h.say("fails: %s; %s", h.kind, sizeOf(s))
	inTime, cancel := context.WithDeadline(ctx, h.end)
	defer cancel()
	for {
		smaller := h.step(inTime, s)
		if smaller == nil {
			h.say("%d candidates tried", h.tried)
			return s, ctx.Err()
		}
		s = smaller
		h.say("still fails: %s", sizeOf(s))
	}
}

// step tries the candidates, as many at once as there is room for, and returns the
// first in their order that fails alike; nil if none does or the time is over.
func (h *shrinker) step(ctx context.Context, s *scenario.Scenario) *scenario.Scenario {
	var batch []*scenario.Scenario
	try := func() *scenario.Scenario {
		kinds := make(chan int, len(batch))
		for i, c := range batch {
			go func() {
				if kind, _, err := h.fails(ctx, c); err == nil && kind == h.kind {
					kinds <- i
				} else {
					kinds <- len(batch)
				}
			}()
		}
		best := len(batch)
		for range batch {
			best = min(best, <-kinds)
		}
		h.tried += len(batch)
		defer func() { batch = nil }()
		if best < len(batch) {
			return batch[best]
		}
		return nil
	}
	smaller := s.Smaller
	if h.unmet {
		smaller = s.Easier
	}
	for c := range smaller() {
		if ctx.Err() != nil {
			return nil
		}
		if batch = append(batch, c); len(batch) == cap(h.e.slots) {
			if found := try(); found != nil {
				return found
			}
		}
	}
	return try()
}

// fails is the kind of s's failure: the invariant that was broken first, what was
// expected and how the story ended without it, or how the simulation died; empty if all
// went well. unmet says that it is only something expected that did not come. An error is
// why s could not be run at all.
func (h *shrinker) fails(ctx context.Context, s *scenario.Scenario) (kind string, unmet bool, err error) {
	var budget time.Duration // the first run has none
	if h.once > 0 {
		budget = max(10*h.once, time.Minute)
	}
	r, err := h.e.run(ctx, h.from.with(s), runOptions{seed: h.seed, budget: budget})
	var died *failure
	switch {
	case ctx.Err() != nil:
		return "", false, nil
	case errors.Is(err, context.DeadlineExceeded):
		return "takes too long", false, nil
	case errors.As(err, &died):
		return err.Error(), false, nil
	case err != nil:
		return "", false, err
	}
	return r.End(), len(r.Violations) == 0 && len(r.Unmet) > 0, nil
}

func sizeOf(s *scenario.Scenario) string {
	m := s.Measure()
	return fmt.Sprintf("%d faults, %d steps, %d machines, %v", m.Faults, m.Steps, m.Machines, m.Duration)
}
