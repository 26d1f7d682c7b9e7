package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/join"
)

// Import takes the images of a .star file and serves them to other members. If the
// file carries trust metadata that is newer than what this node knows, it takes
// that too. What it holds already is not read again. It works on every node: robots
// near one that was given a file take the release from it.
func (n *Node) Import(ctx context.Context, path string) (*manifest.Release, error) {
	if !n.taking() {
		return nil, ErrNotReady
	}
	done, err := n.stock.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	b, err := bundle.Open(path)
	if err != nil {
		return nil, err
	}
	rel := b.Release()
	for _, v := range rel.Variants {
		if err := n.importImage(ctx, b, v.Manifest); err != nil {
			return nil, errors.Join(fmt.Errorf("import %s, variant %s: %w", rel.Describe(), v.Name, err), b.Close())
		}
	}
	if _, err := n.docs.put(join.ReleaseDocument, b.ReleaseBytes()); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if _, err := n.docs.put(join.ProvenanceDocument, b.ProvenanceBytes()); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if md := b.Metadata(); len(md) > 0 {
		offer := n.keeper.offer
		if n.operator != nil {
			offer = n.keeper.offerOwn
		}
		if err := offer(ctx, &join.MetaReply{Trust: md}); err != nil {
			return nil, errors.Join(fmt.Errorf("trust metadata in %s: %w", path, err), b.Close())
		}
	}
	n.log.Info("release imported", "release", rel.Describe())
	n.note(Event{Kind: "imported", Release: rel.Version, Text: rel.Describe() + " is here and served"})
	return rel, b.Close()
}

func (n *Node) importImage(ctx context.Context, b *bundle.Bundle, d manifest.Digest) error {
	m, err := b.Manifest(d)
	if err != nil {
		return err
	}
	if _, err := n.docs.put(join.ManifestDocument, m.Encode()); err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir.path("images"), 0o700); err != nil {
		return err
	}
	dir, journal := n.imagePaths(d)
	_, err = os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) { // deleted by hand perhaps: what is said of it is not true
		err = errors.Join(n.stock.swap(d, seeded{}), clearFile(journal))
	}
	if err != nil {
		return err
	}
	if held := n.stock.at(d); held != nil && held.Sealed() {
		return nil // it is served; a chunk found damaged would have broken the seal
	}
	img, err := store.Open(store.Config{Dir: dir, Journal: journal, Manifest: m, Log: n.log})
	if err != nil {
		return err
	}
	if err := fill(ctx, dir, img, m, b, n.cfg.ReserveBytes); err != nil {
		_, missing := img.Missing()
		err = errors.Join(err, img.Close())
		if missing == m.Bytes() && missing > 0 { // refused before the first byte: an empty one would be called damaged
			err = errors.Join(err, n.removeImage(d))
		}
		return err
	}
	if err := img.Close(); err != nil {
		return err
	}
	return n.seed(d)
}

// fill writes the chunks that are missing.
func fill(ctx context.Context, dir string, img *store.Image, m *manifest.Manifest, b *bundle.Bundle, reserve int64) error {
	if img.Sealed() {
		return nil
	}
	if err := store.Admit(dir, store.Need(m, img), reserve); err != nil {
		return err
	}
	for i, c := range m.Chunks {
		if img.HasChunk(i) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := b.ReadChunk(c)
		if err != nil {
			return err
		}
		if err := img.WriteChunk(i, data); err != nil {
			return err
		}
	}
	return img.Seal(ctx)
}

// copyImported takes what was imported of an image that is on its way into a slot;
// whatever goes wrong there is fetched instead.
func (n *Node) copyImported(into *store.Image) {
	from := n.stock.at(into.Digest())
	if from == nil {
		return
	}
	chunks, bytes, err := into.CopyFrom(from)
	if err != nil {
		n.log.Warn("imported image not used as a source", "err", err)
	}
	n.log.Info("copied from the imported image", "chunks", chunks, "bytes", bytes)
}
