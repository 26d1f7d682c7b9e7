package bundle

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// forge writes a bundle whose digests all fit, whatever is in it: what a stranger
// could hand over on a stick.
func forge(t testing.TB, path string, data []byte, x []byte) {
	h := header{data: uint64(len(data)), index: uint64(len(x)), digest: manifest.Sum(x)}
	require.NoError(t, os.WriteFile(path, append(append(h.encode(), data...), x...), 0o644))
}

// parts builds a small bundle and returns its data and index.
func parts(t testing.TB) ([]byte, index) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "x.star")
	require.NoError(t, os.WriteFile(in, bytes.Repeat([]byte("starling "), 500), 0o644))
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	_, err := Build(t.Context(), Spec{Component: "nav", Version: "1", Counter: 1, Variants: []VariantSpec{{Name: "all", Path: in}}}, key, out, nil)
	require.NoError(t, err)
	b, err := Open(out)
	require.NoError(t, err)
	defer b.Close()
	data := make([]byte, b.header.data)
	_, err = b.file.ReadAt(data, headerBytes)
	require.NoError(t, err)
	return data, b.index
}

func TestForgedBundles(t *testing.T) {
	data, good := parts(t)
	r, err := manifest.DecodeRelease(good.Release)
	require.NoError(t, err)
	release := func(change func(*manifest.Release)) func(*index) {
		return func(x *index) {
			c := *r
			c.Variants = append([]manifest.Variant(nil), r.Variants...)
			change(&c)
			x.Release = c.Encode()
		}
	}
	for name, c := range map[string]struct {
		index func(*index)
		data  func([]byte) []byte
		want  string
	}{
		"as built":             {},
		"other counter":        {index: release(func(r *manifest.Release) { r.Counter++ }), want: "another release"},
		"other command":        {index: release(func(r *manifest.Release) { r.Variants[0].Run = []string{"sh"} }), want: "another release"},
		"no provenance":        {index: release(func(r *manifest.Release) { r.Provenance = manifest.Digest{} }), want: "provenance"},
		"provenance of nobody": {index: func(x *index) { x.Provenance = nil }, want: "provenance"},
		"no chunks":            {index: func(x *index) { x.Stored = nil }, want: "holds only 0 chunks"},
		"more chunks":          {index: func(x *index) { x.Stored = append([]uint32{x.Stored[0]}, 1) }, want: "chunks"},
		"chunk of nothing":     {index: func(x *index) { x.Stored = []uint32{0} }, want: "stored in 0 bytes"},
		"chunk above its size": {index: func(x *index) { x.Stored = []uint32{1 << 30} }, want: "stored in 1073741824 bytes"},
		"data behind":          {data: func(d []byte) []byte { return append(d, 1) }, want: "need 1 chunks"},
		"no data":              {data: func([]byte) []byte { return nil }, want: "too short for the manifests"},
		"a bomb":               {data: bomb(good), index: func(x *index) { x.Stored = []uint32{uint32(len(bombFrame(t)))} }, want: "chunk"},
		"fat metadata":         {index: func(x *index) { x.Metadata = make([]byte, MaxMetadataBytes+1) }, want: "too large"},
		"format 2 inside":      {index: func(x *index) { x.Format = 2 }, want: "from the future"},
	} {
		t.Run(name, func(t *testing.T) {
			x, d, path := good, bytes.Clone(data), filepath.Join(t.TempDir(), "f.star")
			if c.index != nil {
				c.index(&x)
			}
			if c.data != nil {
				d = c.data(d)
			}
			forge(t, path, d, canonical.Encode(&x))
			b, err := Open(path)
			if err == nil {
				defer b.Close()
				err = b.Verify(t.Context())
			}
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			var damaged *DamagedError
			require.True(t, errors.As(err, &damaged), "%v", err)
		})
	}
}

// bombFrame is a zstd frame of a few bytes that says it holds a gigabyte.
func bombFrame(testing.TB) []byte {
	return []byte("\x28\xb5\x2f\xfd\xa4\x00\x00\x00\x40\x03\x00\x00")
}

// bomb puts that frame in place of the chunk.
func bomb(x index) func([]byte) []byte {
	return func(data []byte) []byte {
		return append(data[:len(data)-int(x.Stored[0])], bombFrame(nil)...)
	}
}

// FuzzIndex hands over bundles with fitting digests around a fuzzed index.
func FuzzIndex(f *testing.F) {
	data, good := parts(f)
	f.Add(data, canonical.Encode(&good))
	f.Add([]byte{}, []byte{0xa0})
	f.Fuzz(func(t *testing.T, data, x []byte) {
		path := filepath.Join(t.TempDir(), "f.star")
		forge(t, path, data, x)
		b, err := Open(path)
		if err != nil {
			return
		}
		defer b.Close()
		_ = b.Verify(t.Context()) // may fail, may not panic
	})
}

func TestDefaultTool(t *testing.T) {
	require.Contains(t, defaultTool(), "starling ")
}
