package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/join"
)

// maxStones bounds the steps from what a robot runs to what the swarm runs.
const maxStones = 8

// ErrNoWay is returned when no listed releases lead from what a robot runs to what
// the swarm runs: the operator must list one that does.
var ErrNoWay = errors.New("node: no stepping stones lead to the active release")

// stone is the release to take next on the way from running to rel, which cannot
// replace it directly: the nearest of those that rel names in From, and so on.
func (n *Node) stone(ctx context.Context, v *View, rel *manifest.Release, running manifest.Ref, steps int) (*manifest.Release, error) {
	if rel.MayReplace(running) {
		return rel, nil
	}
	if steps == 0 {
		return nil, fmt.Errorf("%w: more than %d steps from %s", ErrNoWay, maxStones, running.Version)
	}
	for _, version := range rel.From {
		l, ok := v.Trust.Release(rel.Component, version)
		if !ok || v.Order.Quarantined(l.Ref.Digest) || l.Ref.Counter <= running.Counter {
			continue
		}
		from, err := n.release(ctx, v, l.Ref)
		if err != nil {
			return nil, err
		}
		next, err := n.stone(ctx, v, from, running, steps-1)
		if err == nil || !errors.Is(err, ErrNoWay) {
			return next, err
		}
	}
	return nil, fmt.Errorf("%w: %s %s can be reached from %v, this robot runs %s", ErrNoWay, rel.Component, rel.Version, rel.From, running.Version)
}

// isStone reports whether the release with digest d is a step towards active, as
// far as the releases that are here tell; others are asked for.
func (n *Node) isStone(v *View, active manifest.Ref, d manifest.Digest) bool {
	if v.Trust == nil {
		return false
	}
	queue, seen := []manifest.Digest{active.Digest}, map[manifest.Digest]bool{}
	for len(queue) > 0 && len(seen) < maxStones*manifest.MaxFrom {
		at := queue[0]
		queue = queue[1:]
		if seen[at] {
			continue
		}
		seen[at] = true
		doc, err := n.docs.get(join.ReleaseDocument, at)
		if err != nil {
			n.want(join.ReleaseDocument, at)
			continue
		}
		rel, err := v.Trust.VerifyRelease(doc)
		if err != nil {
			continue
		}
		for _, version := range rel.From {
			if l, ok := v.Trust.Release(rel.Component, version); ok && !v.Order.Quarantined(l.Ref.Digest) {
				if l.Ref.Digest == d {
					return true
				}
				queue = append(queue, l.Ref.Digest)
			}
		}
	}
	return false
}
