package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) rolloutCommand() *cobra.Command {
	return group("rollout", "Plan, start, watch, hold and explain rollouts",
		c.rolloutPlan(), c.rolloutStart(), c.rolloutLs(), c.rolloutShow(), c.watchCommand(), c.rolloutWait(),
		c.rolloutWord(rollout.VerbPause, "Hold a rollout: nothing new starts until it is resumed"),
		c.rolloutWord(rollout.VerbResume, "Let a held rollout go on; robots that stood in its way are excused"),
		c.rolloutExplain(), c.rollbackCommand())
}

// parseID reads a rollout's number; none is 0.
func parseID(args []string) (uint64, error) {
	if len(args) == 0 {
		return 0, nil
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(args[0], "#"), 10, 64)
	if err != nil || id == 0 {
		return 0, usageError(fmt.Sprintf("rollout %q: want its number, as in starling rollout ls", args[0]))
	}
	return id, nil
}

func (c *cli) rolloutLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the rollouts that this machine knows of, the newest first",
		Example: `  starling rollout ls
  starling rollout ls --json
  starling rollout ls --dir ./orchard`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			all, err := cl.Rollouts(cmd.Context())
			if err != nil {
				return err
			}
			return c.answer(all, func() {
				rows := [][]string{{"ID", "RELEASE", "STATUS", "STAGE", "WHY"}}
				for i := range all.Rollouts {
					r := &all.Rollouts[i]
					rows = append(rows, []string{fmt.Sprint(r.ID), r.Component + "/" + r.Release.String(), r.Status, stageWords(r), whyWords(r)})
				}
				c.table(rows)
				c.say("%d were ever started, as %s knows", all.Started, all.SeenBy)
			})
		},
	}
}

func stageWords(r *node.RolloutView) string {
	if r.Stage == "wave" {
		return fmt.Sprintf("wave %d", r.Wave)
	}
	return r.Stage
}

// whyWords is why a rollout has its status.
func whyWords(r *node.RolloutView) string {
	if r.Reason == "" && r.Status == "done" {
		return "every stage passed"
	}
	return orDash(r.Reason)
}

func (c *cli) rolloutShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show [ID]",
		Short: "Show one rollout and its history; without ID the last",
		Example: `  starling rollout show
  starling rollout show 3
  starling rollout show 3 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.detail(cmd.Context(), args)
			if err != nil {
				return err
			}
			return c.answer(r, func() {
				c.say("%s", r.Text)
				c.table([][]string{
					{"release", fmt.Sprintf("%s %s, before it %s", r.Component, &r.Release, r.From)},
					{"status", r.Status + ", stage " + stageWords(&r.RolloutView)},
					{"switching", orDash(strings.Join(r.Open, " "))},
					{"robots", orDash(countWords(r.Counts))},
				})
				for _, d := range r.Details {
					c.say("%s", d)
				}
				for _, e := range r.Events {
					c.say("%s  %s", e.Time.Local().Format("2006-01-02 15:04:05"), e.Text)
				}
			})
		},
	}
}

// detail asks for a rollout with its history.
func (c *cli) detail(ctx context.Context, args []string) (*node.RolloutDetail, error) {
	id, err := parseID(args)
	if err != nil {
		return nil, err
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	if id == 0 {
		s, err := cl.Status(ctx)
		if err != nil {
			return nil, err
		}
		r, err := (&view{status: s}).current(0)
		if err != nil {
			return nil, err
		}
		id = r.ID
	}
	return cl.Rollout(ctx, id)
}

func (c *cli) rolloutExplain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [ROBOT]",
		Short: "Say why the last rollout, or a robot, stands as it does, and what to do",
		Example: `  starling rollout explain
  starling rollout explain r07
  starling rollout explain r07 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			robot := member.ID("")
			if len(args) == 1 {
				robot = member.ID(args[0])
			}
			x, err := cl.Explain(cmd.Context(), robot)
			if err != nil {
				return err
			}
			return c.answer(x, func() {
				c.say("%s", x.Text)
				for _, d := range x.Details {
					c.say("  %s", d)
				}
				c.say("as seen by %s at %s", x.SeenBy, x.Time.Local().Format("15:04:05"))
				c.next("%s", x.Next)
			})
		},
	}
}

func (c *cli) rolloutWord(verb rollout.Verb, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   string(verb) + " [ID]",
		Short: short,
		Example: fmt.Sprintf(`  starling rollout %[1]s
  starling rollout %[1]s 3 --reason "harvest today"
  starling rollout %[1]s --json`, verb),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.wordOn(cmd.Context(), args, rollout.Intent{Verb: verb, Reason: reason})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	return cmd
}

// wordOn brings a word on a rollout to the swarm and shows how it stands then.
func (c *cli) wordOn(ctx context.Context, args []string, in rollout.Intent) error {
	id, err := parseID(args)
	if err != nil {
		return err
	}
	v, err := c.look(ctx)
	if err != nil {
		return err
	}
	defer v.close()
	r, err := v.current(id)
	if err != nil {
		return err
	}
	if r.Final || r.Status == "reverting" {
		return problem(api.Refused, overNext(r), "nothing to %s: %s", in.Verb, r.Text)
	}
	if err := c.awaitQuorum(ctx, v); err != nil {
		return err
	}
	in.Rollout = r.ID
	return c.bring(ctx, v, in)
}

// overNext is what can still be done about a rollout that is over, or ends.
func overNext(r *node.RolloutView) string {
	switch r.Status {
	case "reverting":
		return "wait until every robot is back: starling rollout watch"
	case "done":
		return "to take it back: starling rollback; to go on: starling ship PATH --version V"
	}
	return "start the next one: starling ship PATH --version V"
}

// heard are the statuses that show that a word was heard.
var heard = map[rollout.Verb][]string{rollout.VerbPause: {"held"}, rollout.VerbResume: {"running"}, rollout.VerbRollback: {"reverting", "reverted"}}

// bring signs and brings a word, and shows how the rollout stands then.
func (c *cli) bring(ctx context.Context, v *view, in rollout.Intent) error {
	if err := c.word(ctx, v, in); err != nil {
		return err
	}
	r, err := c.until(ctx, v.client, func(r *node.RolloutView) bool {
		tookBack := r.Final && !in.To.IsZero() && strings.Contains(r.Reason, "rolled back") // what another rollout brought
		return tookBack || r.ID > in.Rollout || (r.Final && in.Verb != rollout.VerbRollback) || slices.Contains(heard[in.Verb], r.Status)
	})
	if err != nil {
		return err
	}
	return c.answer(schemaed(r), func() {
		c.say("%s", r.Text)
		switch {
		case r.Status == "held":
			c.next("to go on: starling rollout resume; to take it back: starling rollback")
		case !r.Final:
			c.next("starling rollout watch %d", r.ID)
		}
	})
}
