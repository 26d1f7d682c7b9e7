package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/join"
)

// Import takes the images of a .star file and serves them to other members. If the
// file carries trust metadata that is newer than what this node knows, it takes
// that too. What it holds already is not read again.
func (n *Node) Import(ctx context.Context, path string) (*manifest.Release, error) {
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
	img, err := store.Open(store.Config{Dir: dir, Journal: journal, Manifest: m, Log: n.log})
	if err != nil {
		return err
	}
	if err := fill(ctx, dir, img, m, b, n.cfg.ReserveBytes); err != nil {
		return errors.Join(err, img.Close())
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

func (n *Node) imagePaths(d manifest.Digest) (dir, journal string) {
	return n.dir.path("images", d.String()), n.dir.path("images", d.String()+".journal")
}

// seed serves an imported image until the node is closed.
func (n *Node) seed(d manifest.Digest) error {
	data, err := n.docs.get(join.ManifestDocument, d)
	if err != nil {
		return err
	}
	m, err := manifest.Decode(data)
	if err != nil {
		return err
	}
	dir, journal := n.imagePaths(d)
	img, err := store.Open(store.Config{Dir: dir, Journal: journal, Manifest: m, ReadOnly: true, Log: n.log})
	if err != nil {
		return err
	}
	n.exchange.Hold(img)
	return nil
}

// resumeSeeds serves what was imported before.
func (o *operator) resumeSeeds() error {
	entries, err := os.ReadDir(o.n.dir.path("images"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPack) { // a pack that was not finished
			if err := os.RemoveAll(o.n.dir.path("images", e.Name())); err != nil {
				return fmt.Errorf("remove an unfinished pack: %w", err)
			}
			continue
		}
		d, err := manifest.ParseDigest(e.Name())
		if err != nil {
			continue // a journal
		}
		if err := o.n.seed(d); err != nil {
			o.n.log.Warn("image not served", "image", d.Short(), "err", err)
		}
	}
	return nil
}
