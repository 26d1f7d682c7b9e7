package artifacts

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/pace"
)

// Documents that would come too late, or are given up, cost those who ask later nothing.
func TestWhatDoesNotGoCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newShaper(nil, Limits{Up: 40 << 10})
		wait := func(ctx context.Context, n int) (time.Duration, error) {
			at := time.Now()
			err := p.wait(ctx, pace.Manifest, "", n)
			return time.Since(at), err
		}
		soon, end := context.WithTimeout(t.Context(), 10*time.Second)
		defer end()
		took, err := wait(soon, 1<<20)
		require.NoError(t, err, "a document goes, however long it is")
		require.Zero(t, took)
		for range 100 {
			took, err := wait(soon, 4<<10)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Zero(t, took, "it is known at once")
		}
		leaves, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = wait(leaves, 4<<10)
		require.ErrorIs(t, err, context.Canceled)
		took, err = wait(t.Context(), 4<<10)
		require.NoError(t, err)
		require.InDelta(t, 48.6, took.Seconds(), 0.1, "1,024 KiB at 20 KiB/s, after a burst of 32 KiB and a second")
	})
}
