package sums

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSlowTwin compares with the standard library: no parts and many, empty ones,
// whole blocks and not, ends on either side of where the padding needs a block more.
func TestSlowTwin(t *testing.T) {
	t.Logf("two at a time: %v", paired)
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	lengths := []func() int{
		func() int { return r.IntN(130) },
		func() int { return sha256.BlockSize * r.IntN(5) },
		func() int { return r.IntN(200 << 10) },
	}
	for range 500 {
		parts := make([][]byte, r.IntN(10))
		for i := range parts {
			n := lengths[r.IntN(len(lengths))]()
			at := r.IntN(len(data) - n)
			parts[i] = data[at : at+n]
		}
		out := Of(parts)
		require.Len(t, out, len(parts))
		for i, p := range parts {
			require.Equal(t, sha256.Sum256(p), out[i], "part %d of %d, of %d bytes", i, len(parts), len(p))
		}
	}
}

// BenchmarkOf hashes as many chunks as a piece of a few hundred KiB has.
func BenchmarkOf(b *testing.B) {
	data := make([]byte, 450<<10)
	var parts [][]byte
	for from, n := range []int{60 << 10, 90 << 10, 40 << 10, 110 << 10, 60 << 10, 90 << 10} {
		parts = append(parts, data[from:from+n])
	}
	b.Run("together", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			Of(parts)
		}
	})
	b.Run("one-by-one", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			for _, p := range parts {
				sha256.Sum256(p)
			}
		}
	})
}
