package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// held takes a bundle apart, as nodes do.
func held(t *testing.T, b *bundle.Bundle) map[manifest.Digest]bundle.Held {
	out := map[manifest.Digest]bundle.Held{}
	for _, v := range b.Release().Variants {
		i, err := b.Image(v.Manifest)
		require.NoError(t, err)
		out[v.Manifest] = i
	}
	return out
}

func TestExportIsThePlainBundle(t *testing.T) {
	one := app(t)
	other := plant(t, map[string]string{"nav": string(noise(1, 300<<10)), "map": string(prose(400 << 10))})
	s := spec(one, other)
	s.Variants = append(s.Variants, s.Variants[0]) // two variants of one image
	s.Variants[2].Name, s.Variants[2].Match = "mk3", map[string]string{"model": "mk3"}
	packed, _ := build(t, s)
	s.Plain = true
	plain, _ := build(t, s)
	require.NoError(t, bundle.SetMetadata(plain, []byte("owner's word")))
	want, err := os.ReadFile(plain)
	require.NoError(t, err)

	b := open(t, packed)
	e, err := bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), []byte("owner's word"), held(t, b), nil)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, e.Write(t.Context(), &out))
	require.Equal(t, int64(out.Len()), e.Bytes())
	require.True(t, bytes.Equal(want, out.Bytes()), "an export is not what Build with Plain makes")
	require.NoError(t, open(t, plain).Verify(t.Context()))
}

func TestExportRefuses(t *testing.T) {
	path, r := build(t, spec(app(t), plant(t, map[string]string{"x": "y"})))
	b := open(t, path)
	_, err := bundle.NewExport(b.ReleaseBytes(), []byte("x"), nil, held(t, b), nil)
	require.ErrorIs(t, err, manifest.ErrDigest)
	some := held(t, b)
	delete(some, r.Variants[1].Manifest)
	_, err = bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), nil, some, nil)
	require.ErrorIs(t, err, bundle.ErrNotHeld)
	require.ErrorContains(t, err, "variant mk2")
	some[r.Variants[1].Manifest] = some[r.Variants[0].Manifest]
	_, err = bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), nil, some, nil)
	require.ErrorIs(t, err, manifest.ErrDigest)

	e, err := bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), nil, held(t, b), nil)
	require.NoError(t, err)
	ended := errors.New("ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	require.ErrorIs(t, e.Write(ctx, &bytes.Buffer{}), ended)
	full, err := os.Create(filepath.Join(t.TempDir(), "x"))
	require.NoError(t, err)
	require.NoError(t, full.Close())
	require.Error(t, e.Write(t.Context(), full))
}
