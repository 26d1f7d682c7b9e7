package schedule

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pieces that only one member holds are offered to the others again when nothing moves,
// each to one of them, and not before.
func TestOfferedAgain(t *testing.T) {
	o := NewOffers(6, rand.New(rand.NewPCG(1, 2)))
	require.Empty(t, o.Again())
	o.Mine(all(6))
	o.Join("keeper", nil)
	for range 3 {
		for _, of := range o.Next() {
			o.Has("keeper", []uint32{uint32(of.Piece)})
		}
	}
	require.False(t, o.Lacking())
	o.Join("a", nil)
	o.Join("b", nil)
	require.Empty(t, o.Next(), "all is held by somebody")
	require.True(t, o.Lacking())
	seen := map[int]bool{}
	for _, of := range o.Again() {
		require.NotEqual(t, Peer("keeper"), of.Peer)
		require.False(t, seen[of.Piece], "it is on its way to one of them")
		seen[of.Piece] = true
	}
	require.Len(t, seen, 4, "two for each")
	require.NoError(t, o.check())
	require.Empty(t, o.Again(), "as many as one may be offered")
	for _, p := range []Peer{"a", "b", "keeper"} {
		o.Has(p, []uint32{0, 1, 2, 3, 4, 5})
	}
	require.False(t, o.Lacking())
	require.Empty(t, o.Again())
	require.NoError(t, o.check())
}
