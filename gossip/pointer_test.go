package gossip

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// readAll reads what the board has, one second apart.
func readAll(b *board, at *time.Time) []Heard {
	var out []Heard
	for {
		h, ok := b.next()
		if !ok {
			return out
		}
		out = append(out, h)
		b.read(h, *at)
		*at = at.Add(time.Second)
	}
}

func TestBoardReadsTheNewestFirst(t *testing.T) {
	b, now := newBoard(30*time.Second), noon
	require.True(t, b.hear(Heard{pointer(4), 1}, now))
	require.True(t, b.hear(Heard{pointer(6), 3}, now))
	require.True(t, b.hear(Heard{pointer(5), 2}, now))
	require.False(t, b.hear(Heard{pointer(3), 1}, now), "older than what the same member said")
	require.Equal(t, []Heard{{pointer(6), 3}, {pointer(5), 2}, {pointer(4), 1}}, readAll(b, &now))
}

func TestBoardForgetsWhatIsOld(t *testing.T) {
	b, now := newBoard(30*time.Second), noon
	b.hear(Heard{pointer(4), 1}, now)
	b.hear(Heard{pointer(6), 3}, now)
	require.True(t, b.announce(pointer(5)))
	require.False(t, b.announce(pointer(5)))
	require.False(t, b.announce(pointer(4)))
	require.False(t, b.hear(Heard{pointer(5), 1}, now))
	require.False(t, b.hear(Heard{pointer(4), 1}, now))
	require.Equal(t, []Heard{{pointer(6), 3}}, readAll(b, &now))
}

func TestBoardShowsAContradiction(t *testing.T) {
	b, now := newBoard(30*time.Second), noon
	b.announce(pointer(5))
	fork := Pointer{pointer(5).Pointer, manifest.Sum([]byte("another order"))}
	require.True(t, b.hear(Heard{fork, 2}, now))
	require.Equal(t, []Heard{{fork, 2}}, readAll(b, &now))
}

func TestBoardRepeatsAfterAWhile(t *testing.T) {
	b, now := newBoard(30*time.Second), noon
	b.hear(Heard{pointer(5), 2}, now)
	require.Len(t, readAll(b, &now), 1)
	require.False(t, b.hear(Heard{pointer(5), 2}, now))
	require.True(t, b.hear(Heard{pointer(5), 2}, now.Add(time.Minute)))
	require.Len(t, readAll(b, &now), 1)
}

// A liar with ever later pointers gets its turn, and no more.
func TestBoardIsFairToTheHonest(t *testing.T) {
	b, now := newBoard(30*time.Second), noon
	var honest int
	for i := range uint64(20) {
		b.hear(Heard{pointer(1000000 + i), 9}, now)
		b.hear(Heard{pointer(5 + i), 2}, now)
		h, ok := b.next()
		require.True(t, ok)
		b.read(h, now)
		now = now.Add(time.Second)
		if h.From == 2 {
			honest++
		}
	}
	require.Equal(t, 10, honest)
}
