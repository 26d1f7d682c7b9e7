package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/api"
)

// buildOptions are the flags of release build; ship has them too.
type buildOptions struct {
	version, component, run, notes, source, out, key, driver string
	variants, from, fallbacks                                []string
	counter, floor                                           uint64
	plain                                                    bool
}

func (o *buildOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.version, "version", "", "the release's version, such as 1.5.0")
	f.StringVar(&o.component, "component", manifest.DefaultComponent, "which part of the robots' software")
	f.StringArrayVar(&o.variants, "variant", nil, "`NAME=PATH[,LABEL=VALUE…][,driver=D]` for robots with these labels, such as mk1=./arm,model=mk1,platform=linux/arm64; may be repeated")
	f.StringVar(&o.run, "run", "", "the `command` that starts the payload, relative to the image (default the file run in it, if there is one)")
	f.StringVar(&o.driver, "driver", bundle.DefaultDriver, "what installs it")
	f.StringArrayVar(&o.from, "from", nil, "a version that can be updated to this one directly; may be repeated (default any)")
	f.StringArrayVar(&o.fallbacks, "fallback", nil, "a release that robots may go back to: a signed version, or its .star `file`; may be repeated")
	f.Uint64Var(&o.counter, "counter", 0, "rises with each release (default one more than the newest that the agent knows)")
	f.Uint64Var(&o.floor, "security-floor", 0, "the lowest counter that may run once this release is everywhere")
	f.StringVar(&o.notes, "notes", "", "one line for people")
	f.StringVar(&o.source, "source", "", "the revision that is built, for the provenance")
	f.BoolVar(&o.plain, "plain", false, "store chunks uncompressed: a larger file, made in half the time; the release is the same")
	f.StringVar(&o.key, "builder-key", "", "the builder's key `file` (default builder.key in the user's configuration, made at its first use)")
}

func (c *cli) releaseBuild() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build [PATH]",
		Short: "Build a release of a directory, tar file or OCI image into one .star file",
		Long: `Build a release of what is at PATH for all robots, or of one --variant per kind of
robot, and sign where it came from with the builder's key. It needs no swarm, no
network and no owner's key. Equal trees give equal files.

PATH is a directory, a file, a tar file (.tar, .tar.gz, .tgz, .tar.bz2, .tar.zst),
or a container image as an OCI image layout, a directory or a tar file of one, such
as "docker buildx build --output type=oci,dest=app.tar" writes. Of an image for
several platforms, a variant takes that of its label platform=linux/arm64; of a
layout of several images, name one by its tag: PATH:TAG.`,
		Example: `  starling release build ./build --version 1.5.0 -o nav-1.5.0.star
  starling release build --variant mk1=./arm,model=mk1 --variant mk2=app.tar,platform=linux/amd64 --version 1.5.0 -o nav-1.5.0.star
  starling release build ./build --version 1.5.0 --counter 7 --run "bin/nav --safe" --fallback 1.4.2 -o nav-1.5.0.star`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			rel, warnings, err := c.build(cmd.Context(), args, &o)
			if err != nil {
				return err
			}
			return c.answer(viewBuilt(o.out, rel, warnings), func() {
				c.sayRelease(rel)
				c.next("starling release sign %s", o.out)
			})
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "the .star `file` to write (default COMPONENT-VERSION.star)")
	return cmd
}

// build makes the .star file o.out and returns the release and what is odd in it.
func (c *cli) build(ctx context.Context, args []string, o *buildOptions) (*manifest.Release, []string, error) {
	spec, err := c.spec(ctx, args, o)
	if err != nil {
		return nil, nil, err
	}
	if o.out == "" {
		o.out = o.component + "-" + o.version + ".star"
	}
	key, err := builderKey(o.key)
	if err != nil {
		return nil, nil, err
	}
	warnings, err := warningsOf(spec)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range warnings {
		c.note("warning: %s", w)
	}
	p := c.progress("build " + o.component + " " + o.version)
	rel, err := bundle.Build(ctx, *spec, key, o.out, p.tell)
	p.done()
	return rel, warnings, err
}

// spec is what the flags ask for, with what must be looked up.
func (c *cli) spec(ctx context.Context, args []string, o *buildOptions) (*bundle.Spec, error) {
	spec, err := o.form(args)
	if err != nil {
		return nil, err
	}
	return spec, c.history(ctx, o, spec)
}

// form is what the flags ask for, by themselves.
func (o *buildOptions) form(args []string) (*bundle.Spec, error) {
	if o.version == "" {
		return nil, problem(api.Usage, "name it: --version 1.0; starling release ls shows those that are taken", "a release needs a version")
	}
	if !manifest.ValidVersion(o.version) {
		return nil, usageError(fmt.Sprintf("--version %q: want 1 to 32 of letters, digits and . + - _", o.version))
	}
	if !manifest.ValidName(o.component) {
		return nil, usageError(fmt.Sprintf("--component %q: want 1 to 32 of a-z 0-9 . - _", o.component))
	}
	spec := &bundle.Spec{
		Component: o.component, Version: o.version, Counter: o.counter, From: o.from, SecurityFloor: o.floor, Notes: o.notes, Source: o.source,
		Plain: o.plain,
	}
	switch {
	case len(args) == 1 && len(o.variants) == 0:
		spec.Variants = []bundle.VariantSpec{o.variant("all", args[0], o.driver, nil)}
	case len(args) == 0 && len(o.variants) > 0:
		for _, text := range o.variants {
			v, err := o.parseVariant(text)
			if err != nil {
				return nil, err
			}
			spec.Variants = append(spec.Variants, v)
		}
	default:
		return nil, problem(api.Usage, "name the directory to ship: starling ship ./build --version "+o.version, "want either one PATH for all robots, or one --variant per kind of robot")
	}
	for _, v := range spec.Variants {
		if _, err := os.Stat(v.Path); err != nil && !bundle.IsArchive(v.Path) { // it may end in a tag
			return nil, fmt.Errorf("variant %s: %w", v.Name, err)
		}
	}
	return spec, nil
}

// parseVariant reads name=PATH,label=value,…
func (o *buildOptions) parseVariant(text string) (bundle.VariantSpec, error) {
	bad := usageError(fmt.Sprintf("--variant %q: want NAME=PATH[,LABEL=VALUE…], such as mk1=./arm,model=mk1", text))
	parts := strings.Split(text, ",")
	name, path, ok := strings.Cut(parts[0], "=")
	if !ok || name == "" || path == "" {
		return bundle.VariantSpec{}, bad
	}
	match, driver := map[string]string{}, o.driver
	for _, p := range parts[1:] {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" || v == "" {
			return bundle.VariantSpec{}, bad
		}
		if k == "driver" {
			driver = v
		} else {
			match[k] = v
		}
	}
	return o.variant(name, path, driver, match), nil
}

func (o *buildOptions) variant(name, path, driver string, match map[string]string) bundle.VariantSpec {
	v := bundle.VariantSpec{Name: name, Match: match, Path: path, Driver: driver, Run: strings.Fields(o.run)}
	if len(v.Run) == 0 && driver == bundle.DefaultDriver && !bundle.IsArchive(path) {
		if info, err := os.Stat(filepath.Join(path, "run")); err == nil && info.Mode().IsRegular() {
			v.Run = []string{"run"}
		}
	}
	return v
}

// warningsOf is what is odd in the trees, and in the spec. A run that is not told is
// looked for in archives too, and added to the spec.
func warningsOf(s *bundle.Spec) ([]string, error) {
	out := []string{}
	seen := map[string]bool{}
	for i := range s.Variants {
		v := &s.Variants[i]
		var packed *bundle.Found
		if bundle.IsArchive(v.Path) {
			var err error
			if packed, err = bundle.Look(v.Path, v.Match[member.PlatformLabel]); err != nil {
				return nil, fmt.Errorf("variant %s: %w", v.Name, err)
			}
			if len(v.Run) == 0 && v.Driver == bundle.DefaultDriver && packedMode(packed, "run") != 0 {
				v.Run = []string{"run"}
			}
			out = append(out, packed.Warnings...)
		}
		switch {
		case v.Driver != bundle.DefaultDriver:
		case len(v.Run) == 0:
			out = append(out, fmt.Sprintf("variant %s names no command to run (--run), so robots must know it from their configuration", v.Name))
		case filepath.IsAbs(v.Run[0]):
		case packed != nil:
			out = append(out, notExecutable(v.Path+":"+v.Run[0], packedMode(packed, v.Run[0]))...)
		default:
			out = append(out, notRunnable(filepath.Join(v.Path, v.Run[0]))...)
		}
		if packed == nil && !seen[v.Path] {
			seen[v.Path] = true
			out = append(out, bundle.Warnings(v.Path)...)
		}
	}
	return out, nil
}

// packedMode is the mode of a file or link in an archive, 0 if there is none. A link
// counts as executable: where it leads may be said only by the whole image.
func packedMode(f *bundle.Found, path string) os.FileMode {
	for _, e := range f.Entries {
		switch {
		case e.Path != path:
		case e.Kind == manifest.File:
			return os.FileMode(e.Mode)
		case e.Kind == manifest.Link:
			return 0o755
		}
	}
	return 0
}

// notRunnable says what keeps a command of an image from being started.
func notRunnable(path string) []string {
	info, err := os.Stat(path)
	if err != nil {
		return notExecutable(path, 0)
	}
	return notExecutable(path, info.Mode())
}

// notExecutable does so for a mode; 0 is that of nothing.
func notExecutable(path string, mode os.FileMode) []string {
	switch {
	case mode == 0:
		return []string{fmt.Sprintf("%s: is to be run, and is not in the image", path)}
	case mode&0o100 == 0:
		return []string{fmt.Sprintf("%s: is to be run, and is not executable (chmod +x)", path)}
	}
	return nil
}

// history fills in the counter and the fallbacks, as far as they must be looked up.
func (c *cli) history(ctx context.Context, o *buildOptions, spec *bundle.Spec) error {
	var v *view
	ask := func() error {
		if v != nil {
			return nil
		}
		var err error
		v, err = c.look(ctx)
		return err
	}
	defer func() {
		if v != nil {
			v.close()
		}
	}()
	for _, f := range o.fallbacks {
		r, err := fallbackFile(f)
		if errors.Is(err, errNoFile) {
			if err = ask(); err == nil {
				l, findErr := v.find(o.component, f)
				r, err = l.Ref, findErr
			}
		}
		if err != nil {
			return fmt.Errorf("--fallback %s: %w", f, err)
		}
		spec.Fallbacks = append(spec.Fallbacks, r)
	}
	if spec.Counter > 0 {
		return nil
	}
	if err := ask(); err != nil {
		return problem(api.Usage, "add --counter N: 1 for the first release, one more for each after it", "no --counter, and no agent to ask for the newest: %s", problemOf(err).Reason)
	}
	spec.Counter = 1
	for _, l := range v.trust.Releases() {
		if l.Component == o.component {
			if l.Ref.Version == o.version {
				return problem(api.Refused, "build it under a new --version", "%s %s is signed already, with counter %d", o.component, o.version, l.Ref.Counter)
			}
			spec.Counter = max(spec.Counter, l.Ref.Counter+1)
		}
	}
	return nil
}

// errNoFile says that a fallback is a version and no file.
var errNoFile = errors.New("not a .star file")

func fallbackFile(name string) (manifest.Ref, error) {
	if !strings.HasSuffix(name, ".star") {
		return manifest.Ref{}, errNoFile
	}
	b, err := bundle.Open(name)
	if err != nil {
		return manifest.Ref{}, err
	}
	return b.Release().Ref(), b.Close()
}
