package p2p

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// Whoever a limit turns away is told of by key, and what is written is counted.
func TestRefusedAndWroteAreTold(t *testing.T) {
	var mu sync.Mutex
	refused, wrote := map[envelope.Key]string{}, 0
	b := newBook()
	z := b.start(t, 2, func(c *Config) {
		c.MaxStreamsPerPeer = 1
		c.Refused = func(k envelope.Key, _, why string) {
			mu.Lock()
			defer mu.Unlock()
			refused[k] = why
		}
		c.Wrote = func(n int) {
			mu.Lock()
			defer mu.Unlock()
			wrote += n
		}
	}, func(h *Host) { h.Handle("/test/hold/1", hold) })
	a := b.start(t, 1, nil)
	require.NoError(t, roundTrip(soon(t), a, z.Key(), 100_000))
	mu.Lock()
	require.InDelta(t, 105_000, wrote, 5_000, "the echo, with what encryption and headers add")
	require.Empty(t, refused)
	mu.Unlock()
	s, err := a.Open(soon(t), z.Key(), "/test/hold/1")
	require.NoError(t, err)
	_, err = a.Open(soon(t), z.Key(), "/test/hold/1")
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, s.Reset())
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[envelope.Key]string{a.Key(): "too many streams"}, refused)
}
