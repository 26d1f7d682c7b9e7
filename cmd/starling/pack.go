package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
)

func (c *cli) releasePack() *cobra.Command {
	var component string
	cmd := &cobra.Command{
		Use:   "pack OLD NEW",
		Short: "Make and serve packs that take robots from one release to another with fewer bytes",
		Long: `Let the agent make, sign and serve a pack for each variant: what robots that run OLD
fetch in place of the chunks of NEW. The agent must serve both. starling ship and
starling rollout start do it by themselves for the release that the swarm runs; this
is for robots that run another one. Nothing is installed by it, and robots that know
nothing of packs fetch chunks.`,
		Example: `  starling release pack 1.4.2 1.5.0
  starling release pack models/2026-04 models/2026-05
  starling release pack 1.4.2 1.5.0 --json`,
		Args:        cobra.ExactArgs(2),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := c.look(cmd.Context())
			if err != nil {
				return err
			}
			defer v.close()
			var refs [2]manifest.Digest
			for i, name := range args {
				comp, version := splitRelease(name, component)
				l, err := v.find(comp, version)
				if err != nil {
					return err
				}
				refs[i] = l.Ref.Digest
			}
			packs, err := v.client.Pack(cmd.Context(), refs[0], refs[1])
			if err != nil {
				return err
			}
			return c.answer(packs, func() {
				rows := [][]string{{"VARIANT", "IMAGE", "NEW", "AS CHUNKS", "FETCHED", ""}}
				for _, p := range packs.Packs {
					rows = append(rows, []string{p.Variant, bytesWords(p.Image), bytesWords(p.Missing), bytesWords(p.Wire), bytesWords(p.Fetch), p.Text})
				}
				c.table(rows)
			})
		},
	}
	cmd.Flags().StringVar(&component, "component", manifest.DefaultComponent, "which part of the robots' software")
	return cmd
}

// packFor makes the packs from what the swarm runs to what it is about to run. They
// only save bytes: without them the rollout goes on, and the reason is said.
func (c *cli) packFor(ctx context.Context, v *view, p *prospect) {
	if p.plan.From.IsZero() {
		return
	}
	packs, err := v.client.Pack(ctx, p.plan.From.Digest, p.plan.Release.Digest)
	if err != nil {
		c.note("no pack from %s, robots fetch whole chunks: %s", p.plan.From.Version, problemOf(err).Reason)
		return
	}
	if words := packWords(packs); words != "" {
		c.note("%s", words)
	}
}

// packWords is one line about what packs save, or nothing if they save nothing.
func packWords(packs *node.Packs) string {
	var out []string
	for _, p := range packs.Packs {
		if p.Fetch < p.Wire {
			out = append(out, p.Variant+" "+bytesWords(p.Fetch)+" in place of "+bytesWords(p.Wire))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "packed: robots on " + packs.From + " fetch " + strings.Join(out, ", ")
}
