package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/join"
)

// An Exporting is a release on its way out of the node as a bundle. Close it.
type Exporting struct {
	*bundle.Export
	opened []*store.Image
	lent   []func() // give the images back
}

// Export makes a bundle of a release from the images that are here, in slots or beside
// them, with the trust metadata of this node: whoever has the file needs nothing else.
// With packs, those that lead to the release and are here go along; a Starling from
// before that refuses a file with any.
// The builder's word for the release is asked of other members if it is not here.
// Errors are ErrNoRelease, ErrNoImage if a variant's image is not here (a robot has
// its own only), ErrNoDocument, or those of trust metadata that does not list it.
func (n *Node) Export(ctx context.Context, component, version string, packs bool) (*Exporting, error) {
	v := n.View()
	if v == nil || v.Trust == nil {
		return nil, ErrNotReady
	}
	rel, err := n.releaseNamed(component, version)
	if err != nil {
		return nil, err
	}
	doc := rel.Encode()
	if _, err := v.Trust.VerifyRelease(doc); err != nil {
		return nil, fmt.Errorf("export %s: %w", called(rel), err)
	}
	provenance, err := n.document(ctx, join.ProvenanceDocument, rel.Provenance)
	if err != nil {
		return nil, fmt.Errorf("export %s: who built it is known where it was imported, and no such member is in reach: %w", called(rel), err)
	}
	e := &Exporting{}
	images := map[manifest.Digest]bundle.Held{}
	var without []string
	for _, variant := range rel.Variants {
		e.lent = append(e.lent, n.stock.lent.lend(variant.Manifest))
		img, err := n.readable(variant.Manifest)
		if errors.Is(err, ErrNoImage) {
			without = append(without, variant.Name)
			continue
		}
		if err != nil {
			return nil, errors.Join(err, e.Close())
		}
		e.opened = append(e.opened, img)
		images[variant.Manifest] = img
	}
	if len(without) > 0 {
		return nil, errors.Join(fmt.Errorf("%w: %s, variants %s: a bundle has all, and whole; wait if one is being fetched, or export it where it was imported", ErrNoImage, called(rel), strings.Join(without, ", ")), e.Close())
	}
	var carried []bundle.Carried
	if packs {
		if carried, err = n.carryPacks(ctx, v, rel, e); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	if e.Export, err = bundle.NewExport(doc, provenance, v.Trust.Bundle().Encode(), images, carried); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// readable opens a whole image, in a slot or beside them, for reading by itself: what is
// done with the slot meanwhile does not pull it away, but is found.
func (n *Node) readable(d manifest.Digest) (*store.Image, error) {
	if held := n.stock.at(d); held != nil && held.Complete() {
		return n.openImage(d)
	}
	held := n.slotImage(d)
	if held == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoImage, d.Short())
	}
	return store.Open(store.Config{Dir: held.Dir(), Manifest: held.Manifest(), ReadOnly: true, Log: n.log})
}

// Close frees the images.
func (e *Exporting) Close() error {
	var errs []error
	for _, img := range e.opened {
		errs = append(errs, img.Close())
	}
	for _, done := range e.lent {
		done()
	}
	e.lent = nil
	return errors.Join(errs...)
}
