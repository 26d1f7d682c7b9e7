package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
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
		Long: `Run scenarios with one seed after the other: those that are named, or the whole
library but for swarms of more than 60 machines.
Ends after --seeds of each, or when --for is over; with --for alone it goes on until then.
Every scenario and seed that goes wrong is printed at once as the command that runs it
again, and with --save written down as a scenario file. The table at the end, also after
Ctrl-C, counts the runs that came to an end.`,
		Example: `  netsim sweep --seeds 20
  netsim sweep split-brain demo --for 2h --save failures
  netsim sweep --for 8h --seed 1000 --json > night.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := sweepable(seeds, lasts, first); err != nil {
				return err
			}
			list, err := chosen(args)
			if err != nil {
				return err
			}
			if save != "" { // before hours of runs, not after
				if err := makeDir(save); err != nil {
					return usagef("--save: %w", err)
				}
			}
			e, err := makeEngine(cmd.Context(), parallel)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if lasts > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, lasts, errTimeOver)
				defer cancel()
				if !cmd.Flags().Changed("seeds") {
					seeds = 0
				}
			}
			w := &sweep{
				e: e, out: cmd.OutOrStdout(), p: newProgress(cmd.ErrOrStderr(), 0, false, asJSON), save: save, json: asJSON,
				rows: map[string]*row{}, failures: []failedRun{},
			}
			if asJSON {
				w.out = io.Discard
			}
			w.p.warn(e.loose)
			err = w.run(ctx, list, first, seeds)
			if errors.Is(err, errTimeOver) {
				err = nil
			}
			if err := w.end(cmd.OutOrStdout(), list); err != nil {
				return err
			}
			if err != nil {
				return err
			}
			return w.verdict()
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&first, "seed", 1, "the first seed")
	f.IntVar(&seeds, "seeds", 10, "so many seeds of each scenario; 0, or none with --for, is without end")
	f.DurationVar(&lasts, "for", 0, "end after so much real time; 0 is when the seeds are done")
	f.IntVar(&parallel, "parallel", 0, "so many at once (default one for each core)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object at the end")
	f.StringVar(&save, "save", "", "write scenarios that went wrong to this `directory`")
	return cmd
}

// errTimeOver ends a sweep as it was asked to.
var errTimeOver = errors.New("the time of --for is over")

// sweepable says what of these makes no sweep.
func sweepable(seeds int, lasts time.Duration, first uint64) error {
	switch {
	case seeds < 0:
		return usagef("--seeds %d: want 0, which is without end, or more", seeds)
	case lasts < 0:
		return usagef("--for %s: want a time above 0", lasts)
	case first == 0:
		return usagef("--seed 0: seeds begin at 1")
	}
	return nil
}

// A sweep runs many seeds.
type sweep struct {
	e    *engine
	out  io.Writer
	p    *progress
	save string
	json bool

	mu       sync.Mutex
	rows     map[string]*row // guarded by mu, like all below: by the source's name
	failures []failedRun     // as they came
	runs     int
}

// run goes through the seeds, and through the scenarios with each. It returns why it
// ended early: the cause of ctx, or that runs cannot be done here at all.
func (w *sweep) run(ctx context.Context, list []source, first uint64, seeds int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer w.p.end()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, cap(w.e.slots))
	for n := 0; seeds == 0 || n < seeds; n++ {
		for _, s := range list {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			wg.Go(func() {
				defer func() { <-room }()
				seed := first + uint64(n)
				r, err := w.e.run(ctx, s, runOptions{seed: seed})
				var died *failure
				switch {
				case ctx.Err() != nil: // cut off: it says nothing about the seed
				case err != nil && !errors.As(err, &died): // no disk, no memory: not the seed's fault
					stop(fmt.Errorf("%s seed %d: %w", s.label(), seed, err))
				default:
					w.take(s, seed, r, err)
				}
			})
		}
	}
	wg.Wait()
	return context.Cause(ctx)
}

// take counts a run that came to its end.
func (w *sweep) take(s source, seed uint64, r *netsim.Report, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.rows[s.name]
	if x == nil {
		x = &row{Scenario: s.label()}
		w.rows[s.name] = x
	}
	what := ""
	switch {
	case err != nil:
		what = err.Error()
	case !r.OK():
		what = r.Why()
	}
	x.add(r, seed, what != "")
	w.runs++
	if what != "" {
		w.fails(s, seed, what, err)
	}
	w.p.far(fmt.Sprintf("%d runs, %d went wrong; the last was %s seed %d", w.runs, len(w.failures), s.label(), seed))
}

// fails tells of a run that went wrong; the caller holds mu.
func (w *sweep) fails(s source, seed uint64, what string, err error) {
	f := failedRun{s.label(), seed, what, fmt.Sprintf("netsim run %s --seed %d -v", quote(s.name), seed)}
	w.failures = append(w.failures, f)
	w.p.end()
	fmt.Fprintf(w.out, "%s seed %d: %s\n  replay: %s\n", s.label(), seed, what, f.Replay)
	if w.save != "" {
		if err := saveFailure(w.save, s, seed, what, err); err != nil {
			fmt.Fprintf(w.out, "  not saved: %v\n", err)
		}
	}
}

// verdict is what the sweep says as a whole. Without a single run it says nothing.
func (w *sweep) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.failures) > 0:
		return errBroken
	case w.runs == 0:
		return errors.New("no run came to its end in the time of --for: give it more")
	}
	return nil
}

// saveFailure writes a scenario whose faults are counted out for the seed.
func saveFailure(dir string, s source, seed uint64, what string, err error) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	base := filepath.Join(dir, fmt.Sprintf("%s-%d", strings.ReplaceAll(s.label(), "/", "_"), seed))
	var f *failure
	if errors.As(err, &f) {
		if err := writeFile(base+".stderr", []byte(f.stderr)); err != nil {
			return err
		}
	}
	if err := s.traces(dir); err != nil { // beside it, as it names them
		return err
	}
	return writeFile(base+".yaml", append([]byte("# "+what+"\n"), s.Replay(seed).Print()...))
}
