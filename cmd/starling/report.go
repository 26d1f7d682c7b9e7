package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/rollout"
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
	out, err := c.propose(ctx, v, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindReport, Report: data})
	if err != nil {
		return err
	}
	return c.answer(out, func() { c.say("%s", out.Text); c.next("starling rollout explain") })
}
