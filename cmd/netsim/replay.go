package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim"
	"github.com/starling-swarm/starling/netsim/exact"
)

func replayCommand() *cobra.Command {
	var seed uint64
	var times, parallel int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "replay SCENARIO",
		Short: "Run a scenario again and again with one seed, and compare the runs event for event",
		Long: `Run a scenario several times with the same seed. All runs must be equal, packet for
packet; if two are not, the first event in which they differ is shown.`,
		Example: "  netsim replay demo --seed 7 --times 10",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open(args[0])
			if err != nil {
				return err
			}
			if times < 2 {
				return usagef("--times %d: want 2 or more", times)
			}
			if seed, err = startSeed(cmd, seed, s.Seed); err != nil {
				return err
			}
			e, err := makeEngine(cmd.Context(), parallel)
			if err != nil {
				return err
			}
			return e.replay(cmd, s, seed, times, asJSON)
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 0, "the seed (default the scenario's)")
	cmd.Flags().IntVar(&times, "times", 2, "how often")
	cmd.Flags().IntVar(&parallel, "parallel", 0, "so many at once (default one for each core)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// A replayed is what came of running a scenario again and again, for tools.
type replayed struct {
	Scenario string   `json:"scenario"`
	Seed     uint64   `json:"seed"`
	Runs     int      `json:"runs"`
	Equal    int      `json:"equal"`  // to the first, it included
	Digest   string   `json:"digest"` // of the first
	Exact    bool     `json:"exact"`  // the program is built for it, and all runs are equal
	Differ   []string `json:"differ"` // where others part from the first
}

// replay compares runs; the traces of the first and of those that differ from it are
// looked at.
func (e *engine) replay(cmd *cobra.Command, s source, seed uint64, times int, asJSON bool) error {
	dir, err := tempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	trace := func(i int) string { return filepath.Join(dir, fmt.Sprintf("trace.%04d", i)) }
	reports, err := e.many(times, func(i int) (*netsim.Report, error) {
		return e.run(cmd.Context(), s, runOptions{seed: seed, trace: trace(i)})
	})
	if err != nil {
		return err
	}
	out := replayed{Scenario: s.Name, Seed: seed, Runs: times, Equal: 1, Digest: reports[0].Digest, Exact: reports[0].Exact, Differ: []string{}}
	for i, r := range reports[1:] {
		if r.Digest == reports[0].Digest {
			out.Equal++
			continue
		}
		d, err := difference(trace(0), trace(i+1))
		if err != nil {
			return err
		}
		out.Differ = append(out.Differ, fmt.Sprintf("run %d is another one than run 1: %s", i+2, d))
	}
	out.Exact = out.Exact && out.Equal == times
	if err := out.show(cmd.OutOrStdout(), asJSON); err != nil {
		return err
	}
	if out.Equal < times {
		return errBroken
	}
	return nil
}

func (r *replayed) show(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	for _, d := range r.Differ {
		fmt.Fprintln(w, d)
	}
	_, err := fmt.Fprintf(w, "%s seed %d: %d of %d runs are equal, digest %.16s, exact %t\n", r.Scenario, r.Seed, r.Equal, r.Runs, r.Digest, r.Exact)
	return err
}

func difference(a, b string) (string, error) {
	fa, err := os.Open(a)
	if err != nil {
		return "", err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return "", err
	}
	defer fb.Close()
	d, err := exact.Compare(fa, fb, 5)
	if err != nil || d == nil {
		return "in packets only", err
	}
	return d.String(), nil
}
