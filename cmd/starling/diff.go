package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/join"
)

// diffFiles bounds the files that are listed for one variant.
const diffFiles = 10

func (c *cli) releaseDiff() *cobra.Command {
	var component string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what a robot on one release would fetch for another, and why",
		Long: `Show for each variant of NEW how much of it a robot that runs OLD has already, what it
would fetch as chunks and with a pack, and which files are the reason. Both are .star
files, or releases that the agent knows; only files can be packed here, to see how
small that gets. Nothing is changed.`,
		Example: `  starling release diff nav-1.4.2.star nav-1.5.0.star
  starling release diff 1.4.2 1.5.0
  starling release diff nav-1.4.2.star nav-1.5.0.star --json`,
		Args:        cobra.ExactArgs(2),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			old, err := c.side(cmd.Context(), args[0], component)
			if err != nil {
				return err
			}
			defer old.close()
			fresh, err := c.side(cmd.Context(), args[1], component)
			if err != nil {
				return err
			}
			defer fresh.close()
			out, err := diff(cmd.Context(), old, fresh)
			if err != nil {
				return err
			}
			return c.answer(out, func() { c.sayDiff(out) })
		},
	}
	cmd.Flags().StringVar(&component, "component", manifest.DefaultComponent, "which part of the robots' software")
	return cmd
}

// A side is one of two releases that are compared.
type side struct {
	rel   *manifest.Release
	file  *bundle.Bundle // nil if the agent was asked
	agent *view          // nil if it is a file
}

func (s *side) close() {
	if s.file != nil {
		s.file.Close() // open for reading only
	}
	if s.agent != nil {
		s.agent.close()
	}
}

// side opens a .star file, or asks the agent for a release.
func (c *cli) side(ctx context.Context, name, component string) (*side, error) {
	if strings.HasSuffix(name, ".star") {
		b, err := bundle.Open(name)
		if err != nil {
			return nil, err
		}
		return &side{rel: b.Release(), file: b}, nil
	}
	v, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	s := &side{agent: v}
	comp, version := splitRelease(name, component)
	l, err := v.find(comp, version)
	if err == nil {
		s.rel, _, err = v.document(ctx, l.Ref)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// manifest is that of a variant's image.
func (s *side) manifest(ctx context.Context, d manifest.Digest) (*manifest.Manifest, error) {
	if s.file != nil {
		return s.file.Manifest(d)
	}
	data, err := s.agent.client.Document(ctx, join.ManifestDocument, d.String())
	if err != nil {
		return nil, err
	}
	if manifest.Sum(data) != d {
		return nil, fmt.Errorf("manifest %s from the agent: %w", d.Short(), manifest.ErrDigest)
	}
	return manifest.Decode(data)
}

// A diffView is what robots would fetch, for tools.
type diffView struct {
	Schema   string        `json:"schema"`
	From     string        `json:"from"`
	To       string        `json:"to"`
	Variants []diffVariant `json:"variants"`
}

type diffVariant struct {
	Variant string     `json:"variant"`
	Bytes   int64      `json:"bytes"`         // of the image
	Copied  int64      `json:"copied_bytes"`  // of them, which the old image has
	Missing int64      `json:"missing_bytes"` // the rest, each different chunk once
	Wire    int64      `json:"wire_bytes"`    // what that takes as chunks; -1 is not known
	Pack    int64      `json:"pack_bytes"`    // what a pack takes, -1 if there is none or it is not known
	Made    int64      `json:"made_bytes"`    // of the missing bytes, which the pack makes
	Fetch   int64      `json:"fetch_bytes"`   // what a robot fetches: the pack and the chunks that are not in it; -1 is not known
	Files   []diffFile `json:"files"`         // those with the most missing bytes
	More    int        `json:"more_files"`    // further ones
}

type diffFile struct {
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"`
	Missing int64  `json:"missing_bytes"`
	Why     string `json:"why"`
}

// diff compares each variant of fresh with the one that its robots had.
func diff(ctx context.Context, old, fresh *side) (*diffView, error) {
	out := &diffView{Schema: "starling.diff/v1", From: old.rel.Version, To: fresh.rel.Version, Variants: []diffVariant{}}
	for _, v := range fresh.rel.Variants {
		i := slices.IndexFunc(old.rel.Variants, func(w manifest.Variant) bool { return w.Name == v.Name || len(old.rel.Variants) == 1 })
		from := &manifest.Manifest{} // nothing, for robots that had none
		if i >= 0 {
			var err error
			if from, err = old.manifest(ctx, old.rel.Variants[i].Manifest); err != nil {
				return nil, err
			}
		}
		to, err := fresh.manifest(ctx, v.Manifest)
		if err != nil {
			return nil, err
		}
		d := compare(v.Name, from, to, fresh)
		if old.file != nil && fresh.file != nil && i >= 0 && d.Missing > 0 {
			if err := d.pack(ctx, old.file, fresh.file, old.rel.Variants[i].Manifest, v.Manifest); err != nil {
				return nil, err
			}
		} else if x := fresh.notice(ctx, from, to); i >= 0 && x != nil {
			d.Pack, d.Made = int64(x.Bytes), int64(x.Covers)
		}
		out.Variants = append(out.Variants, d)
	}
	return out, nil
}

// compare says what the manifests tell.
func compare(name string, from, to *manifest.Manifest, fresh *side) diffVariant {
	cmp := delta.Compare(from, to)
	d := diffVariant{Variant: name, Bytes: cmp.Bytes, Missing: cmp.Missing, Copied: cmp.Bytes - cmp.Missing, Wire: -1, Pack: -1, Fetch: -1, Files: []diffFile{}}
	if cmp.Missing == 0 {
		d.Wire, d.Fetch = 0, 0
	}
	layout := manifest.NewLayout(to)
	for i, f := range cmp.Files {
		if i == diffFiles {
			d.More = len(cmp.Files) - diffFiles
			break
		}
		why := "changed"
		if f.New {
			why = "new"
		}
		if kind := fresh.packedAs(to, layout, f.Entry); kind != "" {
			why += fmt.Sprintf("; compressed (%s), so every change is a change of all of it: ship it unpacked", kind)
		}
		d.Files = append(d.Files, diffFile{Path: f.Path, Bytes: f.Bytes, Missing: f.Missing, Why: why})
	}
	return d
}

// packedAs names the compression of a file, if its bytes are at hand.
func (s *side) packedAs(m *manifest.Manifest, layout *manifest.Layout, entry int) string {
	if s.file == nil || m.Entries[entry].Bytes < manifest.AverageChunkBytes {
		return ""
	}
	for n := range m.Chunks {
		at := 0
		for _, x := range layout.Extents(n) {
			if x.Entry == entry && x.Offset == 0 {
				data, err := s.file.ReadChunk(m.Chunks[n])
				if err != nil {
					return "" // what is wrong with it is told when it is packed
				}
				return bundle.PackedAs(data[at:])
			}
			at += int(x.Bytes)
		}
	}
	return ""
}

// pack makes the pack to see how large it is.
func (d *diffVariant) pack(ctx context.Context, old, fresh *bundle.Bundle, from, to manifest.Digest) error {
	a, err := old.Image(from)
	if err != nil {
		return err
	}
	b, err := fresh.Image(to)
	if err != nil {
		return err
	}
	s, err := delta.Build(ctx, a, b, io.Discard, nil)
	if err != nil {
		return err
	}
	d.Wire, d.Fetch = s.Wire, s.Wire
	if with := s.Wire - s.Saved + s.Pack; s.Covered > 0 && with < s.Wire {
		d.Pack, d.Made, d.Fetch = s.Pack, s.Covered, with
	}
	return nil
}

// notice is the agent's notice of a pack between two images, or nil.
func (s *side) notice(ctx context.Context, from, to *manifest.Manifest) *delta.Notice {
	if s.agent == nil {
		return nil
	}
	f, t := from.Digest(), to.Digest()
	data, err := s.agent.client.Document(ctx, join.DeltaDocument, delta.Name(f, t).String())
	if err != nil {
		return nil
	}
	x, err := delta.OpenNotice(data, s.agent.trust.Root(), s.agent.trust.Roles().Plan, f, t)
	if err != nil {
		return nil
	}
	return x
}

func (c *cli) sayDiff(d *diffView) {
	for _, v := range d.Variants {
		c.say("%s → %s, variant %s: an image of %s, of which a robot has %s", d.From, d.To, v.Variant, bytesWords(v.Bytes), bytesWords(v.Copied))
		switch {
		case v.Missing == 0:
			c.say("  nothing is fetched")
			continue
		case v.Wire < 0:
			c.say("  %s is new, before it is compressed; from two .star files more can be said", bytesWords(v.Missing))
		default:
			c.say("  %s is new: %s as chunks", bytesWords(v.Missing), bytesWords(v.Wire))
		}
		switch {
		case v.Pack >= 0 && v.Fetch >= 0:
			c.say("  with a pack %s, %s of the image%s", bytesWords(v.Fetch), percentOf(v.Fetch, v.Bytes), v.rest())
		case v.Pack >= 0:
			c.say("  a pack of %s is served%s", bytesWords(v.Pack), v.rest())
		case v.Wire >= 0:
			c.say("  a pack would save little")
		}
		rows := [][]string{{"  FILE", "SIZE", "NEW", "WHY"}}
		for _, f := range v.Files {
			rows = append(rows, []string{"  " + f.Path, bytesWords(f.Bytes), bytesWords(f.Missing), f.Why})
		}
		c.table(rows)
		if v.More > 0 {
			c.say("  and %d more files", v.More)
		}
	}
}

// rest says what a pack leaves to chunks.
func (v *diffVariant) rest() string {
	if v.Made >= v.Missing {
		return ""
	}
	return fmt.Sprintf("; it makes %s of the new bytes, and the rest comes as chunks", bytesWords(v.Made))
}

// percentOf is a share for people, with as many digits as it takes to be more than 0.
func percentOf(n, of int64) string {
	p := float64(n) * 100 / float64(of)
	if p < 0.1 {
		return fmt.Sprintf("%.3f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}
