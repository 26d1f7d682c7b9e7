package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) storeCommand() *cobra.Command {
	return group("store", "Look at, check and clear the images that this machine's node keeps", c.storeLs(), c.storeVerify(), c.storeGC())
}

func (c *cli) storeLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the images beside the slots, and who needs them",
		Example: `  starling store ls
  starling store ls --json
  starling store ls --addr unix:/var/lib/starling/api.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			s, err := cl.Stored(cmd.Context())
			if err != nil {
				return err
			}
			return c.answer(s, func() {
				var sum int64
				rows := [][]string{{"IMAGE", "SIZE", "AGE", "WHAT", "NEEDED"}}
				for i := range s.Images {
					g := &s.Images[i]
					sum += g.Bytes
					needed := g.Needed
					if needed == "" {
						needed = "by nobody"
					}
					if !g.Served {
						needed += ", not served"
					}
					rows = append(rows, []string{
						g.Image.Short(), bytesWords(g.Bytes), age(int64(time.Since(g.Since).Seconds())), orDash(strings.Join(g.Releases, ", ")), needed,
					})
				}
				if len(s.Images) > 0 {
					c.table(rows)
				}
				c.say("%d images, %s; %s of %s are free on the disk", len(s.Images), bytesWords(sum), bytesWords(s.Free), bytesWords(s.Disk))
			})
		},
	}
}

func (c *cli) storeVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Read every byte of every image here, in slots too, and say what is damaged",
		Long: `Let the node read every byte of every image that it has, in the slots and beside
them. What is damaged is served no longer; importing its .star file again mends it. The
exit code is 8 if something is damaged.`,
		Example: `  starling store verify
  starling store verify --json
  starling store verify --addr unix:/var/lib/starling/api.sock`,
		Args:        cobra.NoArgs,
		Annotations: endless,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			s, err := cl.VerifyStore(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.answer(s, func() { c.saySums(s) }); err != nil || s.OK {
				return err
			}
			return outcome{api.BadSignature}
		},
	}
}

func (c *cli) saySums(s *node.StoreCheck) {
	rows := [][]string{{"IMAGE", "IN", "WHAT", "CHUNKS", ""}}
	for _, g := range s.Images {
		rows = append(rows, []string{g.Image.Short(), g.Place, orDash(strings.Join(g.Releases, ", ")), fmt.Sprint(g.Chunks), g.Text})
	}
	if len(s.Images) > 0 {
		c.table(rows)
	}
	c.say("%s", s.Text)
}

func (c *cli) storeGC() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove the images that nobody needs",
		Long: `Remove the images beside the slots that nobody needs. Kept is what the swarm runs,
what it goes to, what it may go back to, what is newer, and the steps of robots that were
away. Nothing in a slot is touched. The node does it by itself above the watermark
store.high of its configuration.`,
		Example: `  starling store gc --dry-run
  starling store gc
  starling store gc --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			out, err := cl.Collect(cmd.Context(), dry)
			if err != nil {
				return err
			}
			return c.answer(out, func() { c.say("%s", out.Text) })
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would go")
	return cmd
}

func (c *cli) releaseRm() *cobra.Command {
	var component string
	cmd := &cobra.Command{
		Use:   "rm RELEASE",
		Short: "Remove a release's images from this machine's node; it stays signed",
		Long: `Remove the images of a release from beside the slots of this machine's node. Refused
for what the swarm runs, goes to or may go back to. The release stays signed, other
members keep what they have, and an import brings it back.`,
		Example: `  starling release rm 1.4.2
  starling release rm models/2026-04
  starling release rm 1.4.2 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			comp, version, err := releaseArg(args[0], component)
			if err != nil {
				return err
			}
			out, err := cl.RemoveRelease(cmd.Context(), comp, version)
			if err != nil {
				return err
			}
			return c.answer(out, func() { c.say("%s", out.Text) })
		},
	}
	cmd.Flags().StringVar(&component, "component", manifest.DefaultComponent, "which part of the robots' software")
	return cmd
}
