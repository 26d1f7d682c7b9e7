package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

func (c *cli) releaseCommand() *cobra.Command {
	sign := c.releaseSign()
	sign.Aliases = []string{"publish"}
	return group("release", "Build, sign, carry, check, compare and list releases",
		c.releaseBuild(), sign, c.releaseImport(), c.releaseExport(), c.releaseRm(), c.releaseVerify(), c.releaseLs(), c.releaseShow(), c.releaseDiff(), c.releasePack())
}

func (c *cli) releaseSign() *cobra.Command {
	return &cobra.Command{
		Use:   "sign FILE.star",
		Short: "Publish a release under the owner's key",
		Long: `Add the release in FILE to what the owner's keys vouch for, and put the proof into
the file, so that a stick with it carries all a robot needs. If the agent runs, the
swarm learns of it at once; nothing is installed by that.

It needs owner.key and operator.key.`,
		Example: `  starling release sign nav-1.5.0.star
  starling release publish nav-1.5.0.star
  starling release sign nav-1.5.0.star --passphrase-file secret.txt --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := c.sign(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.answer(out, func() {
				c.say("%s %s (%s) is signed; %s", out.Release.Component, out.Release.Version, out.Release.Digest.Short(), out.Text)
				c.next("starling release import %s", args[0])
			})
		},
	}
}

// signedRelease is what sign did.
type signedRelease struct {
	Schema    string           `json:"schema"`
	File      string           `json:"file"`
	Release   node.ReleaseName `json:"release"`
	Published bool             `json:"published"` // the voters have it
	Text      string           `json:"text"`
}

// sign publishes the release in a .star file.
func (c *cli) sign(ctx context.Context, file string) (*signedRelease, error) {
	b, err := bundle.Open(file)
	if err != nil {
		return nil, err
	}
	rel := b.Release()
	if err := b.Close(); err != nil {
		return nil, err
	}
	h, err := c.home()
	if err != nil {
		return nil, err
	}
	base, cl, err := c.trustBase(ctx, h)
	if err != nil {
		return nil, err
	}
	if cl != nil {
		defer cl.Close()
	}
	next, err := c.publish(h, base, rel)
	if err != nil {
		return nil, err
	}
	out := &signedRelease{
		Schema: "starling.signed/v1", File: file, Text: "the agent does not run and learns of it from the file",
		Release: node.ReleaseName{Component: rel.Component, Version: rel.Version, Counter: rel.Counter, Digest: rel.Digest()},
	}
	// The swarm decides between two laptops before the file says that it is signed.
	if cl != nil {
		done, err := cl.PublishTrust(ctx, next.Encode())
		if err != nil {
			return nil, err
		}
		out.Published, out.Text = done.Published, done.Text
	}
	if err := bundle.SetMetadata(file, next.Encode()); err != nil {
		return nil, err
	}
	return out, durable.WriteFile(h.path("trust"), next.Encode(), 0o600)
}

// renewWithin is how close to its expiry metadata is renewed although it has
// nothing new to say; it lives for 30 days.
const renewWithin = 15 * 24 * time.Hour

// publish adds a release with both keys. One that is listed already changes
// nothing, unless the metadata is about to expire: then the operator's key renews it.
func (c *cli) publish(h home, base *trust.Bundle, rel *manifest.Release) (*trust.Bundle, error) {
	set, err := trust.Open(manifest.Sum(base.Roots[0]), base, nil, time.Time{})
	if err != nil {
		return nil, err
	}
	if l, ok := set.Release(rel.Component, rel.Version); ok && l.Ref == rel.Ref() && time.Until(set.Expires()) < renewWithin {
		operator, err := c.openKey(h, "operator")
		if err != nil {
			return nil, err
		}
		return trust.Renew(base, trust.Signers{Operator: []ed25519.PrivateKey{operator}}, time.Now())
	}
	owner, err := c.openKey(h, "owner")
	if err != nil {
		return nil, err
	}
	operator, err := c.openKey(h, "operator")
	if err != nil {
		return nil, err
	}
	signers := trust.Signers{Owner: []ed25519.PrivateKey{owner}, Operator: []ed25519.PrivateKey{operator}}
	return trust.Publish(base, []*manifest.Release{rel}, signers, time.Now())
}

// trustBase is the metadata to add to: the agent's, else the newest of what was
// kept here. The client is nil if no agent answers.
func (c *cli) trustBase(ctx context.Context, h home) (*trust.Bundle, *api.Client, error) {
	cl, err := c.client()
	if err != nil {
		return nil, nil, err
	}
	data, err := cl.Trust(ctx)
	if err == nil {
		b, err := trust.DecodeBundle(data)
		return b, cl, err
	}
	cl.Close()
	if !unreachable(err) {
		return nil, nil, err
	}
	b, err := h.keptTrust()
	return b, nil, err
}

// keptTrust is the newest metadata among the node's and what was signed since.
func (h home) keptTrust() (*trust.Bundle, error) {
	var best *trust.Bundle
	var newest *trust.Set
	for _, path := range []string{h.path("node", "trust"), h.path("trust")} {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the trust metadata: %w", err)
		}
		b, err := trust.DecodeBundle(data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		s, err := trust.Open(manifest.Sum(b.Roots[0]), b, nil, time.Time{})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if newest == nil || s.Ref().Timestamp > newest.Ref().Timestamp {
			best, newest = b, s
		}
	}
	if best == nil {
		return nil, problem(api.Usage, "name the swarm's directory with --dir, or start its agent: starling agent", "no trust metadata in %s", h)
	}
	return best, nil
}

func (c *cli) releaseImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE.star",
		Short: "Give the images in a .star file to the agent, which serves them",
		Example: `  starling release import nav-1.5.0.star
  starling release import /media/stick/nav-1.5.0.star
  starling release import nav-1.5.0.star --json`,
		Args:        cobra.ExactArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err != nil {
				return fmt.Errorf("read the bundle: %w", err)
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			out, err := cl.Import(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.answer(out, func() {
				c.say("%s", out.Text)
				c.next("starling rollout plan %s/%s", out.Release.Component, out.Release.Version)
			})
		},
	}
}

func (c *cli) releaseLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the releases that the owner has signed",
		Example: `  starling release ls
  starling release ls --json
  starling release ls --dir ./orchard`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			all, err := cl.Releases(cmd.Context())
			if err != nil {
				return err
			}
			return c.answer(all, func() { c.sayReleases(all) })
		},
	}
}

func (c *cli) sayReleases(all *node.Releases) {
	if len(all.Releases) == 0 {
		c.say("the owner has signed no release yet")
		c.next("starling release build PATH --version V -o FILE.star")
		return
	}
	rows := [][]string{{"RELEASE", "COUNTER", "DIGEST", "STANDS", "VARIANTS", "SERVED HERE", "NOTES"}}
	for i := range all.Releases {
		r := &all.Releases[i]
		rows = append(rows, []string{
			r.Component + "/" + r.Version, fmt.Sprint(r.Counter), r.Digest.Short(), orDash(standsWords(r)),
			orDash(strings.Join(r.Variants, " ")), orDash(strings.Join(r.Held, " ")), r.Notes,
		})
	}
	c.table(rows)
	word := "the voters have it"
	if !all.Trust.Published {
		word = "the voters do not have it yet"
	}
	if all.Trust.Expired {
		word += "; it has EXPIRED, so nothing new can start: sign a release again to renew it"
	}
	c.say("trust metadata %d.%d, good until %s; %s", all.Trust.Root, all.Trust.Targets, all.Trust.Expires.Local().Format("2006-01-02"), word)
}

func standsWords(r *node.ReleaseView) string {
	var out []string
	for _, w := range []struct {
		is   bool
		word string
	}{{r.Active, "active"}, {r.Previous, "previous"}, {r.Rolling, "rolling out"}, {r.Quarantined, "quarantined"}} {
		if w.is {
			out = append(out, w.word)
		}
	}
	return strings.Join(out, ", ")
}
