package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) reportSubmit() *cobra.Command {
	return &cobra.Command{
		Use:   "submit FILE",
		Short: "Bring a report that is signed already to the swarm",
		Long: `Bring a signed report to the swarm: that of netsim rehearse, or of a bench that holds
its own report key. It opens the stage of the rollout that waits for it, or shuts it.
No key is needed here.`,
		Example: `  starling report submit sim.report
  starling report submit hil.report --json
  starling report submit /media/usb/bench-2.report`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.submitReport(cmd.Context(), args[0]) },
	}
}

func (c *cli) submitReport(ctx context.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	v, err := c.look(ctx)
	if err != nil {
		return err
	}
	defer v.close()
	r, _, err := rollout.OpenReport(data, envelope.TrustScope(v.trust.Root()), v.trust.Roles().Report)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c.note("%s report by %s on %s: %d of %d runs failed; %s", r.Stage, r.By, r.Release.Short(), r.Failed, r.Runs, r.Summary)
	if err := v.waitsFor(r, path); err != nil {
		return err
	}
	out, err := c.propose(ctx, v, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindReport, Report: data})
	if err != nil {
		return err
	}
	return c.answer(out, func() { c.say("%s", out.Text); c.next("starling rollout explain") })
}

// waitsFor refuses a report that nothing waits for, in names instead of digests. The
// voters look for themselves.
func (v *view) waitsFor(rep *rollout.Report, path string) error {
	about := rep.Release.Short()
	for _, l := range v.trust.Releases() {
		if l.Ref.Digest == rep.Release {
			about = fmt.Sprintf("%s %s", l.Component, l.Ref)
		}
	}
	r, err := v.current(0)
	switch {
	case err != nil:
		return err
	case r.Final:
		return problem(api.Refused, "starling rollout start", "%s is about %s, and no rollout waits for a report: the last, %d of %s %s, is %s", path, about, r.ID, r.Component, &r.Release, r.Status)
	case r.Release.Digest != rep.Release:
		return problem(api.Refused, fmt.Sprintf("bring a report about %s %s", r.Component, r.Release.Version),
			"%s is about %s, and rollout %d is of %s %s (%s)", path, about, r.ID, r.Component, &r.Release, r.Release.Digest.Short())
	}
	return nil
}
