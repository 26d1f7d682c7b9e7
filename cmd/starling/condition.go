package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/install"
)

func (c *cli) conditionCommand() *cobra.Command {
	return group("condition", "Say whether this robot is charging or still, for transfer.only_when", c.conditionSet(), c.conditionShow())
}

func (c *cli) conditionShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show on what this robot's fetching depends, and how that stands",
		Example: `  starling condition show
  starling condition show --json
  starling condition show --addr unix:/run/starling/api.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.condition(cmd.Context(), nil) },
	}
}

func (c *cli) conditionSet() *cobra.Command {
	var life string
	cmd := &cobra.Command{
		Use:   "set NAME=yes|no ...",
		Short: "Say how this robot is; it counts until the time is over",
		Long: `Say whether this robot is charging or still. Its application calls this again and
again: a word that has expired counts as no. Images are fetched only while all of
transfer.only_when holds; idle is the gate's (starling gate).`,
		Example: `  starling condition set charging=yes
  starling condition set charging=yes still=no --for 1m
  starling condition set still=yes --for 30s --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := parseSpan(life)
			if err != nil || d <= 0 || d > install.MaxLease {
				return usageError(fmt.Sprintf("--for %q: want a time such as 1m, at most a day", life))
			}
			q := node.ConditionsRequest{Words: map[node.Condition]bool{}, Seconds: d.Seconds()}
			for _, a := range args {
				name, word, _ := strings.Cut(a, "=")
				if name == "" || word != "yes" && word != "no" {
					return usageError(fmt.Sprintf("%q: want charging=yes, charging=no, still=yes or still=no", a))
				}
				if _, twice := q.Words[node.Condition(name)]; twice {
					return usageError(fmt.Sprintf("%s is said twice: say it once", name))
				}
				q.Words[node.Condition(name)] = word == "yes"
			}
			return c.condition(cmd.Context(), &q)
		},
	}
	cmd.Flags().StringVar(&life, "for", "1m", "how long it counts, at most a day")
	return cmd
}

// condition says how the robot is, if there is something to say, and shows how it
// stands then.
func (c *cli) condition(ctx context.Context, q *node.ConditionsRequest) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	var all *node.Conditions
	if q != nil {
		all, err = cl.SetConditions(ctx, *q)
	} else {
		all, err = cl.Conditions(ctx)
	}
	if err != nil {
		return err
	}
	return c.answer(all, func() { c.sayConditions(all) })
}

func (c *cli) sayConditions(all *node.Conditions) {
	rows := [][]string{{"CONDITION", "NEEDED", "HOLDS", "FOR"}}
	for _, v := range all.All {
		left := "-"
		if v.Said {
			left = fmt.Sprintf("%.0f s", v.LeftSeconds)
		}
		rows = append(rows, []string{string(v.Name), yesNo(v.Needed), yesNo(v.Holds), left})
	}
	c.table(rows)
	if all.Hold {
		c.say("%s", all.Text)
	} else {
		c.say("nothing is fetched: %s", all.Text)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// transferRows say what keeps images off this machine's links, and who misbehaved.
func transferRows(t *node.Transfer) [][]string {
	var rows [][]string
	if t.Waits != "" {
		rows = append(rows, []string{"transfer", "fetches nothing now: " + t.Waits})
	}
	if p := t.Plan; p != nil {
		rows = append(rows, []string{"transfer", p.Text})
	}
	if t.Slowed || t.Floored {
		why := "members answer each other late"
		if t.Floored {
			why = "this robot spares itself"
		}
		rows = append(rows, []string{"transfer", fmt.Sprintf("sends images at %s/s at most: %s", bytesWords(t.Now), why)})
	}
	for _, f := range t.Faults {
		if f.Kind == "stalled" || f.Kind == "flood" {
			continue // robots that drive off, and many that join at once: --json counts them
		}
		rows = append(rows, []string{"fault", fmt.Sprintf("%s: %s, %d times since this node was started; at last: %s", f.Member, f.Kind, f.Count, f.Text)})
	}
	return rows
}
