package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
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
		rows = append(rows, reportRows(&r)...)
	}
	c.table(append(rows, []string{"why", x.Text}))
	c.next("%s", x.Next)
}

// reportRows are all that a robot's report of one component holds.
func reportRows(r *node.ReportView) [][]string {
	what := "runs " + r.Running.String()
	phase := r.Phase
	if phase == "fetching" {
		phase += " " + percent(int(r.Progress))
	}
	if r.Release != nil && (r.Running == nil || r.Release.Digest != r.Running.Digest) {
		what += fmt.Sprintf("; %s is at phase %s", r.Release, phase)
	} else {
		what += ", phase " + phase
	}
	if r.Result != "unknown" && r.Result != "" {
		what += ", result " + r.Result
	}
	rows := [][]string{
		{r.Component, fmt.Sprintf("%s; said %s ago", what, age(r.AgeSeconds))},
		{"", fmt.Sprintf("healthy for %s; since its node started: %d crashes, %d failed probes", age(int64(r.HealthySeconds)), r.Crashes, r.Failures)},
		{"", "knows order " + r.Order},
	}
	if r.Reason != "" {
		rows = append(rows, []string{"", "its words: " + r.Reason})
	}
	return rows
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
