package node

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// A member that asks for many documents is answered one by one; others do not wait.
func TestAsking(t *testing.T) {
	var a asking
	greedy, other := envelope.Key{1}, envelope.Key{2}
	done, err := a.take(t.Context(), greedy)
	require.NoError(t, err)
	given, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.take(given, greedy)
	require.ErrorIs(t, err, context.Canceled)
	end, err := a.take(t.Context(), other)
	require.NoError(t, err)
	end()
	done()
	done, err = a.take(t.Context(), greedy)
	require.NoError(t, err)
	done()
	require.Empty(t, a.of, "nobody is remembered")
}
