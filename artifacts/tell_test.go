package artifacts_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A seed hears of images that members made by themselves, and may leave.
func TestASeedIsToldOfWhatItDidNotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 4, nil)
		im := newImage(40)
		w.nodes[0].x.Hold(im.full(t))
		for _, i := range []int{1, 2} {
			s := im.full(t)
			w.nodes[i].x.Hold(s)
			require.Equal(t, i > 1, w.stats(0, im).Safe, "the one that has told is all who want it so far")
			w.nodes[i].x.Tell(w.ctx, s, 1)
		}
		synctest.Wait()
		require.True(t, w.stats(0, im).Safe)
		require.Zero(t, w.stats(0, im).SentBytes)
		require.Zero(t, w.stats(0, im).Takers, "nobody stays")

		// Nobody who is out of reach, or lacks the image, is waited for.
		w.partition(func(a, b int) bool { return a == 3 })
		began := time.Now()
		w.nodes[3].x.Tell(w.ctx, im.full(t), 2)
		require.Zero(t, time.Since(began))
		w.partition(nil)
		w.nodes[1].x.Tell(w.ctx, newImage(3).full(t), 3)
		require.Zero(t, time.Since(began))
	})
}
