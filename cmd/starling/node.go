package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) nodeCommand() *cobra.Command {
	return group("node", "List, show, label and revoke members", c.nodeLs(), c.nodeShow(), c.nodeLabel(), c.nodeRevoke())
}

func (c *cli) nodeLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the members as this machine sees them",
		Example: `  starling node ls
  starling node ls --json
  starling node ls --addr unix:/var/lib/starling/node/api.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			all, err := cl.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			return c.answer(all, func() { c.sayNodes(all) })
		},
	}
}

func (c *cli) sayNodes(all *node.Nodes) {
	rows := [][]string{{"NODE", "STATE", "ROLE", "RUNS", "PHASE", "SAID", "LABELS"}}
	for i := range all.Nodes {
		w := &all.Nodes[i]
		runs, phase, said := "-", "-", "-"
		for _, r := range w.Reports {
			runs, phase, said = r.Running.String(), r.Phase, age(r.AgeSeconds)+" ago"
			if r.Phase == "fetching" {
				phase += " " + percent(int(r.Progress))
			}
			break
		}
		rows = append(rows, []string{string(w.ID), stateWords(w), roleWords(w), runs, phase, said, labelWords(w.Labels)})
	}
	c.table(rows)
	c.say("as seen by %s", all.SeenBy)
}

func stateWords(w *node.NodeView) string {
	switch {
	case w.Revoked:
		return "revoked"
	case w.Self:
		return "here"
	case w.State == "left" || w.Leaving:
		return "switched off"
	case w.State == "unheard":
		return "not heard yet"
	}
	return w.State
}

func roleWords(w *node.NodeView) string {
	text := w.Role
	switch {
	case w.Leader:
		text += ", leads"
	case w.Voter:
		text += ", votes"
	}
	if w.Held {
		text += ", gate closed"
	}
	return text
}

func (c *cli) nodeShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show NODE",
		Short: "Show one member",
		Example: `  starling node show r07
  starling node show r07 --json
  starling node show operator`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			w, err := cl.Node(cmd.Context(), member.ID(args[0]))
			if err != nil {
				return err
			}
			x, err := cl.Explain(cmd.Context(), w.ID)
			if err != nil {
				return err
			}
			v := struct {
				Schema string `json:"schema"`
				*node.NodeView
				Explain *node.Explanation `json:"explain"`
			}{"starling.node/v1", w, x}
			return c.answer(v, func() { c.sayNode(w, x) })
		},
	}
}

func (c *cli) sayNode(w *node.NodeView, x *node.Explanation) {
	rows := [][]string{
		{"node", fmt.Sprintf("%s, member %d, %s", w.ID, w.Index, roleWords(w))},
		{"state", fmt.Sprintf("%s since %s, as seen by %s", stateWords(w), age(w.SinceSeconds), x.SeenBy)},
		{"labels", orDash(labelWords(w.Labels))},
	}
	for _, r := range w.Reports {
		rows = append(rows,
			[]string{r.Component, fmt.Sprintf("runs %s; %s is %s, %s; said %s ago", r.Running, r.Release, r.Phase, r.Result, age(r.AgeSeconds))},
			[]string{"", fmt.Sprintf("healthy for %s, %d crashes, %d failed probes, order %s %s", age(int64(r.HealthySeconds)), r.Crashes, r.Failures, r.Order, r.Reason)})
	}
	c.table(append(rows, []string{"why", x.Text}))
	c.next("%s", x.Next)
}

func (c *cli) nodeLabel() *cobra.Command {
	return &cobra.Command{
		Use:   "label NODE KEY=VALUE…",
		Short: "Change a member's labels; KEY= takes one away",
		Example: `  starling node label r07 site=north
  starling node label r07 role=hil site=
  starling node label r07 model=mk2 --json`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			labels := map[string]string{}
			for _, l := range args[1:] {
				k, v, ok := strings.Cut(l, "=")
				if !ok || k == "" {
					return usageError(fmt.Sprintf("label %q: want KEY=VALUE, or KEY= to take it away", l))
				}
				labels[k] = v
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			out, err := cl.SetLabels(cmd.Context(), member.ID(args[0]), labels)
			if err != nil {
				return err
			}
			return c.answer(out, func() { c.say("%s", out.Text) })
		},
	}
}

func (c *cli) nodeRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NODE",
		Short: "Take a stolen or retired member out of the swarm for good",
		Long: `Take a member out of the roster and change the gossip key, so that it hears no
more. It cannot be undone; the machine can join again as a new member, with a new
invite in an empty directory.`,
		Example: `  starling node revoke r07
  starling node revoke r07 --yes
  starling node revoke r07 --yes --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			if _, err := cl.Node(cmd.Context(), member.ID(args[0])); err != nil {
				return err
			}
			if err := c.confirm("Revoke " + args[0] + " for good?"); err != nil {
				return err
			}
			out, err := cl.Revoke(cmd.Context(), member.ID(args[0]))
			if err != nil {
				return err
			}
			return c.answer(out, func() {
				c.say("%s", out.Text)
				for _, r := range out.Held {
					c.say("it held %s %s", r.Component, r.Running)
				}
			})
		},
	}
}

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
			return c.gate(func(cl *api.Client) (*node.GateView, error) { return cl.Gate(cmd.Context(), component) })
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
			return c.gate(func(cl *api.Client) (*node.GateView, error) { return cl.SetGate(cmd.Context(), q) })
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

// gate does something at the gate and shows how it stands then.
func (c *cli) gate(do func(*api.Client) (*node.GateView, error)) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	g, err := do(cl)
	if err != nil {
		return err
	}
	return c.answer(g, func() {
		word := "open"
		if !g.Open {
			word = "closed: " + g.Reason
		}
		mode := g.Mode
		if mode == "" {
			mode = "none: it is always open; set gate.mode of " + g.Component + " in the configuration"
		}
		c.table([][]string{{"gate", g.Component + " is " + word}, {"mode", mode}})
		for _, l := range g.Leases {
			c.say("%s for %.0f s more %s", l.Owner, l.LeftSeconds, l.Reason)
		}
	})
}
