package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// What is read is not removed, and what is being removed is not read before that is done.
func TestLent(t *testing.T) {
	var l lent
	d, removed := manifest.Sum([]byte("image")), 0
	remove := func() error { removed++; return nil }
	one, two := l.lend(d), l.lend(d)
	ok, err := l.unless(d, remove)
	require.NoError(t, err)
	require.False(t, ok)
	one()
	require.True(t, l.has(d))
	two()
	require.False(t, l.has(d))

	ok, err = l.unless(d, func() error {
		require.False(t, l.mu.TryLock(), "lend would not wait")
		return remove()
	})
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 1, removed)
}
