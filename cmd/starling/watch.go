package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// codeOf is how a rollout with this status lets a wait end.
func codeOf(status string) api.Code {
	switch status {
	case "done":
		return api.Done
	case "held":
		return api.Waiting
	case "running", "reverting":
		return api.TimedOut
	}
	return api.Halted
}

// outcomeOf is nil for a rollout that is done, else how the program ends.
func outcomeOf(r *node.RolloutView) error {
	if code := codeOf(r.Status); code != api.Done {
		return outcome{code}
	}
	return nil
}

func (c *cli) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch [ID]",
		Short: "Print one line for each step of a rollout, until it is over",
		Long: `Print one line whenever the rollout or a robot in it moves, until the rollout is
over. Leaving the watch changes nothing. The exit code is that of rollout wait.`,
		Example: `  starling rollout watch
  starling rollout watch 3
  starling rollout watch --json --timeout 1h`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args)
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			r, err := c.follow(cmd.Context(), cl, id, nil)
			if err != nil {
				return err
			}
			return outcomeOf(r)
		},
	}
}

// follow prints the steps of a rollout until it is over, or has one of the statuses
// in stop, and returns it. An id of 0 is the last rollout.
func (c *cli) follow(ctx context.Context, cl *api.Client, id uint64, stop []string) (*node.RolloutView, error) {
	w := &watcher{c: c, cl: cl}
	for s, err := range cl.Watch(ctx) {
		if err != nil {
			return nil, err
		}
		r, err := (&view{status: s}).current(0)
		if err != nil {
			return nil, err
		}
		if id == 0 {
			id = r.ID
		}
		if r.ID != id {
			d, err := cl.Rollout(ctx, id)
			if err != nil {
				return nil, err
			}
			r = &d.RolloutView
			r.Final = true // another was started since
		}
		if err := w.show(ctx, s, r); err != nil {
			return nil, err
		}
		if r.Final || slices.Contains(stop, r.Status) {
			return r, nil
		}
	}
	return nil, ended(ctx, "stopped watching; rollout %d goes on", id)
}

// A watcher prints what is new.
type watcher struct {
	c      *cli
	cl     *api.Client
	line   string
	robots map[string]string // what was last said of each
}

func (w *watcher) show(ctx context.Context, s *node.Status, r *node.RolloutView) error {
	at := s.Time.Local().Format("15:04:05")
	if err := w.showRobots(ctx, at, r); err != nil {
		return err
	}
	line := r.Text
	if s.Halted {
		line = "HALTED: " + s.Halt + "; " + line
	}
	if n := r.Counts; n != nil {
		line += fmt.Sprintf("   %d/%d run it", n.Committed, n.Robots)
		if n.Failed > 0 {
			line += fmt.Sprintf(", %d failed", n.Failed)
		}
	}
	if line == w.line {
		return nil
	}
	w.line = line
	if w.c.json {
		w.c.printLine(schemaed(r))
		return nil
	}
	colour := map[string]string{"done": green, "held": yellow, "reverting": red, "reverted": red}[r.Status]
	w.c.say("%s  #%d %s", at, r.ID, w.c.paint(colour, line))
	return nil
}

// A robotStep is one robot's move, for tools.
type robotStep struct {
	Schema  string    `json:"schema"`
	Time    time.Time `json:"time"`
	Rollout uint64    `json:"rollout"`
	Robot   string    `json:"robot"`
	Text    string    `json:"text"`
}

// showRobots prints the robots that have moved.
func (w *watcher) showRobots(ctx context.Context, at string, r *node.RolloutView) error {
	all, err := w.cl.Nodes(ctx)
	if err != nil {
		return err
	}
	first := w.robots == nil
	if first {
		w.robots = map[string]string{}
	}
	for i := range all.Nodes {
		n := &all.Nodes[i]
		text := robotText(n, r)
		if text == "" || w.robots[string(n.ID)] == text {
			continue
		}
		w.robots[string(n.ID)] = text
		if first && strings.HasPrefix(text, "runs") {
			continue // as it was before
		}
		if w.c.json {
			w.c.printLine(robotStep{"starling.step/v1", all.Time, r.ID, string(n.ID), text})
		} else {
			w.c.say("%s  #%d   %s %s", at, r.ID, n.ID, text)
		}
	}
	return nil
}

// robotText is how far a robot is with the rollout's release; empty if it has
// nothing to do with it.
func robotText(n *node.NodeView, r *node.RolloutView) string {
	if n.State != "alive" && n.State != "suspect" && slices.Contains(r.Open, string(n.ID)) {
		return "is " + stateWords(n) + "; its batch waits for it: starling rollout explain " + string(n.ID)
	}
	for _, rep := range n.Reports {
		if rep.Component != r.Component || rep.Release == nil || rep.Release.Digest != r.Release.Digest {
			continue
		}
		why := ""
		if rep.Reason != "" {
			why = ": " + rep.Reason
		}
		switch {
		case rep.Result == "failed":
			return fmt.Sprintf("failed with %s, runs %s%s", rep.Release, rep.Running, why)
		case rep.Phase == "committed":
			return fmt.Sprintf("runs %s", rep.Running)
		default:
			return fmt.Sprintf("%s %s%s", rep.Phase, rep.Release, why)
		}
	}
	return ""
}

func (c *cli) rolloutWait() *cobra.Command {
	var states []string
	cmd := &cobra.Command{
		Use:   "wait [ID]",
		Short: "Wait quietly until a rollout is over, or stands as named",
		Long: `Wait until the rollout is over, or has one of the statuses named by --for. Where it
then stands is the exit code: 0 done, 3 taken back or given up, 4 held, 5 still
going on when --timeout was over.`,
		Example: `  starling rollout wait --timeout 2h
  starling rollout wait 3 --for done,reverted,held
  starling rollout wait --for held --json`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range states {
				if !slices.Contains(rolloutStates, s) {
					return usageError(fmt.Sprintf("--for %q: want some of %s", s, strings.Join(rolloutStates, ", ")))
				}
			}
			id, err := parseID(args)
			if err != nil {
				return err
			}
			return c.wait(cmd.Context(), id, states)
		},
	}
	cmd.Flags().StringSliceVar(&states, "for", []string{"done", "reverted", "held"}, "statuses that end the wait; a rollout that is over always does")
	return cmd
}

// rolloutStates are the statuses that can be waited for.
var rolloutStates = []string{"running", "held", "reverting", "done", "reverted", "aborted", "expired", "superseded"}

func (c *cli) wait(ctx context.Context, id uint64, states []string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	last := "nothing was heard of it"
	for s, err := range cl.Watch(ctx) {
		if err != nil {
			return err
		}
		r, err := (&view{status: s}).current(0)
		if err != nil {
			return err
		}
		if id == 0 {
			id = r.ID
		}
		if r.ID != id { // it is over: another was started since
			d, err := cl.Rollout(ctx, id)
			if err != nil {
				return err
			}
			r = &d.RolloutView
			r.Final = true
		}
		if last = r.Text; r.Final || slices.Contains(states, r.Status) {
			if err := c.answer(schemaed(r), func() { c.say("%s", r.Text) }); err != nil {
				return err
			}
			if slices.Contains([]string{"running", "reverting"}, r.Status) && slices.Contains(states, r.Status) {
				return nil // just what was waited for
			}
			return outcomeOf(r)
		}
	}
	return ended(ctx, "still waiting: %s", last)
}
