package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// A releaseView is one release in full.
type releaseView struct {
	Schema    string           `json:"schema"`
	File      string           `json:"file,omitempty"`
	Release   node.ReleaseName `json:"release"`
	Variants  []variantView    `json:"variants"`
	From      []string         `json:"from"`
	Fallbacks []string         `json:"fallbacks"`
	Floor     uint64           `json:"security_floor"`
	Notes     string           `json:"notes"`
	Warnings  []string         `json:"warnings"`
	// Builder and Source are from the provenance; Root is the trust root that
	// signed it, empty if nobody has. Both are known of files only.
	Builder string `json:"builder,omitempty"`
	Source  string `json:"source,omitempty"`
	Root    string `json:"trust_root,omitempty"`
	Stands  string `json:"stands,omitempty"` // "active", …; known of the agent only
	// Packs are in the file; verify counts those only that the operator has signed.
	Packs int `json:"packs,omitempty"`
}

// A variantView is the form of a release for one kind of robot.
type variantView struct {
	Name   string            `json:"name"`
	Match  map[string]string `json:"match"`
	Bytes  uint64            `json:"bytes"`
	Image  manifest.Digest   `json:"image"`
	Driver string            `json:"driver"`
	Run    []string          `json:"run"`
}

func viewBuilt(file string, r *manifest.Release, warnings []string) *releaseView {
	v := &releaseView{
		Schema: "starling.release/v1", File: file, From: append([]string{}, r.From...), Fallbacks: []string{}, Floor: r.SecurityFloor, Notes: r.Notes,
		Release:  node.ReleaseName{Component: r.Component, Version: r.Version, Counter: r.Counter, Digest: r.Digest()},
		Warnings: append([]string{}, warnings...),
	}
	for _, f := range r.Fallbacks {
		v.Fallbacks = append(v.Fallbacks, f.Version)
	}
	for _, w := range r.Variants {
		v.Variants = append(v.Variants, variantView{w.Name, w.Match, w.Bytes, w.Manifest, w.Driver, append([]string{}, w.Run...)})
	}
	return v
}

func (c *cli) sayRelease(r *manifest.Release) {
	c.say("%s %s, counter %d   %s", r.Component, r.Version, r.Counter, r.Digest())
	rows := [][]string{{"VARIANT", "FOR", "SIZE", "IMAGE", "RUNS"}}
	for _, v := range r.Variants {
		match := labelWords(v.Match)
		if match == "" {
			match = "every robot"
		}
		rows = append(rows, []string{v.Name, match, bytesWords(int64(v.Bytes)), v.Manifest.Short(), orDash(strings.Join(v.Run, " "))})
	}
	c.table(rows)
	if len(r.From) > 0 {
		c.say("replaces only %s", strings.Join(r.From, ", "))
	}
	for _, f := range r.Fallbacks {
		c.say("may go back to %s", f)
	}
	if r.Notes != "" {
		c.say("notes: %s", r.Notes)
	}
}

func (c *cli) releaseShow() *cobra.Command {
	var component string
	cmd := &cobra.Command{
		Use:   "show RELEASE|FILE.star",
		Short: "Show one release, signed or in a file",
		Example: `  starling release show 1.5.0
  starling release show nav-1.5.0.star
  starling release show models/2026-05 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasSuffix(args[0], ".star") {
				return c.showFile(args[0])
			}
			v, err := c.look(cmd.Context())
			if err != nil {
				return err
			}
			defer v.close()
			comp, version, err := releaseArg(args[0], component)
			if err != nil {
				return err
			}
			l, err := v.find(comp, version)
			if err != nil {
				return err
			}
			rel, _, err := v.document(cmd.Context(), l.Ref)
			if err != nil {
				return err
			}
			all, err := v.client.Releases(cmd.Context())
			if err != nil {
				return err
			}
			out := viewBuilt("", rel, nil)
			out.Root = v.trust.Root().String()
			for i := range all.Releases {
				if all.Releases[i].Digest == l.Ref.Digest {
					out.Stands = standsWords(&all.Releases[i])
				}
			}
			return c.answer(out, func() { c.sayRelease(rel); c.say("in swarm %s: %s", v.status.Swarm, orDash(out.Stands)) })
		},
	}
	cmd.Flags().StringVar(&component, "component", manifest.DefaultComponent, "which part of the robots' software")
	return cmd
}

func (c *cli) showFile(path string) error {
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	defer b.Close()
	rel := b.Release()
	out := viewBuilt(path, rel, nil)
	p, key := b.Provenance()
	out.Builder, out.Source, out.Packs = key.String(), p.Source, len(b.Packs())
	if md := b.Metadata(); len(md) > 0 {
		if t, err := trust.DecodeBundle(md); err == nil {
			out.Root = manifest.Sum(t.Roots[0]).String()
		}
	}
	return c.answer(out, func() {
		c.sayRelease(rel)
		c.say("built by %s with %s %s", key.Short(), p.Tool, p.Source)
		if out.Packs > 0 {
			c.say("packs that lead to it: %d", out.Packs)
		}
		if out.Root == "" {
			c.say("not signed by an owner")
			c.next("starling release sign %s", path)
			return
		}
		c.say("says it is signed under trust root %s", out.Root)
		c.next("starling release verify %s --root %s", path, out.Root)
	})
}

func (c *cli) releaseVerify() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "verify FILE.star",
		Short: "Check every byte of a .star file, and who signed it",
		Long: `Read all of a .star file and check every chunk and pack, the provenance, and the
owner's signatures under the trust root given, else that of the swarm here. Without either,
it says which root the file names: compare it with what you know.`,
		Example: `  starling release verify nav-1.5.0.star
  starling release verify nav-1.5.0.star --root 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  starling release verify nav-1.5.0.star --json`,
		Args:        cobra.ExactArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := bundle.Open(args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			if err := b.Verify(cmd.Context()); err != nil {
				return err
			}
			pin, err := c.pin(root)
			if err != nil {
				return err
			}
			return c.verified(args[0], b, pin)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "the trust root, 64 hexadecimal digits; starling init and starling status print it")
	return cmd
}

// pin is the trust root to check against: nil if neither was one given, nor is a
// swarm here.
func (c *cli) pin(root string) (*manifest.Digest, error) {
	if root != "" {
		d, err := manifest.ParseDigest(root)
		if err != nil {
			return nil, usageError("--root: " + err.Error())
		}
		return &d, nil
	}
	h, err := c.home()
	if err != nil {
		return nil, nil // no swarm here: nothing to compare with
	}
	if _, err := os.Stat(h.path("node", "trust")); err != nil {
		return nil, nil
	}
	b, err := h.keptTrust()
	if err != nil {
		return nil, err
	}
	d := manifest.Sum(b.Roots[0])
	return &d, nil
}

// verified says what was found in a bundle that is whole.
func (c *cli) verified(path string, b *bundle.Bundle, pin *manifest.Digest) error {
	rel := b.Release()
	_, key := b.Provenance()
	out := viewBuilt(path, rel, nil)
	out.Schema, out.Builder = "starling.verified/v1", key.String()
	trusted := "nobody has signed it yet"
	if md := b.Metadata(); len(md) > 0 {
		t, err := trust.DecodeBundle(md)
		if err != nil {
			return err
		}
		against := manifest.Sum(t.Roots[0])
		if pin != nil {
			against = *pin
		}
		set, err := trust.Open(against, t, nil, time.Time{})
		if err != nil {
			return err
		}
		if _, err := set.VerifyRelease(b.ReleaseBytes()); err != nil {
			return err
		}
		out.Root, out.Packs = against.String(), signedPacks(b, against, set.Roles().Plan)
		trusted = "signed by the owner under trust root " + out.Root
		if pin == nil {
			trusted = "signed under trust root " + out.Root + ", which you must know to be yours"
		}
	} else if pin != nil {
		return problem(api.BadSignature, "starling release sign "+path, "%s is whole, but no owner has signed it", path)
	}
	return c.answer(out, func() {
		c.say("%s: every byte is what the release promises", path)
		c.say("%s %s, counter %d   %s", rel.Component, rel.Version, rel.Counter, rel.Digest())
		c.say("built by %s", key)
		c.say("%s", trusted)
		if n := len(b.Packs()); n > 0 {
			c.say("packs that lead to it: %d, of which the operator has signed %d; robots use no others", n, out.Packs)
		}
		if out.Root == "" {
			c.next("starling release sign %s", path)
		}
	})
}

// signedPacks counts the packs of a bundle that robots use under this trust root.
func signedPacks(b *bundle.Bundle, root manifest.Digest, keys envelope.Keys) (n int) {
	for _, p := range b.Packs() {
		x, err := delta.OpenNoticeOf(p.Notice(), root, keys, b.Release())
		if err != nil {
			continue
		}
		if img, err := p.Image(); err == nil && x.Fits(img.Manifest()) == nil {
			n++
		}
	}
	return n
}
