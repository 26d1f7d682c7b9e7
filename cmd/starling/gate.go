package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) gateCommand() *cobra.Command {
	return group("gate", "Say when this robot may switch, and when not",
		c.gateAction("permit", "Grant: it is safe to switch until the time is over (gate.mode permit)"),
		c.gateAction("hold", "Hold: do not switch until released or the time is over (gate.mode hold)"),
		c.gateAction("release", "Take back this owner's permit or hold"),
		c.gateShow())
}

func (c *cli) gateShow() *cobra.Command {
	var component string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show how this robot's gate stands",
		Example: `  starling gate show
  starling gate show --component app
  starling gate show --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.gate(cmd.Context(), component, nil)
		},
	}
	cmd.Flags().StringVar(&component, "component", "", "which component (default the only one)")
	return cmd
}

func (c *cli) gateAction(action, short string) *cobra.Command {
	q := node.GateRequest{Action: action}
	var life string
	cmd := &cobra.Command{
		Use:   action,
		Short: short,
		Example: fmt.Sprintf(`  starling gate %[1]s
  starling gate %[1]s --owner mission --json
  starling gate %[1]s --component app`, action),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := parseSpan(life)
			if err != nil || d <= 0 {
				return usageError(fmt.Sprintf("--for %q: want a time such as 10m, at most a day", life))
			}
			q.Seconds = d.Seconds()
			return c.gate(cmd.Context(), q.Component, &q)
		},
	}
	cmd.Flags().StringVar(&q.Component, "component", "", "which component (default the only one)")
	cmd.Flags().StringVar(&q.Owner, "owner", "operator", "in whose name")
	life = "10m"
	if action != "release" {
		cmd.Flags().StringVar(&life, "for", life, "how long it counts, at most a day")
	}
	if action == "hold" {
		cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for people")
	}
	return cmd
}

// gate says a word at the gate, if there is one to say, and shows how it stands then.
func (c *cli) gate(ctx context.Context, component string, q *node.GateRequest) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	g, err := c.gateOf(ctx, cl, component)
	if err != nil {
		return err
	}
	if q != nil {
		if err := c.gateTakes(g, q.Action); err != nil {
			return err
		}
		if g, err = cl.SetGate(ctx, *q); err != nil {
			return err
		}
	}
	return c.answer(g, func() { c.sayGate(g) })
}

// gateOf asks for the gate of a component of this machine.
func (c *cli) gateOf(ctx context.Context, cl *api.Client, component string) (*node.GateView, error) {
	s, err := cl.Status(ctx)
	if err != nil {
		return nil, err
	}
	if len(s.Here) == 0 {
		return nil, problem(api.Usage, "run it on the robot, or name the robot's socket with --addr", "this node runs no payload, so it has no gate")
	}
	return cl.Gate(ctx, component)
}

// gateTakes refuses a word that the gate's mode does not know, and says how to
// configure one that does.
func (c *cli) gateTakes(g *node.GateView, action string) error {
	if action == "release" && g.Mode != "" || action == g.Mode {
		return nil
	}
	want, has := action, fmt.Sprintf("has mode %s: it is asked by starling gate %[1]s", g.Mode)
	if action == "release" {
		want = "hold"
	}
	if g.Mode == "" {
		has = "has none: it is always open, and the robot switches when the swarm lets it"
	}
	return problem(api.Usage, fmt.Sprintf("for mode %s, write under components: in the robot's configuration\n    %s: {gate: {mode: %s}}\n  and start its node again", want, g.Component, want),
		"gate %s of %s: it %s", action, g.Component, has)
}

func (c *cli) sayGate(g *node.GateView) {
	word := "open"
	if !g.Open {
		word = "closed: " + g.Reason
	}
	mode := map[string]string{
		"":       "none: it is always open; for one, set gate.mode of " + g.Component + " in the configuration",
		"permit": "permit: closed, but for the time that the application grants",
		"hold":   "hold: open, but for the time that the application holds it",
	}[g.Mode]
	c.table([][]string{{"gate", g.Component + " is " + word}, {"mode", mode}})
	for _, l := range g.Leases {
		c.say("%s for %.0f s more %s", l.Owner, l.LeftSeconds, l.Reason)
	}
}
