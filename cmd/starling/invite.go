package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// inviteOptions are the flags of invite.
type inviteOptions struct {
	model, site, role string
	labels            []string
	uses              int
	expires           string
	addrs             []string
	noVote            bool
	out               string
}

func (c *cli) inviteCommand() *cobra.Command {
	var o inviteOptions
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Write an invite that lets robots into the swarm",
		Long: `Write an invite. Whoever holds the file can join until it expires or is used up:
carry it on a stick or over ssh, and keep it private. The labels in it are what the
robots will have; releases and plans choose robots by them.`,
		Example: `  starling invite --model mk1 -o invite.json
  starling invite --model mk2 --site north --uses 12 --expires 8h
  starling invite --role base --at 192.168.4.1:7947`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.invite(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "label model of the robots")
	f.StringVar(&o.site, "site", "", "label site of the robots")
	f.StringVar(&o.role, "role", "", "label role of the robots, such as hil for a bench; base is a machine without payload")
	f.StringArrayVar(&o.labels, "label", nil, "another label, `KEY=VALUE`; may be repeated")
	f.IntVar(&o.uses, "uses", 1, "how many robots may use it")
	f.StringVar(&o.expires, "expires", "1h", "how long it counts, up to 30d")
	f.StringArrayVar(&o.addrs, "at", nil, "`HOST:PORT` at which robots reach this node; may be repeated (default what it knows of itself)")
	f.BoolVar(&o.noVote, "no-vote", false, "the robots never vote, for machines that are rarely on")
	f.StringVarP(&o.out, "out", "o", "", "the `file` to write (default invite-ID.json)")
	return cmd
}

func (o *inviteOptions) request() (node.InviteRequest, error) {
	q := node.InviteRequest{Labels: map[string]string{}, Uses: o.uses, NoVote: o.noVote, Addresses: o.addrs}
	life, err := parseSpan(o.expires)
	if err != nil || life < time.Second {
		return q, usageError(fmt.Sprintf("--expires %q: want a time such as 1h or 7d", o.expires))
	}
	q.Seconds = int64(life / time.Second)
	if o.uses < 1 {
		return q, usageError(fmt.Sprintf("--uses %d: want 1 or more", o.uses))
	}
	for k, v := range map[string]string{"model": o.model, "site": o.site} {
		if v != "" {
			q.Labels[k] = v
		}
	}
	if o.role == "base" {
		q.Role = "base"
	} else if o.role != "" {
		q.Labels["role"] = o.role
	}
	for _, l := range o.labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" || v == "" {
			return q, usageError(fmt.Sprintf("--label %q: want KEY=VALUE", l))
		}
		q.Labels[k] = v
	}
	return q, nil
}

func (c *cli) invite(ctx context.Context, o inviteOptions) error {
	q, err := o.request()
	if err != nil {
		return err
	}
	if o.out != "" {
		if _, err := os.Lstat(o.out); err == nil {
			return problem(api.Refused, "choose another name with -o", "%s is there already", o.out)
		}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	i, err := cl.Invite(ctx, q)
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = "invite-" + i.ID + ".json"
	}
	f, err := os.OpenFile(o.out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the invite: %w", err)
	}
	_, err = f.Write(i.Encode())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the invite: %w", err)
	}
	out := struct {
		Schema  string            `json:"schema"`
		File    string            `json:"file"`
		ID      string            `json:"id"`
		Swarm   string            `json:"swarm"`
		Addrs   []string          `json:"addresses"`
		Labels  map[string]string `json:"labels"`
		Expires time.Time         `json:"expires"`
		Uses    int               `json:"uses"`
	}{"starling.invite/v1", o.out, i.ID, i.Swarm, i.Addrs, i.Labels, i.Expires, i.Uses}
	return c.answer(out, func() {
		c.say("%s lets %d robot(s) into %s until %s", o.out, i.Uses, i.Swarm, i.Expires.Local().Format("2006-01-02 15:04"))
		c.say("they ask %s, labels: %s", strings.Join(i.Addrs, " or "), orDash(labelWords(i.Labels)))
		c.next("carry it to the robot, and there: starling join %s", o.out)
	})
}

func (c *cli) beginCommand() *cobra.Command {
	var voters int
	var after uint32
	cmd := &cobra.Command{
		Use:   "begin",
		Short: "Start a swarm of fewer than four robots",
		Long: `Start the swarm's first generation with fewer voters than the usual four. With 4
voters one may fail or lie; with 1 or 2 none may. The operator's node takes a seat
if robots are missing. More voters join by themselves later.

With --after, end a generation whose quorum is gone for good, or go on with a part of
the swarm that has moved away: name the generation that starling status shows. What was
decided stays; a rollout under way is over. Whoever hears of the new generation follows
no order of the old one, so be sure that its voters do not come back to another half.`,
		Example: `  starling begin --voters 1
  starling begin --voters 4 --after 1
  starling begin --voters 2 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			var out *api.Outcome
			if after > 0 {
				out, err = cl.BeginAnew(cmd.Context(), after, voters)
			} else {
				out, err = cl.Begin(cmd.Context(), voters)
			}
			if err != nil {
				return err
			}
			return c.answer(out, func() { c.say("%s", out.Text); c.next("starling status") })
		},
	}
	cmd.Flags().IntVar(&voters, "voters", 3, "how many voters, 1 to 7")
	cmd.Flags().Uint32Var(&after, "after", 0, "the generation to end; 0 starts the first")
	return cmd
}
