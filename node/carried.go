package node

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/join"
)

// carryPacks adds the packs that lead to the release and are whole here. One that cannot
// be read is left out: whoever takes the bundle fetches chunks instead.
func (n *Node) carryPacks(ctx context.Context, v *View, rel *manifest.Release, e *Exporting) ([]bundle.Carried, error) {
	var out []bundle.Carried
	all, err := n.docs.all(join.DeltaDocument)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		data, err := n.docs.get(join.DeltaDocument, d)
		if err != nil || len(out) == bundle.MaxPacks {
			continue // it was trimmed meanwhile, or damaged
		}
		x, err := delta.OpenNoticeOf(data, v.Root, v.Trust.Roles().Plan, rel)
		if err != nil {
			continue // of another release, or signed by who may do so no longer
		}
		done := n.stock.lent.lend(x.Pack)
		img, err := n.readablePack(ctx, x.Pack)
		if err != nil {
			done()
			n.log.Warn("pack not exported", "pack", x.Pack.Short(), "err", err)
			continue
		}
		e.lent, e.opened = append(e.lent, done), append(e.opened, img)
		out = append(out, bundle.Carried{Notice: data, Image: img})
	}
	return out, ctx.Err()
}

// readablePack opens a whole pack, beside the slots or the one that a robot used last,
// and has read all of it.
func (n *Node) readablePack(ctx context.Context, d manifest.Digest) (*store.Image, error) {
	img, err := n.readable(d)
	for _, r := range n.robots {
		if held := r.images.usedPack(d); err != nil && held != nil && held.Complete() {
			img, err = store.Open(store.Config{Dir: held.Dir(), Manifest: held.Manifest(), ReadOnly: true, Log: n.log})
		}
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, manifest.MaxChunkBytes)
	for i := range img.Manifest().Chunks {
		if _, err := img.ReadChunk(i, buf); err != nil || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err(), img.Close())
		}
	}
	return img, nil
}

// usedPack is the pack that was used last if it is this one, else nil.
func (s *slotImages) usedPack(d manifest.Digest) *store.Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pack.img == nil || s.pack.img.Digest() != d {
		return nil
	}
	return s.pack.img
}

// takePacks takes the packs of a bundle that lead to its release and serves them, as if
// they had come from a member: what counts is the operator's signature under what this
// node knows. It returns how many of them are here now, and why others are not; a pack
// is only ever a short cut, so nothing else comes of that. Whoever calls it has the turn.
func (n *Node) takePacks(ctx context.Context, b *bundle.Bundle) (here int, not []error) {
	held := map[manifest.Digest]bool{} // twice the same is one
	for i, p := range b.Packs() {
		d, err := n.takePack(ctx, b.Release(), p)
		if err != nil {
			not = append(not, fmt.Errorf("pack %d: %w", i, err))
			continue
		}
		held[d] = true
	}
	return len(held), not
}

// needOf is how many bytes of room the images of a bundle need, as far as they are not
// here, together with all its packs.
func (n *Node) needOf(b *bundle.Bundle) (need int64, err error) {
	for _, p := range b.Packs() {
		need += p.Bytes()
	}
	for _, v := range b.Release().Variants {
		m, err := b.Manifest(v.Manifest)
		if err != nil {
			return 0, err
		}
		need += store.Need(m, n.stock.at(v.Manifest))
	}
	return need, nil
}

// takePack takes a pack unless one between the same images is here, and returns which is.
func (n *Node) takePack(ctx context.Context, rel *manifest.Release, p *bundle.Pack) (d manifest.Digest, err error) {
	v, notice := n.keeper.View(), p.Notice()
	if v.Trust == nil {
		return d, fmt.Errorf("%w: no trust metadata to verify a notice by", ErrNoDocument)
	}
	x, err := delta.OpenNoticeOf(notice, v.Root, v.Trust.Roles().Plan, rel)
	if err != nil {
		return d, err
	}
	if old, err := n.heldNotice(v, x.From, x.To); err == nil {
		if img := n.stock.at(old.Pack); img != nil && img.Complete() {
			return old.Pack, nil
		}
	}
	img, err := p.Image()
	if err != nil {
		return d, err
	}
	if err := x.Fits(img.Manifest()); err != nil {
		return d, err
	}
	if err := n.importImage(ctx, img); err != nil {
		return d, errors.Join(err, n.removeHalf(x.Pack))
	}
	return x.Pack, n.docs.replace(join.DeltaDocument, notice)
}

// removeHalf removes what there is of an image that could not be imported.
func (n *Node) removeHalf(d manifest.Digest) error {
	dir, _ := n.imagePaths(d)
	if _, err := os.Stat(dir); err != nil {
		return nil // nothing
	}
	return n.removeImage(d)
}
