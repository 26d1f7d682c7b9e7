package manifest_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// twin is a Bitmap as a map: slow and plain.
type twin map[int]bool

func (w twin) all() []int { return slices.Sorted(maps.Keys(w)) }

func requireSame(t *testing.T, seed uint64, w twin, b manifest.Bitmap) {
	t.Helper()
	require.Equal(t, w.all(), b.All(), "seed %d", seed)
	require.Equal(t, len(w), b.Count(), "seed %d", seed)
	for i := -9; i < 300; i++ {
		require.Equal(t, w[i], b.Has(i), "seed %d number %d", seed, i)
	}
}

func TestBitmapAgainstMap(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		random := func() (manifest.Bitmap, twin) {
			b, w := manifest.NewBitmap(r.IntN(200)), twin{}
			for range r.IntN(300) {
				i := r.IntN(1 + r.IntN(256))
				if r.IntN(3) == 0 {
					b = b.Without(i)
					delete(w, i)
				} else {
					b = b.With(i)
					w[i] = true
				}
			}
			return b, w
		}
		a, v := random()
		b, w := random()
		before := a.Clone()
		union, minus := maps.Clone(v), maps.Clone(v)
		maps.Copy(union, w)
		maps.DeleteFunc(minus, func(i int, _ bool) bool { return w[i] })
		requireSame(t, seed, v, a)
		requireSame(t, seed, union, a.Union(b))
		requireSame(t, seed, union, b.Union(a))
		requireSame(t, seed, minus, a.Minus(b))
		requireSame(t, seed, v, a.Clone().Trim())
		require.Equal(t, []byte(before), []byte(a), "seed %d: an operand was changed", seed)
		if n := len(a.Trim()); n > 0 {
			require.NotZero(t, a.Trim()[n-1], "seed %d", seed)
		}
	}
	require.Nil(t, manifest.Bitmap(nil).All())
	require.Empty(t, manifest.NewBitmap(20).Trim())
}
