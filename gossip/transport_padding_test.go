package gossip

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOldPadding(t *testing.T) {
	require.True(t, oldPadding([]byte{244, 1, 'x', 0, 7}))
	require.False(t, oldPadding([]byte{244, 1, 'x', 1, 7}))
	for _, short := range [][]byte{nil, {244}, {244, 3}, {244, 1, 'x'}, {0, 0, 0, 0}} {
		require.False(t, oldPadding(short))
	}
}
