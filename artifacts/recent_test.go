package artifacts

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRecentKeepsTheNewest compares the ring with a list that remembers everything: what
// is kept is right, the newest chunks are kept, and no byte beyond the ring is.
func TestRecentKeepsTheNewest(t *testing.T) {
	const ring = 1000
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		r := &recent{bytes: ring, place: map[int]kept{}}
		var all [][]byte // by chunk
		for n := range 300 {
			all = append(all, bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 1+rnd.IntN(150)))
			r.put(n, all[n])
			held, run := 0, 0 // bytes kept, and bytes of the newest that would fit twice over
			for k := n; k >= 0; k-- {
				run += len(all[k])
				data, ok := r.get(k, nil)
				if ok {
					require.Equal(t, all[k], data, "chunk %d after %d", k, n)
					held += len(data)
				}
				require.True(t, ok || run > ring/2, "chunk %d is gone after %d, though only %d bytes came since", k, n, run)
			}
			require.LessOrEqual(t, held, ring)
			require.Len(t, r.place, len(r.old))
		}
	}
}

func TestRecentRefusesWhatDoesNotFit(t *testing.T) {
	r := newRecent(10)
	r.put(1, make([]byte, 11))
	_, ok := r.get(1, nil)
	require.False(t, ok)
	r.put(2, []byte("0123456789"))
	r.put(2, []byte("overwrites"))
	data, ok := r.get(2, make([]byte, 0, 3))
	require.True(t, ok)
	require.Equal(t, "0123456789", string(data))
}
