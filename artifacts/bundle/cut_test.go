package bundle

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// slowCut is the library's cut, which ours must not differ from in a byte.
func slowCut(t *testing.T, data []byte) (lengths []uint32) {
	c, err := chunkers.NewChunker(algorithm, bytes.NewReader(data), &chunkers.ChunkerOpts{
		MinSize: manifest.MinChunkBytes, NormalSize: manifest.AverageChunkBytes, MaxSize: manifest.MaxChunkBytes,
	})
	require.NoError(t, err)
	for err == nil {
		var part []byte
		if part, err = c.Next(); len(part) > 0 { // the last may come with io.EOF
			lengths = append(lengths, uint32(len(part)))
		}
	}
	require.ErrorIs(t, err, io.EOF)
	return lengths
}

// streams are of all lengths near the bounds of chunks and blocks, and of many kinds.
func streams() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 5<<20+12345)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	few := bytes.Clone(noise)
	for i := range few {
		few[i] &= 3
	}
	out := map[string][]byte{"few values": few, "zeros": make([]byte, 3<<20+1), "noise": noise, "empty": nil}
	for i, n := range []int{
		1, manifest.MinChunkBytes - 1, manifest.MinChunkBytes, manifest.MinChunkBytes + 1, manifest.AverageChunkBytes, manifest.AverageChunkBytes + 1,
		manifest.MaxChunkBytes, manifest.MaxChunkBytes + 1, blockBytes, blockBytes + manifest.MaxChunkBytes, blockBytes + manifest.MaxChunkBytes + 1,
	} {
		out["near a bound "+string(rune('a'+i))] = noise[:n]
	}
	for i := range 20 {
		at := r.IntN(len(noise) / 2)
		out["random "+string(rune('a'+i))] = noise[at : at+r.IntN(len(noise)/2)]
	}
	return out
}

func TestCutsAsTheLibrary(t *testing.T) {
	for name, data := range streams() {
		t.Run(name, func(t *testing.T) {
			var lengths []uint32
			var got []byte
			err := flow(t.Context(), iotest.HalfReader(bytes.NewReader(data)), nil, func(b *block) error {
				got = append(got, b.data...)
				at := len(got) - len(b.data)
				for _, c := range b.chunks {
					require.Equal(t, manifest.Sum(got[at:at+int(c.Bytes)]), c.Digest)
					lengths = append(lengths, c.Bytes)
					at += int(c.Bytes)
				}
				return nil
			})
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got), "the stream came out changed")
			require.Equal(t, slowCut(t, data), lengths)
		})
	}
}

// TestProcessorsDoNotShow builds by one processor and by many.
func TestProcessorsDoNotShow(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 12 {
		data := make([]byte, r.IntN(2<<20))
		for k := range data {
			data[k] = "a text that repeats itself, more or less"[k%40] ^ byte(r.IntN(2))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, string(rune('a'+i))), data, 0o644))
	}
	spec, key := plainSpec(dir), ed25519.NewKeyFromSeed(make([]byte, 32))
	var files [][]byte
	for _, procs := range []int{1, 4, 4} {
		was := runtime.GOMAXPROCS(procs)
		out := filepath.Join(t.TempDir(), "x.star")
		_, err := Build(t.Context(), spec, key, out, nil)
		runtime.GOMAXPROCS(was)
		require.NoError(t, err)
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		files = append(files, data)
	}
	require.True(t, bytes.Equal(files[0], files[1]), "one processor and four write different files")
	require.True(t, bytes.Equal(files[1], files[2]), "two builds write different files")
}

// TestFlowEnds: whoever fails or is called off ends all others.
func TestFlowEnds(t *testing.T) {
	broken := errors.New("broken")
	data := bytes.NewReader(make([]byte, 40<<20))
	err := flow(t.Context(), io.MultiReader(data, iotest.ErrReader(broken)), nil, func(*block) error { return nil })
	require.ErrorIs(t, err, broken)
	data.Reset(make([]byte, 40<<20))
	err = flow(t.Context(), data, nil, func(*block) error { return broken })
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancelCause(t.Context())
	data.Reset(make([]byte, 40<<20))
	err = flow(ctx, data, nil, func(*block) error { cancel(broken); return nil })
	require.ErrorIs(t, err, broken)
}

func plainSpec(dir string) Spec {
	return Spec{Component: "nav", Version: "1", Counter: 1, Variants: []VariantSpec{{Name: "all", Path: dir}}}
}
