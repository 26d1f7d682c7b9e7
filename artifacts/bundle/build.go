package bundle

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// DefaultDriver installs variants that name no driver.
	DefaultDriver = "dirslot"
	// SavePermille is how much smaller zstd must make a chunk to be used: below
	// that a robot would decompress for nothing.
	SavePermille = 50

	// platformLabel is the label that says which platform a robot is.
	platformLabel = "platform"
)

// A VariantSpec says what one kind of robot gets.
type VariantSpec struct {
	Name  string            // unique in the release
	Match map[string]string // labels a robot must have; empty matches all
	// Path is what to read: a directory, a file, a tar file, or an OCI image layout, of
	// which the image for the platform in Match is taken; PATH:TAG where it holds several.
	Path string
	// Driver installs the image; empty is DefaultDriver.
	Driver string
	// Requires and Run are as in manifest.Variant.
	Requires, Run []string
}

// A Spec says what a release is made of. Fields are as in manifest.Release.
type Spec struct {
	Component, Version string
	Counter            uint64
	Variants           []VariantSpec // in any order
	From               []string
	Fallbacks          []manifest.Ref
	SecurityFloor      uint64
	Notes              string
	// Tool is what builds, for the provenance; empty is this module and its version.
	Tool string
	// Source is the revision that is built, for the provenance; may be empty.
	Source string
	// Plain stores chunks as they are: a larger file, made sooner. The release is the
	// same.
	Plain bool
}

// Build makes a release of what spec names, signs its provenance with builder and
// writes both with all images to a .star file at out: atomically, so that out is
// the old file or the new one, whole. progress may be nil; it is told how many bytes
// of how many are read.
//
// Errors wrap manifest.ErrInvalid for a spec that makes no release; others name
// the path that is in the way.
func Build(ctx context.Context, spec Spec, builder ed25519.PrivateKey, out string, progress func(done, total int64)) (*manifest.Release, error) {
	if len(builder) != ed25519.PrivateKeySize {
		return nil, errors.New("build release: no builder's key; make one with starling init")
	}
	b := &build{ctx: ctx, images: map[string]*image{}, progress: progress}
	defer b.close()
	if err := b.open(spec, out); err != nil {
		return nil, err
	}
	var r *manifest.Release
	err := replace(out, func(f *os.File) (err error) {
		b.to = newWriter(out, f, spec.Plain)
		if r, err = b.list(spec); err != nil {
			return err
		}
		return b.finish(r, spec, builder)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// A build is one run of Build.
type build struct {
	ctx         context.Context   // of the call that the build lives in
	images      map[string]*image // by their imageKey
	to          *writer
	done, total int64
	progress    func(done, total int64)
}

// imageKey is equal for variants of one image: an OCI layout holds one per platform.
func (v *VariantSpec) imageKey() string {
	if IsArchive(v.Path) {
		return v.Path + "\x00" + v.Match[platformLabel]
	}
	return v.Path
}

// An image is what is at one path, for all variants that use it.
type image struct {
	tree     *tree
	manifest *manifest.Manifest
	encoded  []byte
}

func (b *build) close() {
	for _, i := range b.images {
		i.tree.close()
	}
}

// packer is what makes the packers of a flow; none stores chunks as they are.
func (b *build) packer() func() packer {
	if b.to.plain {
		return nil
	}
	return b.to.packer
}

func (b *build) take(k *block) error {
	if err := b.to.take(k); err != nil {
		return err
	}
	if b.done += int64(len(k.data)); b.progress != nil {
		b.progress(b.done, b.total)
	}
	return nil
}

// open lists all paths before a byte is read, so that what is wrong is said soon.
func (b *build) open(spec Spec, out string) error {
	if info, err := os.Stat(out); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("build release: %s is there and no file; name a file: -o FILE.star", out) // a device would be replaced
	}
	for _, v := range spec.Variants {
		if b.images[v.imageKey()] != nil {
			continue
		}
		in, _ := cutTag(v.Path)
		if err := outside(out, in); err != nil {
			return err
		}
		t, err := openTree(v.Path, v.Match[platformLabel])
		if err != nil {
			return fmt.Errorf("variant %q: %w", v.Name, err)
		}
		b.images[v.imageKey()] = &image{tree: t}
		b.total += t.bytes
	}
	return nil
}

// outside refuses to write a bundle into what it is made of: the next build would
// have it in its image.
func outside(out, in string) error {
	dir, err := filepath.EvalSymlinks(filepath.Dir(out))
	if err != nil {
		return fmt.Errorf("build release: %w", err)
	}
	tree, err := filepath.EvalSymlinks(in)
	if err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	if dir, err = filepath.Abs(filepath.Join(dir, filepath.Base(out))); err != nil {
		return fmt.Errorf("build release: %w", err)
	}
	if tree, err = filepath.Abs(tree); err != nil {
		return fmt.Errorf("build release: %w", err)
	}
	if dir == tree || strings.HasPrefix(dir, strings.TrimSuffix(tree, "/")+"/") {
		return fmt.Errorf("build release: %s lies in the image %s and would be part of the next build; write it elsewhere", out, in)
	}
	return nil
}

// list reads all images, writes their chunks, and returns the release without provenance.
func (b *build) list(spec Spec) (*manifest.Release, error) {
	r := &manifest.Release{
		Format: manifest.ReleaseFormat, Component: spec.Component, Version: spec.Version, Counter: spec.Counter,
		From: spec.From, Fallbacks: spec.Fallbacks, SecurityFloor: spec.SecurityFloor, Notes: spec.Notes,
	}
	variants := slices.Clone(spec.Variants)
	slices.SortFunc(variants, func(a, b VariantSpec) int { return strings.Compare(a.Name, b.Name) })
	for _, v := range variants {
		i := b.images[v.imageKey()]
		if i.manifest == nil {
			m, err := i.tree.cut(b.ctx, b.packer(), b.take)
			if err != nil {
				return nil, fmt.Errorf("variant %q: %w", v.Name, err)
			}
			i.manifest, i.encoded = m, m.Encode()
		}
		driver := v.Driver
		if driver == "" {
			driver = DefaultDriver
		}
		r.Variants = append(r.Variants, manifest.Variant{
			Name: v.Name, Match: maps.Clone(v.Match), Manifest: manifest.Sum(i.encoded), ManifestBytes: uint64(len(i.encoded)),
			Bytes: uint64(i.manifest.Bytes()), Driver: driver, Requires: v.Requires, Run: v.Run,
		})
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("build release: %w", err)
	}
	return r, nil
}

// finish signs the provenance of r and writes what stands behind the chunks, unless the
// build was called off.
func (b *build) finish(r *manifest.Release, spec Spec, builder ed25519.PrivateKey) error {
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	p := provenanceOf(r, cmp.Or(spec.Tool, defaultTool()), spec.Source)
	if len(p.Tool) > MaxSourceBytes || len(p.Source) > MaxSourceBytes {
		return fmt.Errorf("build release: tool or source above %d bytes", MaxSourceBytes)
	}
	if err := envelope.Fits(envelope.Builder, p); err != nil {
		return fmt.Errorf("build release: %w", err)
	}
	x := &index{Format: Format, Provenance: p.seal(builder).Encode(), Stored: b.to.stored}
	r.Provenance = manifest.Sum(x.Provenance)
	x.Release = r.Encode()
	if len(x.Release) > manifest.MaxReleaseBytes {
		return fmt.Errorf("build release: %w: %d bytes encoded, the limit is %d; use fewer variants, or shorter commands to run",
			canonical.ErrTooLarge, len(x.Release), manifest.MaxReleaseBytes)
	}
	encoded := map[manifest.Digest][]byte{}
	for _, i := range b.images {
		encoded[manifest.Sum(i.encoded)] = i.encoded
	}
	for _, v := range r.Variants {
		if err := b.to.write(encoded[v.Manifest]); err != nil {
			return err
		}
		delete(encoded, v.Manifest) // two variants may have one
	}
	return b.to.finish(x)
}
