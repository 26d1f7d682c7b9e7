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
	"time"

	"github.com/spf13/cobra"
)

// demoLimit ends a demo that hangs.
const demoLimit = 5 * time.Minute

// demoOptions are the flags of the demo.
type demoOptions struct {
	robots int
	keep   bool
	json   bool
	stop   string
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole swarm on this machine: a good release goes out, a bad one is thrown back",
		Long: `Run a whole swarm on this machine, with the production code: an operator's node
and robots of two models, each a process of its own with its own directory, key
and ports. Release 1.1 is shipped while the operator's node, a downloading robot
and the leader are killed; release 1.2 fails its health probe and is thrown back.
The demo ends with a summary from the robots' own records, and exits 0 only if
every fact in it held.`,
		Example: `  starling demo
  starling demo --robots 20 --json
  starling demo --keep`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			jsonOut, err := cmd.Flags().GetBool("json")
			o.json = err == nil && jsonOut
			return runDemo(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().IntVar(&o.robots, "robots", 12, "how many robots, 6 to 40")
	c.Flags().BoolVar(&o.keep, "keep", false, "leave the swarm up, and print how to ship a directory of yours to it")
	c.Flags().StringVar(&o.stop, "stop", "", "end a swarm that --keep left in this `directory`")
	return c
}

// runDemo runs the story and cleans up after it, also when it is interrupted.
func runDemo(ctx context.Context, o demoOptions, out, errOut io.Writer) (err error) {
	if o.stop != "" {
		return stopDemo(o.stop, out)
	}
	if o.robots < 6 || o.robots > 40 {
		return usageError(fmt.Sprintf("--robots %d: want 6 to 40, so that there are canaries, two waves and four voters", o.robots))
	}
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, demoLimit, fmt.Errorf("the demo did not end within %s", demoLimit))
	defer stop()
	dir, err := os.MkdirTemp("", "starling-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	lines := out
	if o.json {
		lines = errOut
	}
	d := &demo{o: o, dir: dir, out: lines, began: time.Now(), robots: map[string]*demoRobot{}}
	defer func() {
		if o.keep && err == nil {
			return
		}
		err = errors.Join(err, d.end())
	}()
	if err := d.play(ctx); err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // an interrupt explains itself
			d.showLogs(errOut)
		}
		return err
	}
	if o.keep {
		d.sayHowToGoOn()
	}
	if o.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(d.summary); err != nil {
			return err
		}
	}
	return d.verdict()
}

// sayHowToGoOn tells what --keep left behind.
func (d *demo) sayHowToGoOn() {
	self := d.self
	if strings.Contains(self, "go-build") { // go run removes what it built
		self = "go run ./cmd/starling"
	}
	fmt.Fprintf(d.out, `
The swarm is up in %s. Ship a directory of yours to it; it needs an
executable file "run" that keeps running:

  export STARLING_PASSPHRASE=%s STARLING_HOME=%s
  %s ship ./my-robot --version 1.3 --run run --yes
  %s status

End it with:

  %s demo --stop %s
`, d.dir, demoPassphrase, d.home(), self, self, self, d.dir)
}
