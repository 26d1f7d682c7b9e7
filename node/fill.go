package node

import (
	"context"
	"errors"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/update"
)

// errImported ends a fetch whose image was imported here meanwhile.
var errImported = errors.New("node: the image was imported")

// fill brings what an image of a release lacks in its slot: from the other slot, from what
// is imported here, by a pack, and from other members. Whoever brings the image on a stick
// need not wait for them: an import ends the fetch, or the wait for its conditions, and
// is copied.
func (r *robot) fill(ctx context.Context, release manifest.Digest, slot update.Slot, img *store.Image, progress func(permille int)) error {
	r.images.copyFrom(slot.Other(), img)
	for {
		during, cancel := context.WithCancelCause(ctx)
		done := r.n.stock.watch(img.Digest(), func() { cancel(errImported) })
		r.n.copyImported(img) // after watch, so that no import falls between
		err := r.gather(during, release, slot, img, progress)
		done()
		again := err != nil && errors.Is(context.Cause(during), errImported) && ctx.Err() == nil
		cancel(nil)
		if !again {
			return err
		}
	}
}

// gather brings what nobody here has. A whole image needs no link, and so no condition.
func (r *robot) gather(ctx context.Context, release manifest.Digest, slot update.Slot, img *store.Image, progress func(permille int)) error {
	r.patch(ctx, release, slot, img, progress)
	fetch := func(ctx context.Context) error { return r.n.exchange.Fetch(ctx, img, progress) }
	if !img.Complete() {
		return r.underConditions(ctx, release, fetch)
	}
	r.n.exchange.Tell(ctx, img, seedsTold) // nobody will hear of it by a fetch
	return fetch(ctx)
}
