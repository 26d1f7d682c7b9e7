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
//
// Packs in the file are taken before the images, so that robots find them as soon as
// they can fetch, unless an image might want for their room: then after them. Those that nobody has signed whom this node knows get another chance
// once the file's metadata is in force.
func (n *Node) Import(ctx context.Context, path string) (*Import, error) {
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
	if need, err := n.needOf(b); err != nil {
		return nil, errors.Join(err, b.Close())
	} else if store.Admit(n.dir.path("images"), need, n.cfg.ReserveBytes) == nil {
		n.takePacks(ctx, b)
	}
	for _, v := range rel.Variants {
		img, err := b.Image(v.Manifest)
		if err == nil {
			err = n.importImage(ctx, img)
		}
		if err != nil {
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
	out := &Import{Release: rel, Text: rel.Describe() + " is here and served"}
	out.Packs, out.Refused = n.takePacks(ctx, b)
	out.addPacks()
	n.log.Info("release imported", "release", rel.Describe(), "packs", out.Packs)
	if len(out.Refused) > 0 {
		n.log.Warn("packs not used", "release", rel.Describe(), "err", errors.Join(out.Refused...))
	}
	n.note(Event{Kind: "imported", Release: rel.Version, Text: out.Text})
	return out, b.Close()
}

// An Import is what a .star file brought.
type Import struct {
	Release *manifest.Release
	Packs   int     // of the file's, that are here and served
	Refused []error // why the others are not: chunks are fetched instead
	Text    string
}

// addPacks says of the packs what there is to say.
func (i *Import) addPacks() {
	if i.Packs > 0 {
		i.Text += fmt.Sprintf(", and packs that lead to it: %d", i.Packs)
	}
	if len(i.Refused) > 0 {
		i.Text += fmt.Sprintf("; packs not used, so that chunks are fetched instead: %d (%v)", len(i.Refused), i.Refused[0])
	}
}

func (n *Node) importImage(ctx context.Context, from bundle.Held) error {
	m := from.Manifest()
	d := m.Digest()
	if _, err := n.docs.put(join.ManifestDocument, m.Encode()); err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir.path("images"), 0o700); err != nil {
		return err
	}
	dir, journal := n.imagePaths(d)
	_, err := os.Stat(dir)
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
	if err := fill(ctx, dir, img, m, from, n.cfg.ReserveBytes); err != nil {
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
func fill(ctx context.Context, dir string, img *store.Image, m *manifest.Manifest, from bundle.Held, reserve int64) error {
	if img.Sealed() {
		return nil
	}
	if err := store.Admit(dir, store.Need(m, img), reserve); err != nil {
		return err
	}
	for i := range m.Chunks {
		if img.HasChunk(i) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := from.ReadChunk(i, nil)
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
