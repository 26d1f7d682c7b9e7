package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Held is an image that somebody holds whole; *store.Image is one. ReadChunk
// returns verified bytes, in buf's memory if that has the capacity.
type Held interface {
	Manifest() *manifest.Manifest
	ReadChunk(n int, buf []byte) ([]byte, error)
}

// An Export writes a release that was taken apart as a bundle again: as Build with
// Spec.Plain would have made it, and SetMetadata.
type Export struct {
	header  header
	index   []byte
	release *manifest.Release
	images  map[manifest.Digest]Held // by manifest
	packs   []Carried
}

// NewExport checks that the parts fit. release and provenance are what Bundle
// returned of them, images has one for each manifest of the release; at most MaxPacks
// packs go along. Errors wrap ErrNotHeld for an image that is not there,
// canonical.ErrTooLarge, or say which part is not what the release promises.
func NewExport(release, provenance, metadata []byte, images map[manifest.Digest]Held, packs []Carried) (*Export, error) {
	r, err := manifest.DecodeRelease(release)
	if err != nil {
		return nil, err
	}
	if manifest.Sum(provenance) != r.Provenance {
		return nil, fmt.Errorf("export %s: %w: provenance", r.Describe(), manifest.ErrDigest)
	}
	if len(metadata) > MaxMetadataBytes {
		return nil, fmt.Errorf("export %s: metadata: %w", r.Describe(), canonical.ErrTooLarge)
	}
	x := &index{Format: Format, Release: release, Provenance: provenance, Metadata: metadata}
	e := &Export{release: r, images: images, packs: packs}
	seen := map[manifest.Digest]bool{}
	for _, v := range r.Variants {
		i := images[v.Manifest]
		if i == nil {
			return nil, fmt.Errorf("export %s: %w: the image of variant %s", r.Describe(), ErrNotHeld, v.Name)
		}
		m := i.Manifest()
		if m.Digest() != v.Manifest {
			return nil, fmt.Errorf("export %s, variant %s: %w: manifest", r.Describe(), v.Name, manifest.ErrDigest)
		}
		if !seen[v.Manifest] {
			seen[v.Manifest] = true
			e.header.data += v.ManifestBytes
		}
		for _, c := range m.Chunks {
			if !seen[c.Digest] {
				seen[c.Digest] = true
				e.header.data += uint64(c.Bytes)
				x.Stored = append(x.Stored, c.Bytes)
			}
		}
	}
	x.Packs = entriesOf(packs)
	for _, p := range x.Packs {
		e.header.data += p.bytes()
	}
	e.header.format = uint32(x.Format)
	if err := x.checkPacks(e.header); err != nil {
		return nil, fmt.Errorf("export %s: %w", r.Describe(), err)
	}
	e.index = canonical.Encode(x)
	if len(x.Stored) > MaxChunks || len(e.index) > maxIndexBytes {
		return nil, fmt.Errorf("export %s: %w: %d different chunks", r.Describe(), canonical.ErrTooLarge, len(x.Stored))
	}
	e.header.index, e.header.digest = uint64(len(e.index)), manifest.Sum(e.index)
	return e, nil
}

// Release is what is exported.
func (e *Export) Release() *manifest.Release { return e.release }

// Bytes is the length of the bundle.
func (e *Export) Bytes() int64 { return headerBytes + int64(e.header.data) + int64(e.header.index) }

// Write writes the bundle, from its start to its end. Errors are those of w and of
// ReadChunk, or the cause of ctx's end.
func (e *Export) Write(ctx context.Context, w io.Writer) error {
	if _, err := w.Write(e.header.encode()); err != nil {
		return err
	}
	seen := map[manifest.Digest]bool{} // chunks
	for _, v := range e.release.Variants {
		if err := e.chunks(ctx, w, e.images[v.Manifest], seen); err != nil {
			return fmt.Errorf("export %s, variant %s: %w", e.release.Describe(), v.Name, err)
		}
	}
	written := map[manifest.Digest]bool{} // manifests
	for _, v := range e.release.Variants {
		if written[v.Manifest] {
			continue
		}
		written[v.Manifest] = true
		if _, err := w.Write(e.images[v.Manifest].Manifest().Encode()); err != nil {
			return err
		}
	}
	for i, p := range e.packs {
		if err := e.pack(ctx, w, p.Image); err != nil {
			return fmt.Errorf("export %s, pack %d: %w", e.release.Describe(), i, err)
		}
	}
	_, err := w.Write(e.index)
	return err
}

// chunks writes those of an image that were not seen yet; all, if seen is nil.
func (e *Export) chunks(ctx context.Context, w io.Writer, i Held, seen map[manifest.Digest]bool) error {
	buf := make([]byte, manifest.MaxChunkBytes)
	for n, c := range i.Manifest().Chunks {
		if seen[c.Digest] {
			continue
		}
		if seen != nil {
			seen[c.Digest] = true
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, err := i.ReadChunk(n, buf)
		if err != nil {
			return err
		}
		if len(data) != int(c.Bytes) {
			return errors.New("a chunk of another length")
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// pack writes the manifest and the bytes of a pack.
func (e *Export) pack(ctx context.Context, w io.Writer, i Held) error {
	if _, err := w.Write(i.Manifest().Encode()); err != nil {
		return err
	}
	return e.chunks(ctx, w, i, nil)
}

// ProvenanceBytes is the builder's envelope as it is; its Sum is Release.Provenance.
func (b *Bundle) ProvenanceBytes() []byte { return append([]byte(nil), b.index.Provenance...) }
