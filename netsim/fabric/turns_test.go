package fabric

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A word on a stream that was idle does not wait for the turns of a dozen transfers.
func TestIdleStreamsGoFirst(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(air), w.host(air, 50)
		const transfers, size = 12, 1 << 20
		for range transfers {
			c, s := w.stream(a, b)
			go func() { _, _ = c.Write(make([]byte, size)) }() // fails when the network ends
			go func() { _, _ = io.Copy(io.Discard, s) }()
		}
		c, s := w.stream(a, b)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		began := w.now()
		_, err := c.Write([]byte("beat"))
		require.NoError(t, err)
		_, err = io.ReadFull(s, make([]byte, 4))
		require.NoError(t, err)
		require.Less(t, w.now()-began, 3*segmentTime, "one that is being sent, and this one")
	})
}

// Of two ways as long as each other a mesh takes the one that loses less, and two hops
// only where the one is worse than both with what a hop costs.
func TestMeshTakesTheBestWay(t *testing.T) {
	for _, c := range []struct {
		name   string
		middle []float64 // x, y of the relays
		want   []int
	}{
		{"alone", []float64{}, []int{0, 1}},
		{"a good relay", []float64{45, 0}, []int{0, 2, 1}},
		{"the better of two", []float64{45, 76, 45, 10}, []int{0, 3, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{Routing: Mesh}, func(t *testing.T, w world) {
				a, b := w.host(air), w.host(air, 90) // half is lost
				for i := 0; i < len(c.middle); i += 2 {
					w.host(air, c.middle[i], c.middle[i+1])
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				hops, _ := w.route(a, b, w.Net.now())
				var got []int
				for _, h := range hops {
					got = append(got, h.index)
				}
				require.Equal(t, c.want, got)
			})
		})
	}
	bubble(t, Config{Routing: Mesh}, func(t *testing.T, w world) {
		a, b := w.host(air), w.host(air, 83) // 6 % is lost, and a hop counts as 12 %
		w.host(air, 41)
		w.mu.Lock()
		defer w.mu.Unlock()
		hops, _ := w.route(a, b, w.Net.now())
		require.Len(t, hops, 2)
	})
}
