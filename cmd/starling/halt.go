package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node/halt"
)

func (c *cli) haltCommand() *cobra.Command {
	var reason string
	var clear bool
	cmd := &cobra.Command{
		Use:   "halt",
		Short: "Freeze every update within reach, without asking anybody",
		Long: `Freeze: no robot that hears it downloads, arms or activates anything. It needs no
quorum and spreads in any partition. It does not stop motors, and it does not take
back what runs: for that, starling rollback. It lasts until --clear.`,
		Example: `  starling halt --reason "smoke in hall 2"
  starling halt --clear
  starling halt --yes --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.halt(cmd.Context(), !clear, reason) },
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people; at most 100 bytes")
	cmd.Flags().BoolVar(&clear, "clear", false, "end the halt")
	return cmd
}

func (c *cli) halt(ctx context.Context, halted bool, reason string) error {
	if len(reason) > 100 {
		return usageError(fmt.Sprintf("--reason has %d bytes, the limit is 100", len(reason)))
	}
	v, err := c.look(ctx)
	if err != nil {
		return err
	}
	defer v.close()
	if !halted { // a stop does not ask
		if err := c.confirm("End the halt, so that updates go on?"); err != nil {
			return err
		}
	}
	h, err := c.home()
	if err != nil {
		return err
	}
	key, err := c.openKey(h, "operator")
	if err != nil {
		return err
	}
	n, err := h.nextCounter("halt")
	if err != nil {
		return err
	}
	t := halt.Token{Format: halt.Format, Swarm: v.status.Swarm, Counter: n, Halted: halted, Reason: reason}
	out, err := v.client.Halt(ctx, t.Seal().Sign(key).Encode())
	if err != nil {
		return err
	}
	return c.answer(out, func() {
		word := "HALTED"
		if !halted {
			word = "the halt is over"
		}
		c.say("%s: %d members have heard it: %s", word, len(out.Told), strings.Join(out.Told, " "))
		if len(out.Unheard) > 0 {
			c.say("not heard yet, others pass it on: %s", strings.Join(out.Unheard, " "))
		}
		if halted {
			c.say("Motors go on, and so does what runs.")
			c.next("to take a release back: starling rollback; to go on: starling halt --clear")
		}
	})
}

func (c *cli) reportCommand() *cobra.Command {
	return group("report", "Sign what a simulation or a bench found, and bring it to the swarm", c.reportSign(), c.reportSubmit())
}

// reportOptions are the flags of report sign.
type reportOptions struct {
	stage, by, summary, component string
	runs, failed                  uint32
}

func (c *cli) reportSign() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "sign RELEASE",
		Short: "Open, or shut, a rollout's sim or hil gate",
		Example: `  starling report sign 1.5.0 --stage sim --by gazebo --runs 200
  starling report sign 1.5.0 --stage hil --by bench-2 --runs 12
  starling report sign 1.5.0 --stage sim --by gazebo --runs 200 --failed 3 --summary "drifts"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.report(cmd.Context(), args[0], &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.stage, "stage", "sim", "sim or hil")
	f.StringVar(&o.by, "by", "", "which tool or bench, at most 64 bytes")
	f.Uint32Var(&o.runs, "runs", 1, "how many runs")
	f.Uint32Var(&o.failed, "failed", 0, "how many of them failed; any shuts the gate")
	f.StringVar(&o.summary, "summary", "", "for people")
	f.StringVar(&o.component, "component", manifest.DefaultComponent, "which part of the robots' software")
	return cmd
}

func (c *cli) report(ctx context.Context, name string, o *reportOptions) error {
	stage, ok := map[string]order.Stage{"sim": order.Sim, "hil": order.HIL}[o.stage]
	if !ok || o.by == "" || len(o.by) > 64 || o.runs == 0 || o.failed > o.runs || o.runs == math.MaxUint32 {
		return usageError("want --stage sim or hil, --by NAME of at most 64 bytes, and no more --failed than --runs")
	}
	v, err := c.look(ctx)
	if err != nil {
		return err
	}
	defer v.close()
	l, err := v.find(splitRelease(name, o.component))
	if err != nil {
		return err
	}
	h, err := c.home()
	if err != nil {
		return err
	}
	key, err := c.openKey(h, "operator")
	if err != nil {
		return err
	}
	r := rollout.Report{
		Format: rollout.ReportFormat, Stage: stage, Release: l.Ref.Digest, Passed: o.failed == 0, By: o.by, Runs: o.runs, Failed: o.failed, Summary: o.summary,
	}
	e := envelope.New(envelope.Report, rollout.ReportFormat, envelope.TrustScope(v.trust.Root()), r).Sign(key)
	out, err := c.propose(ctx, v, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindReport, Report: e.Encode()})
	if err != nil {
		return err
	}
	return c.answer(out, func() { c.say("%s", out.Text); c.next("starling rollout explain") })
}
