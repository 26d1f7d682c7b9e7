package artifacts_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts"
)

// TestIdleSwarmSaysLittle: twelve members wait for pieces that nobody has, or for
// anybody who has the image at all. What they say meanwhile is taken from the radio
// that all share: 2 KiB a minute are 0.3 kbit/s.
func TestIdleSwarmSaysLittle(t *testing.T) {
	for name, c := range map[string]struct {
		fetchers int
		most     int64 // bytes that a fetcher sends in a minute, of the exchange
	}{
		"all lack the same":             {12, 4 << 10},
		"nobody else holds any":         {1, 2 << 10},
		"half of them hold nothing yet": {6, 2 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSwarm(t, 13, func(_ int, c *artifacts.Config) {
					c.Self, c.Retry = c.Peers.(*node).key, artifacts.DefaultRetry
				})
				im := newImage(400)
				w.partition(func(a, b int) bool { return a == 0 || b == 0 })
				for _, i := range upTo(c.fetchers) {
					s := im.with(t, func(p int) bool { return p%5 < 2 })
					w.nodes[i].x.Hold(s)
					w.wg.Go(func() { _ = w.nodes[i].x.Fetch(w.ctx, s, nil) })
				}
				time.Sleep(time.Minute)
				var before, opened int64
				for _, m := range w.nodes {
					before += m.sent()
					opened += int64(m.opens())
				}
				time.Sleep(time.Minute)
				var bytes, streams int64
				for _, m := range w.nodes {
					bytes += m.sent()
					streams += int64(m.opens())
				}
				each := (bytes - before) / int64(c.fetchers)
				t.Logf("each of %d fetchers: %d bytes and %d streams a minute", c.fetchers, each, (streams-opened)/int64(c.fetchers))
				require.LessOrEqual(t, each, c.most)
			})
		})
	}
}
