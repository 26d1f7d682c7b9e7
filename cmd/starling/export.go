package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// exported is what release export did.
type exported struct {
	Schema  string           `json:"schema"`
	File    string           `json:"file"`
	Bytes   int64            `json:"bytes"`
	Release node.ReleaseName `json:"release"`
	Packs   int              `json:"packs"`
	Root    string           `json:"trust_root"`
	Text    string           `json:"text"`
}

func (c *cli) releaseExport() *cobra.Command {
	var component, out string
	var noPacks bool
	cmd := &cobra.Command{
		Use:   "export RELEASE",
		Short: "Write a release that the agent holds into a .star file, to carry it",
		Long: `Write a release into a .star file from the images that the agent holds, with the
owner's signatures: what a stick needs to bring it to robots that hear nobody. It works
on the operator's laptop and on a robot, as long as that has the image of every
variant. Every byte is verified. The chunks are stored as they are, so the file is
larger than the one that was built.

The packs that lead to the release and are with the agent go along: where the file is
imported, other robots fetch them in place of the chunks.`,
		Example: `  starling release export 1.5.0 -o nav-1.5.0.star
  starling release export models/2026-05 -o models.star --no-packs
  starling release export 1.5.0 --addr unix:/var/lib/starling/api.sock -o /media/stick/nav.star`,
		Args:        cobra.ExactArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			comp, version, err := releaseArg(args[0], component)
			if err != nil {
				return err
			}
			if out == "" {
				out = comp + "-" + version + ".star"
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			x := &exported{Schema: "starling.exported/v1", File: out}
			p := c.progress("export " + comp + " " + version)
			err = replaceFile(out, func(f *os.File) error {
				return cl.Export(cmd.Context(), comp, version, !noPacks, f, p.tell)
			}, x.check(cmd.Context()))
			p.done()
			if err != nil && cmd.Context().Err() != nil {
				return ended(cmd.Context(), "the export was interrupted: %s is as it was", out)
			}
			if err != nil {
				return err
			}
			return c.answer(x, func() {
				c.say("%s", x.Text)
				c.next("carry it, and on a robot: starling release import %s", filepath.Base(out))
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "the .star `file` to write (default COMPONENT-VERSION.star)")
	cmd.Flags().StringVar(&component, "component", manifest.DefaultComponent, "which part of the robots' software")
	cmd.Flags().BoolVar(&noPacks, "no-packs", false, "leave the packs out, for a smaller file")
	return cmd
}

// check verifies the file before it takes its name, as release verify does: every byte,
// and the owner's signatures. The trust root is the one that the file names.
func (x *exported) check(ctx context.Context) func(path string) error {
	return func(path string) error {
		b, err := bundle.Open(path)
		if err != nil {
			return err
		}
		defer b.Close() //nolint:errcheck // open for reading only
		if err := b.Verify(ctx); err != nil {
			return err
		}
		t, err := trust.DecodeBundle(b.Metadata())
		if err != nil {
			return err
		}
		root := manifest.Sum(t.Roots[0])
		set, err := trust.Open(root, t, nil, time.Time{})
		if err != nil {
			return err
		}
		rel, err := set.VerifyRelease(b.ReleaseBytes())
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		x.Bytes, x.Root, x.Packs = info.Size(), root.String(), len(b.Packs())
		x.Release = node.ReleaseName{Component: rel.Component, Version: rel.Version, Counter: rel.Counter, Digest: rel.Digest()}
		x.Text = fmt.Sprintf("%s holds %s %s, %s, signed under trust root %s", x.File, rel.Component, rel.Version, bytesWords(x.Bytes), root.Short())
		if x.Packs > 0 {
			x.Text += fmt.Sprintf("; with packs that lead to it: %d", x.Packs)
		}
		return nil
	}
}

// replaceFile writes a file through fill and looks at it with check before it takes
// path's place: what was there stays until then.
func replaceFile(path string, fill func(*os.File) error, check func(path string) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return problem(api.Usage, "name a file: -o FILE.star", "%s is there and no file", path) // a device would be replaced
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // to be seen, should it be left
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = check(f.Name())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		if rm := os.Remove(f.Name()); rm != nil {
			err = errors.Join(err, rm)
		}
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}
