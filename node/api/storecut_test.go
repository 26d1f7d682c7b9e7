package api_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/join"
)

// An import that a power cut ended is not taken for whole: the next one goes on with it.
func TestImportGoesOnAfterAPowerCut(t *testing.T) {
	payload, path := t.TempDir(), filepath.Join(t.TempDir(), "1.0.star")
	require.NoError(t, os.WriteFile(filepath.Join(payload, "run"), bytes.Repeat([]byte("v1.0\n"), 200<<10), 0o755))
	spec := bundle.Spec{Component: "app", Version: "1.0", Counter: 1, Variants: []bundle.VariantSpec{{Name: "all", Path: payload}}}
	rel, err := bundle.Build(t.Context(), spec, newKey(t), path, nil)
	require.NoError(t, err)
	d := rel.Variants[0].Manifest
	l := newLaptopOf(t, "", func(c *node.Config) { cutOff(t, c.Dir, path, d) })
	_, err = l.Import(l.ctx, path)
	require.NoError(t, err)
	whole, err := l.VerifyStore(l.ctx)
	require.NoError(t, err)
	require.True(t, whole.OK, whole.Text)
	require.Equal(t, int64(rel.Variants[0].Bytes), whole.Bytes)
}

// cutOff leaves in the node's directory what an import has when it has just begun.
func cutOff(t *testing.T, dir, star string, d manifest.Digest) {
	b, err := bundle.Open(star)
	require.NoError(t, err)
	m, err := b.Manifest(d)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	docs, images := filepath.Join(dir, "docs", string(join.ManifestDocument)), filepath.Join(dir, "images")
	require.NoError(t, os.MkdirAll(docs, 0o700))
	require.NoError(t, os.MkdirAll(images, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(docs, d.String()), m.Encode(), 0o600))
	place := filepath.Join(images, d.String())
	img, err := store.Open(store.Config{Dir: place, Journal: place + ".journal", Manifest: m})
	require.NoError(t, err)
	require.NoError(t, img.Close())
}
