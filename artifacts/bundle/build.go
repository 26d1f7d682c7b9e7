package bundle

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

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
)

// A VariantSpec says what one kind of robot gets.
type VariantSpec struct {
	Name  string            // unique in the release
	Match map[string]string // labels a robot must have; empty matches all
	Path  string            // directory or file to read
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
}

// Build makes a release of what spec names, signs its provenance with builder and
// writes both with all images to a .star file at out: atomically, so that out is
// the old file or the new one, whole. progress may be nil; every image is read
// twice, and counted twice.
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
	r, err := b.list(spec)
	if err != nil {
		return nil, err
	}
	p := provenanceOf(r, spec.Tool, spec.Source)
	if p.Tool == "" {
		p.Tool = defaultTool()
	}
	if len(p.Tool) > MaxSourceBytes || len(p.Source) > MaxSourceBytes {
		return nil, fmt.Errorf("build release: tool or source above %d bytes", MaxSourceBytes)
	}
	if err := envelope.Fits(envelope.Builder, p); err != nil {
		return nil, fmt.Errorf("build release: %w", err)
	}
	x := &index{Format: Format, Provenance: p.seal(builder).Encode()}
	r.Provenance = manifest.Sum(x.Provenance)
	x.Release = r.Encode()
	if len(x.Release) > manifest.MaxReleaseBytes {
		return nil, fmt.Errorf("build release: %w: %d bytes encoded, the limit is %d; use fewer variants, or shorter commands to run",
			canonical.ErrTooLarge, len(x.Release), manifest.MaxReleaseBytes)
	}
	if err := replace(out, func(f *os.File) error { return b.write(f, r, x) }); err != nil {
		return nil, fmt.Errorf("build release: write %s: %w", out, err)
	}
	return r, nil
}

// A build is one run of Build.
type build struct {
	ctx         context.Context // of the call that the build lives in
	images      map[string]*image
	done, total int64
	progress    func(done, total int64)
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

func (b *build) count(n int) {
	if b.done += int64(n); b.progress != nil {
		b.progress(b.done, b.total)
	}
}

// open lists all paths before a byte is read, so that what is wrong is said soon.
func (b *build) open(spec Spec, out string) error {
	for _, v := range spec.Variants {
		if b.images[v.Path] != nil {
			continue
		}
		if err := outside(out, v.Path); err != nil {
			return err
		}
		t, err := openTree(v.Path)
		if err != nil {
			return fmt.Errorf("variant %q: %w", v.Name, err)
		}
		b.images[v.Path] = &image{tree: t}
		b.total += 2 * t.bytes
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

// list reads all images and returns the release without provenance.
func (b *build) list(spec Spec) (*manifest.Release, error) {
	r := &manifest.Release{
		Format: manifest.ReleaseFormat, Component: spec.Component, Version: spec.Version, Counter: spec.Counter,
		From: spec.From, Fallbacks: spec.Fallbacks, SecurityFloor: spec.SecurityFloor, Notes: spec.Notes,
	}
	variants := slices.Clone(spec.Variants)
	slices.SortFunc(variants, func(a, b VariantSpec) int { return strings.Compare(a.Name, b.Name) })
	for _, v := range variants {
		i := b.images[v.Path]
		if i.manifest == nil {
			m, err := i.tree.cut(b.ctx, b.count)
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

// write fills f with header, data and index.
func (b *build) write(f *os.File, r *manifest.Release, x *index) error {
	w := &writer{file: f, index: x, seen: map[manifest.Digest]bool{}}
	if err := w.start(); err != nil {
		return err
	}
	defer w.zstd.Close()
	order := b.inOrder(r)
	for _, i := range order {
		if err := w.put(i.encoded); err != nil {
			return err
		}
	}
	for _, i := range order {
		if err := w.image(b.ctx, i, b.count); err != nil {
			return err
		}
	}
	return finish(f, w.data, x)
}

// inOrder returns the different images of r, as its variants first need them.
func (b *build) inOrder(r *manifest.Release) []*image {
	byDigest := map[manifest.Digest]*image{}
	for _, i := range b.images {
		byDigest[manifest.Sum(i.encoded)] = i
	}
	var out []*image
	for _, v := range r.Variants {
		if i := byDigest[v.Manifest]; i != nil {
			out = append(out, i)
			delete(byDigest, v.Manifest)
		}
	}
	return out
}

// A writer appends parts to the data of a bundle.
type writer struct {
	file  *os.File
	index *index
	zstd  *zstd.Encoder
	seen  map[manifest.Digest]bool // chunks written
	data  uint64                   // bytes written
}

func (w *writer) start() error {
	var err error
	w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err == nil {
		_, err = w.file.Write(make([]byte, headerBytes)) // filled in by finish
	}
	return err
}

func (w *writer) put(part []byte) error {
	n, err := w.file.Write(part)
	w.data += uint64(n)
	return err
}

// image reads the tree again and writes the chunks that are new.
func (w *writer) image(ctx context.Context, i *image, count func(n int)) error {
	s := i.tree.stream(ctx)
	defer s.close()
	buf, packed := make([]byte, manifest.MaxChunkBytes), []byte(nil)
	for _, c := range i.manifest.Chunks {
		data := buf[:c.Bytes]
		if _, err := io.ReadFull(s, data); err != nil {
			return err
		}
		count(len(data))
		if w.seen[c.Digest] {
			continue
		}
		if manifest.Sum(data) != c.Digest {
			return s.changed()
		}
		if len(w.index.Stored) == MaxChunks {
			return fmt.Errorf("%w: more than %d different chunks; make two components of it", canonical.ErrTooLarge, MaxChunks)
		}
		w.seen[c.Digest] = true
		packed = w.zstd.EncodeAll(data, packed[:0])
		if len(packed) <= len(data)-len(data)*SavePermille/1000 && len(packed) < len(data) {
			data = packed
		}
		if err := w.put(data); err != nil {
			return err
		}
		w.index.Stored = append(w.index.Stored, uint32(len(data)))
	}
	return nil
}
