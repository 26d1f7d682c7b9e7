package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts"
)

// With a limit, what a node says of itself waits for what it said before, or is put off
// with a reason; without one it never waits.
func TestTalkKeepsToItsRate(t *testing.T) {
	for limit, want := range map[int64]time.Duration{0: 0, 1000: 24 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := &Node{}
			var err error
			n.exchange, err = artifacts.New(artifacts.Config{Peers: peers{n}, ControlBytesPerSec: limit})
			require.NoError(t, err)
			began := time.Now()
			for range 8 { // the burst is 32 KiB
				require.NoError(t, n.talk(t.Context(), 8<<10))
			}
			require.InDelta(t, want.Seconds(), time.Since(began).Seconds(), 1)

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err = n.talk(ctx, 100)
			if limit == 0 {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, errPutOff)
			require.ErrorContains(t, err, "transfer.max_rate.control")
			require.NoError(t, ctx.Err(), "it says so at once")
		})
	}
}
