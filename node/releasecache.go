package node

import (
	"sync"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/join"
)

// maxKept bounds the documents of a kind that are kept decoded.
const maxKept = 64

// decoded keeps documents that were read and verified, by their digest, so that those who
// look at the node again and again do not read the disk each time. A document never
// changes under its digest. At maxKept entries it starts anew.
type decoded[T any] struct {
	mu  sync.Mutex // guards all; never held across I/O
	all map[manifest.Digest]*T
}

func (c *decoded[T]) known(g manifest.Digest) *T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[g]
}

func (c *decoded[T]) keep(g manifest.Digest, x *T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxKept {
		c.all = map[manifest.Digest]*T{}
	}
	c.all[g] = x
}

// releaseCache is decoded for releases.
type releaseCache struct{ decoded[manifest.Release] }

// get returns the release with this digest if the document is here, else nil.
func (c *releaseCache) get(d docs, g manifest.Digest) *manifest.Release {
	if r := c.known(g); r != nil {
		return r
	}
	data, err := d.get(join.ReleaseDocument, g)
	if err != nil {
		return nil
	}
	r, err := manifest.DecodeRelease(data)
	if err != nil {
		return nil
	}
	c.keep(g, r)
	return r
}
