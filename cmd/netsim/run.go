package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim"
)

func runCommand() *cobra.Command {
	var o runOptions
	var runs, parallel int
	var asJSON, verbose bool
	var html string
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario, and judge it",
		Long: `Run a scenario, a file or one of the library (netsim ls), and judge it. With --runs it
is run with so many seeds, and what is shown is how many went wrong, and the share of
all seeds that do at most, with 95 % confidence.`,
		Example: `  netsim run demo
  netsim run field.yaml --seed 7 -v
  netsim run field.yaml --runs 100 --html report.html`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open(args[0])
			if err != nil {
				return err
			}
			if runs < 1 {
				return usagef("--runs %d: want 1 or more", runs)
			}
			if runs > 1 && o.trace+o.log != "" {
				return usagef("--trace and --log are for one run: choose its --seed")
			}
			if err := writable(html); err != nil {
				return err
			}
			if o.seed, err = startSeed(cmd, o.seed, s.Seed); err != nil {
				return err
			}
			e, err := makeEngine(cmd.Context(), parallel)
			if err != nil {
				return err
			}
			p := newProgress(cmd.ErrOrStderr(), runs, verbose, asJSON)
			reports, err := e.series(cmd.Context(), s, o, runs, p, "netsim run "+quote(s.name))
			if err != nil {
				return err
			}
			if html != "" {
				if err := writeHTML(html, s, reports); err != nil {
					return err
				}
			}
			return show(cmd.OutOrStdout(), reports, asJSON)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&o.seed, "seed", 0, "seed of the first run (default the scenario's)")
	f.IntVar(&runs, "runs", 1, "so many runs, with this seed and those after it")
	f.IntVar(&parallel, "parallel", 0, "so many at once (default one for each core)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object: of the run, or with --runs of all")
	f.BoolVarP(&verbose, "verbose", "v", false, "show everything that happens")
	f.StringVar(&html, "html", "", "write a report for a browser to this `file`")
	f.StringVar(&o.trace, "trace", "", "record every event to this `file`")
	f.StringVar(&o.log, "log", "", "write what the nodes log to this `file`")
	return cmd
}

// series runs s with o.seed and the seeds after it. A run of several that dies is one
// that went wrong; a single one that dies is an error. command is what replays a run,
// without its seed.
func (e *engine) series(ctx context.Context, s source, o runOptions, runs int, p *progress, command string) ([]*netsim.Report, error) {
	p.warn(e.loose)
	defer p.end()
	return e.many(runs, func(i int) (*netsim.Report, error) {
		one := o
		one.seed += uint64(i)
		if runs == 1 {
			one.said, one.beat = p.note, p.beat
		}
		r, err := e.run(ctx, s, one)
		var f *failure
		if runs > 1 && errors.As(err, &f) {
			r, err = &netsim.Report{Schema: netsim.ReportSchema, Scenario: s.Name, Seed: one.seed, Died: f.Error()}, nil
		}
		if err != nil {
			return nil, err
		}
		r.Replay = fmt.Sprintf("%s --seed %d -v", command, r.Seed)
		p.done(r)
		return r, nil
	})
}

// many does n runs, as many at once as the engine has room for, and returns their
// reports in order.
func (e *engine) many(n int, one func(i int) (*netsim.Report, error)) ([]*netsim.Report, error) {
	reports, errs := make([]*netsim.Report, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { reports[i], errs[i] = one(i) })
	}
	wg.Wait()
	for _, err := range errs { // one is enough: an interrupt ends all in the same way
		var f *failure
		if errors.As(err, &f) {
			return nil, fmt.Errorf("%w%s", f, f.lastWords())
		}
		if err != nil {
			return nil, err
		}
	}
	return reports, nil
}

// show prints the reports and says whether all went well.
func show(out io.Writer, reports []*netsim.Report, asJSON bool) error {
	var err error
	switch {
	case !asJSON:
		err = netsim.Text(out, reports)
	case len(reports) == 1:
		err = json.NewEncoder(out).Encode(reports[0])
	default:
		err = json.NewEncoder(out).Encode(netsim.NewSeries(reports))
	}
	if err != nil {
		return err
	}
	for _, r := range reports {
		if !r.OK() {
			return errBroken
		}
	}
	return nil
}
