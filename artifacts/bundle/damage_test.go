package bundle_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// small builds a bundle of a few kilobytes with raw and compressed chunks.
func small(t testing.TB, dir string) []byte {
	in := filepath.Join(dir, "in")
	require.NoError(t, os.Mkdir(in, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(in, "a"), noise(1, 300), 0o644))
	other := filepath.Join(dir, "other")
	require.NoError(t, os.Mkdir(other, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(other, "b"), prose(1000), 0o644))
	out := filepath.Join(dir, "x.star")
	_, err := bundle.Build(t.Context(), spec(in, other), builder, out, nil)
	require.NoError(t, err)
	require.NoError(t, bundle.SetMetadata(out, []byte("meta")))
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	return data
}

// readAll opens data as a bundle and reads all of it. What it returns without
// error is what was built.
func readAll(t testing.TB, path string, data []byte) error {
	require.NoError(t, os.WriteFile(path, data, 0o644))
	return readFile(t, path)
}

func readFile(t testing.TB, path string) error {
	b, err := bundle.Open(path)
	if err != nil {
		require.Nil(t, b)
		return err
	}
	defer b.Close()
	if err := b.Verify(t.Context()); err != nil {
		return err
	}
	for _, v := range b.Release().Variants {
		m, err := b.Manifest(v.Manifest)
		require.NoError(t, err)
		for _, c := range m.Chunks {
			got, err := b.ReadChunk(c)
			require.NoError(t, err)
			require.Equal(t, c.Digest, manifest.Sum(got))
		}
	}
	return nil
}

func TestEveryFlippedBit(t *testing.T) {
	dir := t.TempDir()
	whole, path := small(t, dir), filepath.Join(dir, "flipped.star")
	require.NoError(t, readAll(t, path, whole))
	chunks := packedBytes(t, path, whole)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	for i := range whole {
		bit := byte(1) << (i % 8)
		_, err := f.WriteAt([]byte{whole[i] ^ bit}, int64(i))
		require.NoError(t, err)
		if err = readFile(t, path); err != nil {
			requireClear(t, err, "bit %#x of byte %d of %d", bit, i, len(whole))
		} else {
			// Some bits of a zstd frame do not matter to its decoder.
			require.Contains(t, chunks, i, "bit %#x of byte %d may be flipped", bit, i)
		}
		_, err = f.WriteAt(whole[i:i+1], int64(i))
		require.NoError(t, err)
	}
	require.NoError(t, readFile(t, path))
}

// packedBytes returns the offsets in the file of the one compressed chunk: it
// stands behind the noise of the first variant, before the manifests.
func packedBytes(t *testing.T, path string, whole []byte) map[int]bool {
	end := 56 + int(binary.BigEndian.Uint64(whole[8:]))
	for _, v := range open(t, path).Release().Variants {
		end -= int(v.ManifestBytes)
	}
	out := map[int]bool{}
	for at := 56 + 300; at < end; at++ {
		out[at] = true
	}
	require.NotEmpty(t, out)
	return out
}

func TestEveryTruncation(t *testing.T) {
	dir := t.TempDir()
	whole, path := small(t, dir), filepath.Join(dir, "cut.star")
	require.NoError(t, os.WriteFile(path, whole, 0o644))
	for n := len(whole) - 1; n >= 0; n-- {
		require.NoError(t, os.Truncate(path, int64(n)))
		requireClear(t, readFile(t, path), "cut to %d of %d bytes", n, len(whole))
	}
	requireClear(t, readAll(t, path, append(bytes.Clone(whole), 0)), "one byte too many")
}

func TestCutWhileOpen(t *testing.T) {
	dir := t.TempDir()
	small(t, dir)
	path := filepath.Join(dir, "x.star")
	b := open(t, path)
	require.NoError(t, os.Truncate(path, 60))
	requireClear(t, b.Verify(t.Context()), "cut after Open")
}

func TestFutureFormat(t *testing.T) {
	dir := t.TempDir()
	data := small(t, dir)
	binary.BigEndian.PutUint32(data[4:], bundle.Format+1)
	err := readAll(t, filepath.Join(dir, "x.star"), data)
	require.ErrorIs(t, err, canonical.ErrFuture)
	require.ErrorContains(t, err, "update starling")
	require.ErrorIs(t, readAll(t, filepath.Join(dir, "x.star"), []byte("PK\x03\x04")), bundle.ErrNotBundle)
	require.ErrorIs(t, readAll(t, filepath.Join(dir, "x.star"), nil), bundle.ErrNotBundle)
}

// The seeds are a whole bundle and parts of it; the fuzzer has to get past two
// digests, so it mostly exercises header and lengths. FuzzIndex goes behind them.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	whole := small(f, dir)
	f.Add(whole)
	f.Add(whole[:56])
	f.Add([]byte("STAR"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := readAll(t, filepath.Join(t.TempDir(), "f.star"), data); err != nil {
			requireClear(t, err, "%d bytes", len(data))
		}
	})
}
