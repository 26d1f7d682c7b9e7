package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) shipCommand() *cobra.Command {
	o, k := &buildOptions{}, &knobs{}
	var detach bool
	cmd := &cobra.Command{
		Use:   "ship [PATH] --version V",
		Short: "Build, sign, seed and roll out a directory, and watch it; asks once",
		Long: `Do in one go what release build, release sign, release import, rollout start and
rollout watch do. The plan is shown, and you are asked once. It ends when the
rollout is over or held; Ctrl-C leaves the watch, and the rollout goes on.

In a swarm that has not started yet the release becomes what robots run first.`,
		Example: `  starling ship ./build --version 1.5.0
  starling ship ./build --version 1.5.0 --run "bin/nav --safe" --soak 30m --yes
  starling ship --variant mk1=./arm,model=mk1 --variant mk2=./x86,model=mk2 --version 1.5.0`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			k.component = o.component
			return c.ship(cmd.Context(), args, o, k, detach)
		},
	}
	o.flags(cmd)
	k.flags(cmd)
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "keep the .star `file` (default COMPONENT-VERSION.star in the swarm's directory)")
	cmd.Flags().BoolVar(&detach, "detach", false, "end when the rollout has started")
	return cmd
}

func (c *cli) ship(ctx context.Context, args []string, o *buildOptions, k *knobs, detach bool) error {
	h, err := c.home()
	if err != nil {
		return err
	}
	// What would stop it later is found before anything is signed.
	if _, err := o.form(args); err != nil {
		return err
	}
	if _, err := k.plan(time.Now()); err != nil {
		return err
	}
	if o.out == "" {
		o.out = h.path(o.component + "-" + o.version + ".star")
	}
	v, err := c.look(ctx)
	if err != nil {
		return err
	}
	defer v.close()
	if err := c.mayShip(v, o); err != nil {
		return err
	}
	if err := c.awaitQuorum(ctx, v); err != nil {
		return err
	}
	rel, _, err := c.build(ctx, args, o)
	if err != nil {
		return err
	}
	c.note("built %s", rel.Describe())
	if v.status.Order == nil {
		return c.shipFirst(ctx, o)
	}
	p, err := rehearse(ctx, v, rel, o.out, k)
	if err != nil {
		return err
	}
	if !c.json {
		c.sayPlan(v, p)
	}
	if err := c.confirm(fmt.Sprintf("Sign %s %s and roll it out to %d robots?", rel.Component, rel.Version, p.preview.Robots)); err != nil {
		return err
	}
	if err := c.signAndImport(ctx, o.out); err != nil {
		return err
	}
	if err := v.load(ctx); err != nil {
		return err
	}
	// The agent has the images now. The plan is the same, and so are the robots.
	p.star = ""
	if p, err = complete(ctx, v, p); err != nil {
		return err
	}
	c.packFor(ctx, v, p)
	r, err := c.start(ctx, v, p, h)
	if err != nil {
		return err
	}
	if detach {
		return c.answer(schemaed(r), func() { c.next("starling rollout watch %d", r.ID) })
	}
	r, err = c.follow(ctx, v.client, r.ID, []string{"held"})
	if err != nil {
		return err
	}
	if r.Status != "done" {
		c.next("starling rollout explain")
	}
	return outcomeOf(r)
}

// mayShip finds what would refuse the rollout after everything was signed.
func (c *cli) mayShip(v *view, o *buildOptions) error {
	if err := v.idle(); err != nil {
		return err
	}
	if l, ok := v.trust.Release(o.component, o.version); ok {
		return problem(api.Refused, "ship it under a new --version, or roll out that one: starling rollout start "+o.version,
			"%s %s is signed already (%s)", o.component, o.version, l.Ref.Digest.Short())
	}
	return nil
}

// shipFirst makes the release what robots run first.
func (c *cli) shipFirst(ctx context.Context, o *buildOptions) error {
	if err := c.confirm(fmt.Sprintf("Sign %s %s as what this swarm starts with?", o.component, o.version)); err != nil {
		return err
	}
	out, err := c.sign(ctx, o.out)
	if err != nil {
		return err
	}
	if err := c.importFile(ctx, o.out); err != nil {
		return err
	}
	return c.answer(out, func() {
		c.say("%s %s is signed and served here: robots install it when they join, and when the swarm has started", o.component, o.version)
		c.next("starling invite")
	})
}

func (c *cli) signAndImport(ctx context.Context, file string) error {
	out, err := c.sign(ctx, file)
	if err != nil {
		return err
	}
	c.note("signed; %s", out.Text)
	if !out.Published {
		return problem(api.NoQuorum, "when enough voters are on: starling release import "+file+", then starling rollout start "+out.Release.Version,
			"the release is signed, but the voters do not have it yet: %s", out.Text)
	}
	return c.importFile(ctx, file)
}

func (c *cli) importFile(ctx context.Context, file string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	out, err := cl.Import(ctx, file)
	if err != nil {
		return err
	}
	c.note("%s", out.Text)
	return nil
}
