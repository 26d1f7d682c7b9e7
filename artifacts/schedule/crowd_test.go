package schedule

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// crowded is a fetch of eight pieces that a seed holds and offers none of.
func crowded(company bool) *Fetch {
	f := NewFetch([]int64{1, 1, 1, 1, 1, 1, 1, 1}, nil, rand.New(rand.NewPCG(1, 2)))
	f.Join("seed", all(8), true)
	if company {
		f.Join("other", nil, false)
	}
	return f
}

// TestBegging: whoever is alone with a seed takes all it can after a second; among
// others who fetch it takes one piece, later and later, until they have something.
func TestBegging(t *testing.T) {
	begin := time.Unix(1000, 0)
	alone := crowded(false)
	require.Empty(t, alone.Next(begin))
	require.Len(t, alone.Next(begin.Add(Starve)), PerPeer)

	f, now := crowded(true), begin
	var waited []time.Duration
	for range maxHunger + 2 {
		require.Empty(t, f.Next(now))
		due := f.Deadline()
		for due.Sub(now) < f.starves() { // others may help sooner
			require.Empty(t, f.Next(due))
			due = f.Deadline()
		}
		waited = append(waited, due.Sub(now))
		now = due
		asks := f.Next(now)
		require.Len(t, asks, 1)
		f.Got("seed", asks[0].Piece, now)
	}
	require.Equal(t, []time.Duration{2 * Starve, 4 * Starve, 8 * Starve, 16 * Starve, 16 * Starve}, waited)

	piece := f.rarest(f.askable(true))
	f.Has("other", []uint32{uint32(piece)})
	require.Equal(t, []Ask{{Peer: "other", Piece: piece}}, f.Next(now))
	require.Equal(t, 2*Starve, f.starves(), "they pass on what they get")

	f.Has("other", []uint32{0, 1, 2, 3, 4, 5, 6, 7})
	require.Equal(t, Starve, f.starves(), "nobody else fetches")
}

// TestPatienceIsLearned: a piece that comes after its peer was given up says that others
// may be silent for as long, too. It is forgotten, and who says nothing teaches nothing.
func TestPatienceIsLearned(t *testing.T) {
	f, now := NewFetch([]int64{1, 1, 1, 1}, nil, rand.New(rand.NewPCG(1, 2))), time.Unix(1000, 0)
	f.Join("a", all(4), false)
	f.Join("dead", all(4), false)
	require.Len(t, f.Next(now), 4)
	now = now.Add(MinPatience)
	gone := 0
	for _, a := range f.Next(now) {
		gone += toInt(a.Abandon)
	}
	require.Equal(t, 4, gone)
	require.Equal(t, MinPatience, f.lulls.patience())

	now = now.Add(5 * time.Second)
	f.Heard("a", now)
	require.Equal(t, 2*(MinPatience+5*time.Second), f.lulls.patience())
	f.Heard("a", now)
	f.Heard("a", now.Add(time.Second))
	require.Equal(t, 20*time.Second, f.lulls.patience(), "the longest counts")

	f.Next(now.Add(lullHalves))
	require.Equal(t, 10*time.Second, f.lulls.patience())
	f.Next(now.Add(20 * lullHalves))
	require.Equal(t, MinPatience, f.lulls.patience())
	f.lulls.note(time.Hour)
	require.Equal(t, MaxPatience, f.lulls.patience())
}

// TestSilenceOfIdlePeers: a peer that owes nothing may be silent for ever.
func TestSilenceOfIdlePeers(t *testing.T) {
	f, now := NewFetch([]int64{1}, nil, rand.New(rand.NewPCG(1, 2))), time.Unix(1000, 0)
	f.Join("a", nil, false)
	f.Next(now)
	f.Heard("a", now.Add(time.Second))
	f.Heard("a", now.Add(time.Hour))
	require.Zero(t, f.lulls.longest)
	f.Has("a", []uint32{0})
	require.Len(t, f.Next(now.Add(2*time.Hour)), 1)
	f.Heard("a", now.Add(2*time.Hour+time.Second))
	require.Equal(t, time.Second, f.lulls.longest, "from when it was asked")
}

// all are the first n pieces.
func all(n int) manifest.Bitmap {
	b := manifest.NewBitmap(n)
	for i := range n {
		b = b.With(i)
	}
	return b
}
