package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// childName is the hidden command that a run's own process executes.
const childName = "one-run"

// What the parent puts into the directory of a run: names of the same length for every
// run, since the length of a path moves memory.
const (
	stateDir  = "swarm"
	tracesDir = "traces"
	planFile  = "plan"
)

// A line is what a child prints, as JSON: what happened, how far it is, and in the end
// the report.
type line struct {
	Note   *netsim.Note   `json:"note,omitempty"`
	Beat   *netsim.Beat   `json:"beat,omitempty"`
	Report *netsim.Report `json:"report,omitempty"`
}

// childCommand runs one scenario, read from standard input, in a bubble, in the
// working directory, which holds no more than what the parent put there. Virtual time
// needs a process of its own.
func childCommand() *cobra.Command {
	var seed uint64
	var trace, log string
	cmd := &cobra.Command{
		Use: childName, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := io.ReadAll(cmd.InOrStdin())
			if err != nil {
				return err
			}
			s, err := scenario.Parse("standard input", text)
			if err != nil {
				return err
			}
			o := netsim.Options{Seed: seed, Dir: stateDir, Files: os.DirFS(tracesDir)}
			if o.Plan, err = readPlan(planFile); err != nil {
				return err
			}
			if o.Trace, err = tracer(trace); err != nil {
				return err
			}
			if o.Log, err = logger(log); err != nil {
				return err
			}
			inBubble(s, o, json.NewEncoder(cmd.OutOrStdout()))
			return nil
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "")
	cmd.Flags().StringVar(&trace, "trace", "", "")
	cmd.Flags().StringVar(&log, "log", "", "")
	return cmd
}

// inBubble runs s and ends the process. Whether anybody listens shows when the report
// is printed; lines before it may be lost.
func inBubble(s *scenario.Scenario, o netsim.Options, out *json.Encoder) {
	o.Said = func(n netsim.Note) { _ = out.Encode(line{Note: &n}) }
	o.Beat = func(b netsim.Beat) { _ = out.Encode(line{Beat: &b}) }
	exact.InBubble(exact.Bubble{Seed: o.Seed, Start: netsim.Start}, func(ctx context.Context) int {
		r, err := netsim.Run(ctx, s, o)
		if err == nil {
			r.Exact, r.Loose = exact.Pinned(), exact.Loose()
			err = out.Encode(line{Report: r})
		}
		if o.Trace != nil {
			err = errors.Join(err, o.Trace.Flush())
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "netsim: %v\n", err)
			return exitError
		}
		return 0
	})
}

// readPlan reads a plan whose signature the parent has checked; nil if there is none.
func readPlan(path string) (*rollout.Plan, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return netsim.DecodePlan(data)
}

func tracer(path string) (*exact.Writer, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return exact.NewWriter(f), nil // closed by the end of the process
}

// logger writes what the nodes log; an empty path discards it.
func logger(path string) (*slog.Logger, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug})), nil
}
