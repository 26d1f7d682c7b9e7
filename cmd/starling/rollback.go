package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) rollbackCommand() *cobra.Command {
	var to, reason, component string
	var local bool
	cmd := &cobra.Command{
		Use:   "rollback [ID]",
		Short: "Take a rollout back everywhere, also after it is done; or this robot alone",
		Long: `Stop the last rollout and send every robot back to what was active before it, or
after its end to one of its fallbacks (--to). What is taken back is quarantined. If the
last rollout was taken back already, --to takes back what is active before it as well.

With --local, on a robot, only this robot goes back to its last committed slot. That
needs no key, no agreement and no network.`,
		Example: `  starling rollback --reason "drifts to the left"
  starling rollback --to 1.4.1 --yes
  starling rollback --local --component app`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if local {
				if to != "" || len(args) > 0 {
					return usageError("--local goes back one step; it takes neither --to nor a rollout")
				}
				return c.rollbackHere(cmd.Context(), component, reason)
			}
			return c.rollback(cmd.Context(), args, to, reason)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "go back to this version, a fallback of what runs")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	cmd.Flags().BoolVar(&local, "local", false, "this robot only")
	cmd.Flags().StringVar(&component, "component", "", "with --local: which component (default the only one)")
	return cmd
}

func (c *cli) rollbackHere(ctx context.Context, component, reason string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	out, err := cl.Rollback(ctx, component, reason)
	if err != nil {
		return err
	}
	return c.answer(out, func() { c.say("%s goes back; it is at phase %s and runs %s", out.Name, out.Phase, out.Running) })
}

func (c *cli) rollback(ctx context.Context, args []string, to, reason string) error {
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
	if r.Status == "reverted" && to == "" {
		return problem(api.Refused, "to go back from what is active, too: starling rollback --to VERSION; starling status shows what was before it",
			"rollout %d of %s %s is reverted already: %s", r.ID, r.Component, &r.Release, r.Text)
	}
	in := rollout.Intent{Verb: rollout.VerbRollback, Rollout: r.ID, Reason: reason}
	comp, what, goal := r.Component, r.Release.Version, r.From.String()
	if to != "" {
		var version string
		comp, version = splitRelease(to, r.Component)
		l, err := v.find(comp, version)
		if err != nil {
			return err
		}
		in.To, goal = l.Ref, l.Ref.Version
	}
	// With a release it is about what is active, whichever rollout brought that.
	beyond := r.Status == "reverted" || comp != r.Component
	if beyond {
		if what = v.active(comp).Version; in.To == v.active(comp) {
			return problem(api.Refused, "starling status", "%s %s is active already", comp, what)
		}
	}
	if err := c.awaitQuorum(ctx, v); err != nil {
		return err
	}
	if err := c.confirm(fmt.Sprintf("Take %s %s back everywhere, to %s, and quarantine it?", comp, what, goal)); err != nil {
		return err
	}
	if !beyond {
		return c.bring(ctx, v, in)
	}
	if err := c.word(ctx, v, in); err != nil {
		return err
	}
	return c.nowActive(ctx, v.client, comp, in.To)
}

// nowActive waits for the agent to see that a release is active, and says so.
func (c *cli) nowActive(ctx context.Context, cl *api.Client, component string, to manifest.Ref) error {
	for s, err := range cl.Watch(ctx) {
		if err != nil {
			return err
		}
		for _, comp := range s.Components {
			if comp.Name != component || comp.Active == nil || comp.Active.Digest != to.Digest {
				continue
			}
			return c.answer(s, func() {
				c.say("%s %s is active; robots go back to it", component, to.Version)
				c.next("starling node ls")
			})
		}
	}
	return ended(ctx, "the swarm has decided, but this node has not heard of it yet: starling status")
}
