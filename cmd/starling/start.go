package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) rolloutStart() *cobra.Command {
	k := &knobs{}
	var file string
	cmd := &cobra.Command{
		Use:   "start [RELEASE | --plan FILE]",
		Short: "Start a rollout, after showing its plan and asking",
		Long: `Sign a plan for RELEASE, or take the one that rollout plan -o wrote, and start it.
Without --yes the plan is shown first, and you are asked. From then on the swarm
carries it through by itself, also when this laptop is gone.`,
		Example: `  starling rollout start 1.5.0
  starling rollout start 1.5.0 --canary 10% --soak 30m --yes
  starling rollout start --plan may.plan`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (file != "") {
				return usageError(errPlanArgs.Error())
			}
			v, err := c.look(cmd.Context())
			if err != nil {
				return err
			}
			defer v.close()
			var p *prospect
			if file != "" {
				p, err = readPlan(cmd.Context(), v, file)
			} else {
				p, err = c.prospect(cmd.Context(), v, args[0], k)
			}
			if err != nil {
				return err
			}
			r, err := c.startAsked(cmd.Context(), v, p)
			if err != nil {
				return err
			}
			return c.answer(schemaed(r), func() {
				c.say("rollout %d of %s %s has started", r.ID, r.Component, &r.Release)
				c.next("starling rollout watch %d", r.ID)
			})
		},
	}
	k.flags(cmd)
	cmd.Flags().StringVar(&file, "plan", "", "a signed plan, from rollout plan -o `FILE`")
	return cmd
}

// A rolloutDoc is one rollout as a document.
type rolloutDoc struct {
	Schema string `json:"schema"`
	*node.RolloutView
}

func schemaed(r *node.RolloutView) rolloutDoc { return rolloutDoc{"starling.rollout/v1", r} }

// startAsked shows a plan, asks, and starts it.
func (c *cli) startAsked(ctx context.Context, v *view, p *prospect) (*node.RolloutView, error) {
	if err := v.idle(); err != nil {
		return nil, err
	}
	if err := c.awaitQuorum(ctx, v); err != nil {
		return nil, err
	}
	if !c.yes {
		if !c.json {
			c.sayPlan(v, p)
		}
		if err := c.confirm(fmt.Sprintf("Start the rollout of %s %s?", p.plan.Component, p.plan.Release.Version)); err != nil {
			return nil, err
		}
	} else {
		for _, w := range p.warnings(v) {
			c.note("warning: %s", w)
		}
	}
	c.warnUnserved(ctx, v, p)
	c.packFor(ctx, v, p)
	h, err := c.home()
	if err != nil {
		return nil, err
	}
	return c.start(ctx, v, p, h)
}

// warnUnserved says that nobody here serves what is to be rolled out.
func (c *cli) warnUnserved(ctx context.Context, v *view, p *prospect) {
	all, err := v.client.Releases(ctx)
	if err != nil {
		return // the start itself will say what is wrong with the agent
	}
	for _, r := range all.Releases {
		if r.Digest == p.plan.Release.Digest && len(r.Held) < len(p.release.Variants) {
			c.note("warning: this node serves %d of %d images of it; starling release import FILE.star", len(r.Held), len(p.release.Variants))
		}
	}
}

// start signs the plan and the word for it, and returns when the swarm has begun.
func (c *cli) start(ctx context.Context, v *view, p *prospect, h home) (*node.RolloutView, error) {
	key, err := c.openKey(h, "operator")
	if err != nil {
		return nil, err
	}
	if p.sealed == nil {
		p.sealed = p.plan.Seal().Sign(key)
	}
	n, err := h.nextCounter("intent")
	if err != nil {
		return nil, err
	}
	in := rollout.Intent{
		Format: rollout.IntentFormat, Swarm: v.status.Swarm, Counter: n, Verb: rollout.VerbStart, Plan: p.sealed.Digest(), Extract: p.extract.Digest(),
	}
	s := &rollout.Start{Intent: in.Seal().Sign(key).Encode(), Plan: p.sealed.Encode(), Release: p.doc, Extract: p.extract}
	if p.plan.From.Counter > p.plan.Release.Counter {
		if _, s.From, err = v.document(ctx, p.plan.From); err != nil {
			return nil, err
		}
	}
	d := &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindStart, Start: s}
	if _, err := c.propose(ctx, v, d); err != nil {
		return nil, err
	}
	digest := p.sealed.Digest().String()
	return c.until(ctx, v.client, func(r *node.RolloutView) bool { return r.Plan == digest })
}

// until waits for the agent to see a rollout that is as it should be.
func (c *cli) until(ctx context.Context, cl *api.Client, is func(*node.RolloutView) bool) (*node.RolloutView, error) {
	for s, err := range cl.Watch(ctx) {
		if err != nil {
			return nil, err
		}
		if s.Rollout != nil && is(s.Rollout) {
			return s.Rollout, nil
		}
	}
	return nil, ended(ctx, "the swarm has decided, but this node has not heard of it yet: starling status")
}

// word signs an operator's word on the rollout that the swarm knows last, and
// brings it there.
func (c *cli) word(ctx context.Context, v *view, in rollout.Intent) error {
	h, err := c.home()
	if err != nil {
		return err
	}
	key, err := c.openKey(h, "operator")
	if err != nil {
		return err
	}
	in.Format, in.Swarm = rollout.IntentFormat, v.status.Swarm
	if in.Counter, err = h.nextCounter("intent"); err != nil {
		return err
	}
	d := &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindIntent, Intent: in.Seal().Sign(key).Encode()}
	_, err = c.propose(ctx, v, d)
	return err
}
