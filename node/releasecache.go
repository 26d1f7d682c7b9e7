package node

import (
	"sync"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/join"
)

// maxReleases bounds the releases that are kept decoded.
const maxReleases = 64

// releaseCache keeps decoded releases, so that those who look at the node again
// and again do not read the disk each time. A release never changes under its
// digest. At maxReleases entries it starts anew.
type releaseCache struct {
	mu  sync.Mutex // guards all; never held across I/O
	all map[manifest.Digest]*manifest.Release
}

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

func (c *releaseCache) known(g manifest.Digest) *manifest.Release {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[g]
}

func (c *releaseCache) keep(g manifest.Digest, r *manifest.Release) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxReleases {
		c.all = map[manifest.Digest]*manifest.Release{}
	}
	c.all[g] = r
}
