package artifacts

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A peer may refuse what it was told to stop, as often as it is told. What it said it
// holds it may refuse a few times; a piece that it sends whole makes up for them.
func TestRefusals(t *testing.T) {
	s := &session{owed: map[int]manifest.Bitmap{}}
	all := manifest.Bitmap{0b111}
	for range 3 * maxRefused {
		s.expect(3, all)
		s.cancel(3)
		require.True(t, s.refusal(3))
	}
	s.expect(3, all) // once more, and now it is wanted
	for range maxRefused - 1 {
		require.True(t, s.refusal(3))
	}
	s.delivered()
	for range maxRefused - 1 {
		require.True(t, s.refusal(4))
	}
	require.False(t, s.refusal(4))
}
