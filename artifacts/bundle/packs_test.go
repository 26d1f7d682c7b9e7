package bundle_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// carried are two packs, one of them of several chunks and some of those twice.
func carried(t *testing.T) []bundle.Carried {
	dir := t.TempDir()
	var out []bundle.Carried
	for i, data := range [][]byte{noise(7, 500), bytes.Repeat(noise(8, 600<<10), 2)} {
		name := string(rune('a' + i))
		in, star := filepath.Join(dir, name, "pack"), filepath.Join(dir, name+".star")
		require.NoError(t, os.Mkdir(filepath.Dir(in), 0o755))
		require.NoError(t, os.WriteFile(in, data, 0o644))
		_, err := bundle.Build(t.Context(), spec(in, in), builder, star, nil)
		require.NoError(t, err)
		b := open(t, star)
		img, err := b.Image(b.Release().Variants[0].Manifest)
		require.NoError(t, err)
		out = append(out, bundle.Carried{Notice: []byte("notice " + name), Image: img})
	}
	return out
}

// export writes a bundle with packs, and says what it must be without.
func export(t *testing.T, packs []bundle.Carried) (path string, plain []byte) {
	built, _ := build(t, spec(app(t), plant(t, map[string]string{"x": "y"})))
	b := open(t, built)
	write := func(packs []bundle.Carried) []byte {
		e, err := bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), []byte("owner's word"), held(t, b), packs)
		require.NoError(t, err)
		var out bytes.Buffer
		require.NoError(t, e.Write(t.Context(), &out))
		require.Equal(t, int64(out.Len()), e.Bytes())
		return out.Bytes()
	}
	path = filepath.Join(t.TempDir(), "packs.star")
	require.NoError(t, os.WriteFile(path, write(packs), 0o644))
	return path, write(nil)
}

func TestPacksGoAlong(t *testing.T) {
	packs := carried(t)
	path, _ := export(t, packs)
	require.NoError(t, bundle.SetMetadata(path, []byte("another word"))) // keeps them
	b := open(t, path)
	require.NoError(t, b.Verify(t.Context()))
	require.Len(t, b.Packs(), len(packs))
	for i, p := range b.Packs() {
		want := packs[i].Image
		require.Equal(t, packs[i].Notice, p.Notice())
		got, err := p.Image()
		require.NoError(t, err)
		require.Equal(t, want.Manifest().Digest(), got.Manifest().Digest())
		for n := range want.Manifest().Chunks {
			w, err := want.ReadChunk(n, nil)
			require.NoError(t, err)
			g, err := got.ReadChunk(n, make([]byte, 100))
			require.NoError(t, err)
			require.Equal(t, w, g)
		}
		require.False(t, got.HasChunk(len(want.Manifest().Chunks)))
		_, err = got.ReadChunk(len(want.Manifest().Chunks), nil)
		require.ErrorIs(t, err, bundle.ErrNotHeld)
	}
}

func TestTooManyPacksAreNotExported(t *testing.T) {
	built, _ := build(t, spec(app(t), app(t)))
	b := open(t, built)
	one := carried(t)[0]
	var packs []bundle.Carried
	for range bundle.MaxPacks + 1 {
		packs = append(packs, one)
	}
	_, err := bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), nil, held(t, b), packs)
	require.ErrorContains(t, err, "65 packs")
	_, err = bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), nil, held(t, b), packs[1:])
	require.NoError(t, err)
}

// Whatever happened to the bytes of a pack, the images are as good as before, and the
// pack says that it is not.
func TestADamagedPackHurtsNobodyElse(t *testing.T) {
	packs := carried(t)
	path, plain := export(t, packs)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	var length int64 // of all packs
	for _, p := range packs {
		length += int64(len(p.Image.Manifest().Encode())) + p.Image.Manifest().Bytes()
	}
	start := len(plain) - int(indexBytes(plain)) // where the packs begin
	require.Equal(t, start+int(length)+int(indexBytes(whole)), len(whole))
	for at := start; at < start+int(length); at += 40_009 {
		data := bytes.Clone(whole)
		data[at] ^= 1
		require.NoError(t, os.WriteFile(path, data, 0o644))
		b := open(t, path)
		for _, v := range b.Release().Variants {
			img, err := b.Image(v.Manifest)
			require.NoError(t, err)
			for n := range img.Manifest().Chunks {
				_, err := img.ReadChunk(n, nil)
				require.NoError(t, err)
			}
		}
		requireClear(t, b.Verify(t.Context()), "byte %d", at)
		require.NoError(t, b.Close())
	}
}

func TestAPackCutWhileOpen(t *testing.T) {
	path, plain := export(t, carried(t))
	b := open(t, path)
	img, err := b.Packs()[1].Image()
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, int64(len(plain))+200))
	_, err = img.ReadChunk(0, nil)
	var damaged *bundle.DamagedError
	require.ErrorAs(t, err, &damaged)
	require.NotErrorIs(t, err, manifest.ErrDigest)
	requireClear(t, readFile(t, path), "cut within the packs")
}

// indexBytes is the length of the index of a whole file.
func indexBytes(data []byte) uint64 { return binary.BigEndian.Uint64(data[16:]) }
