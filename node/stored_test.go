package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/join"
)

// A disk that has lost the small document of what the swarm runs does not cost the image.
func TestAnImageOutlivesItsReleaseDocument(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 4, "1.0.0")
	s.wait("1.0.0", s.all("1.0.0"))
	active := s.op.View().Order.Component("app").Active
	require.NoError(t, os.Remove(s.op.docs.file(join.ReleaseDocument, active.Digest)))
	gone, err := s.op.Collect(s.ctx, true)
	require.NoError(t, err)
	require.Empty(t, gone.Removed)
}

// An image that is being exported is not pulled away.
func TestAnExportKeepsItsImages(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 4, "1.0.0")
	s.wait("1.0.0", s.all("1.0.0"))
	next := s.build("1.2.0", filepath.Join(s.dir, "1.2.0.star"))
	s.publish(next, filepath.Join(s.dir, "1.2.0.star"))
	image := next.Variants[0].Manifest
	e, err := s.op.Export(s.ctx, "app", "1.2.0", true)
	require.NoError(t, err)
	_, err = s.op.RemoveRelease(s.ctx, "app", "1.2.0")
	require.ErrorIs(t, err, ErrNoImage)
	require.NotNil(t, s.op.stock.at(image))
	require.NoError(t, e.Close())
	_, err = s.op.RemoveRelease(s.ctx, "app", "1.2.0")
	require.NoError(t, err)
	require.Nil(t, s.op.stock.at(image))
}

// What the release on its way may go back to stays, as does what the active one may.
func TestFallbacksAreNeeded(t *testing.T) {
	n := &Node{docs: docs{t.TempDir()}, wants: make(chan wanted, 64)}
	put := func(r *manifest.Release) manifest.Ref {
		r.Format, r.Component = manifest.ReleaseFormat, "app"
		n.releases.keep(r.Digest(), r)
		return manifest.Ref{Digest: r.Digest(), Counter: r.Counter}
	}
	lone, old, older := &manifest.Release{Version: "0", Counter: 1}, &manifest.Release{Version: "1", Counter: 2}, &manifest.Release{Version: "2", Counter: 3}
	put(lone)
	active := put(&manifest.Release{Version: "3", Counter: 4, Fallbacks: []manifest.Ref{put(old)}})
	next := put(&manifest.Release{Version: "4", Counter: 5, Fallbacks: []manifest.Ref{put(older)}})
	v := &View{Order: &order.Order{
		Components: []order.Component{{Name: "app", Active: active}},
		Rollout:    &order.Rollout{Component: "app", Release: next},
	}}
	require.Equal(t, "a fallback of what is active", n.whyNeeded(v, old).why)
	require.Equal(t, "a fallback of what the swarm goes to", n.whyNeeded(v, older).why)
	require.Empty(t, n.whyNeeded(v, lone).why)
	v.Order.Rollout.Status = order.Aborted
	require.Empty(t, n.whyNeeded(v, older).why)
}
