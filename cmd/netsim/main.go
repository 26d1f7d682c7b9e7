// Command netsim runs swarms in virtual time: the same nodes as on robots, on a
// network in memory, under faults, replayed exactly from a seed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim/scenario"
)

// Exit codes.
const (
	exitError       = 1   // the simulation itself did not work
	exitUsage       = 2   // a command, a flag or a scenario that makes no sense
	exitBroken      = 10  // a promise was broken, or something expected did not come
	exitInterrupted = 130 // Ctrl-C
)

// errBroken says that runs went wrong; what went wrong has been printed.
var errBroken = errors.New("not everything went as it should")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is one command line; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "netsim",
		Short: "Run swarms in virtual time, under faults, replayed exactly from a seed",
		Long: `netsim runs whole Starling nodes on a network in memory, in virtual time. A scenario
is a YAML file: robots, radios, releases, what operators do, what goes wrong, and what
is expected. The same scenario and seed give the same run.

Exit codes: 0 all went as it should; 10 a promise was broken or something expected did
not come; 2 a bad command line or scenario; 1 the simulation did not work; 130 Ctrl-C.`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	root.AddCommand(runCommand(), sweepCommand(), shrinkCommand(), replayCommand(), rehearseCommand(), besideCommand(), lsCommand(), childCommand())
	root.Args, root.RunE = noArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "netsim: stopped")
		return exitInterrupted
	case errors.Is(err, errBroken):
		return exitBroken
	}
	fmt.Fprintf(stderr, "netsim: %s\n", strings.TrimPrefix(err.Error(), "netsim: ")) // as package netsim says it
	if errors.As(err, &usage{}) || errors.Is(err, scenario.ErrScenario) {
		return exitUsage
	}
	return exitError
}

// usage is a mistake on the command line.
type usage struct{ error }

func usagef(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// exactArgs is cobra's, as a mistake on the command line.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("want netsim %s; netsim %s --help says more", cmd.Use, cmd.Name())
		}
		return nil
	}
}

// noArgs refuses words that mean nothing, such as a command that there is not.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("no command %q; netsim --help lists them", args[0])
	}
	return nil
}

// A listed scenario is what ls prints of one, for tools.
type listed struct {
	Name     string  `json:"name"`
	About    string  `json:"about"`
	Machines int     `json:"machines"`
	Faults   int     `json:"faults"`
	Seconds  float64 `json:"duration_seconds"`
}

func lsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List the scenarios that come with netsim", Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []listed{}
			for _, e := range scenario.Library() {
				m := e.Scenario.Measure()
				list = append(list, listed{e.Name, e.About, m.Machines, m.Faults, m.Duration.Seconds()})
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			for _, l := range list {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-20s %s\n", l.Name, l.About); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}
