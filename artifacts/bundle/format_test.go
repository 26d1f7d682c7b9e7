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
func forge(t testing.TB, path string, format uint, data []byte, x []byte) {
	h := header{format: uint32(format), data: uint64(len(data)), index: uint64(len(x)), digest: manifest.Sum(x)}
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
		older uint // how much lower the format in the header is
		want  string
	}{
		"as built":             {},
		"other counter":        {index: release(func(r *manifest.Release) { r.Counter++ }), want: "another release"},
		"other command":        {index: release(func(r *manifest.Release) { r.Variants[0].Run = []string{"sh"} }), want: "another release"},
		"no provenance":        {index: release(func(r *manifest.Release) { r.Provenance = manifest.Digest{} }), want: "provenance"},
		"provenance of nobody": {index: func(x *index) { x.Provenance = nil }, want: "provenance"},
		"no chunks":            {index: func(x *index) { x.Stored = nil }, want: "manifest"},
		"more chunks":          {index: func(x *index) { x.Stored = append([]uint32{x.Stored[0]}, 1) }, want: "chunks"},
		"chunk of nothing":     {index: func(x *index) { x.Stored = []uint32{0, x.Stored[0]} }, want: "stored in 0 bytes"},
		"chunk above its size": {index: func(x *index) { x.Stored = []uint32{4501} }, data: func(d []byte) []byte { return append(make([]byte, 4501-good.Stored[0]), d...) }, want: "stored in 4501 bytes"},
		"chunk beyond all":     {index: func(x *index) { x.Stored = []uint32{1 << 30} }, want: "need 10737"},
		"data behind":          {data: func(d []byte) []byte { return append(d, 1) }, want: "need 1 chunks"},
		"no data":              {data: func([]byte) []byte { return nil }, want: "its chunks and manifests need"},
		"a bomb":               {data: bomb(good), index: func(x *index) { x.Stored = []uint32{uint32(len(bombFrame(t)))} }, want: "chunk"},
		"fat metadata":         {index: func(x *index) { x.Metadata = make([]byte, MaxMetadataBytes+1) }, want: "too large"},
		"format 4 inside":      {index: func(x *index) { x.Format = 4 }, want: "from the future", older: 1},
		"another in front":     {older: 1, want: "format 3 in a file of format 2"},
		"format 2, no packs":   {index: func(x *index) { x.Format = 2 }, want: "with 0 packs"},
		"packs in format 1":    {index: func(x *index) { x.Format, x.Packs = 1, make([]packEntry, 1) }, want: "with 1 packs"},
		"an empty pack":        {index: packs(make([]packEntry, 1))}, // of no use, and no harm
		"packs and packs":      {index: packs(make([]packEntry, MaxPacks+1)), want: "65 packs"},
		"a million packs":      {index: packs(make([]packEntry, 1<<20)), want: "too large"},
		"an endless pack":      {index: packs([]packEntry{{Bytes: 1 << 63}}), want: "more bytes than the data"},
		"packs that go round":  {index: packs([]packEntry{{Bytes: 1 << 63}, {Bytes: 1 << 63}}), want: "more bytes than the data"},
		"a pack beyond all":    {index: packs([]packEntry{{Bytes: 1<<64 - 1, Manifest: 2}}), want: "more bytes than the data"},
		"a pack too many":      {index: packs([]packEntry{{Bytes: 1}}), want: "with 1 packs in"},
		"fat manifest of one":  {index: packs([]packEntry{{Manifest: manifest.MaxBytes + 1}}), want: "too large"},
		"fat notice":           {index: packs([]packEntry{{Notice: make([]byte, 1<<16)}}), want: "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			x, d, path := good, bytes.Clone(data), filepath.Join(t.TempDir(), "f.star")
			if c.index != nil {
				c.index(&x)
			}
			if c.data != nil {
				d = c.data(d)
			}
			forge(t, path, x.Format-c.older, d, canonical.Encode(&x))
			b, err := Open(path)
			if err == nil {
				defer b.Close()
				if err = b.Verify(t.Context()); len(x.Packs) > 0 {
					require.ErrorContains(t, err, "pack 0")
					err = nil
				}
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

// A pack has no bytes beside those that its manifest lists.
func TestAForgedPackLength(t *testing.T) {
	data, x := parts(t)
	r, err := manifest.DecodeRelease(x.Release)
	require.NoError(t, err)
	m, err := manifest.Decode(data[len(data)-int(r.Variants[0].ManifestBytes):])
	require.NoError(t, err)
	path, length := filepath.Join(t.TempDir(), "f.star"), uint64(m.Bytes())+1
	packs([]packEntry{{Manifest: uint32(len(m.Encode())), Bytes: length}})(&x)
	forge(t, path, Format, append(append(data, m.Encode()...), make([]byte, length)...), canonical.Encode(&x))
	b, err := Open(path)
	require.NoError(t, err)
	defer b.Close()
	_, err = b.Packs()[0].Image()
	require.ErrorContains(t, err, "its manifest lists 4500 bytes, and it has 4501")
}

// packs makes an index of one with packs.
func packs(all []packEntry) func(*index) {
	return func(x *index) { x.Format, x.Packs = Format, all }
}

// bombFrame is a zstd frame of a few bytes that says it holds a gigabyte.
func bombFrame(testing.TB) []byte {
	return []byte("\x28\xb5\x2f\xfd\xa4\x00\x00\x00\x40\x03\x00\x00")
}

// bomb puts that frame in place of the chunk.
func bomb(x index) func([]byte) []byte {
	return func(data []byte) []byte {
		return append(bombFrame(nil), data[x.Stored[0]:]...)
	}
}

// FuzzIndex hands over bundles with fitting digests around a fuzzed index.
func FuzzIndex(f *testing.F) {
	data, good := parts(f)
	f.Add(uint8(Format), data, canonical.Encode(&good))
	good.Packs = []packEntry{{Notice: []byte("n"), Manifest: 1, Bytes: 1}}
	f.Add(uint8(Format), append(data, 1, 1), canonical.Encode(&good))
	f.Add(uint8(1), []byte{}, []byte{0xa0})
	f.Fuzz(func(t *testing.T, format uint8, data, x []byte) {
		path := filepath.Join(t.TempDir(), "f.star")
		forge(t, path, uint(format), data, x)
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
