package artifacts_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/store"
)

// TestOneCopyCrossesAHealedCut: 1 to 4 have the image, 5 to 8 have two fifths of it
// when the cut between them heals. Nobody tells them of the cut. Near the end pieces are
// begun twice before the others have heard of it: the fewer pieces, the more that weighs.
func TestOneCopyCrossesAHealedCut(t *testing.T) {
	chunks, most := 800, 1.2
	if slow {
		chunks, most = 200, 1.6
	}
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 9, func(_ int, c *artifacts.Config) {
			c.Self, c.UploadBytesPerSec = c.Peers.(*node).key, 1<<20
		})
		im := newImage(chunks)
		across := func(a, b int) bool { return (a <= 4) != (b <= 4) }
		w.partition(across)
		var stores []*store.Mem
		for i := range 8 {
			stores = append(stores, im.with(t, func(p int) bool { return i < 4 || p%5 < 2 }))
		}
		wait := w.fetchInto(stores, upTo(8)...)
		time.Sleep(30 * time.Second)
		lacked := len(im.m.Pieces()) - stores[4].Have().Count()
		w.partition(nil)
		wait()
		crossed := 0
		for _, m := range w.nodes[5:] {
			crossed += m.verified(func(from envelope.Key) bool { return w.index(from) <= 4 })
		}
		t.Logf("%d pieces crossed for %d that were lacked", crossed, lacked)
		require.GreaterOrEqual(t, crossed, lacked)
		require.LessOrEqual(t, float64(crossed), most*float64(lacked))
	})
}

// verified counts the pieces that came from some members.
func (m *node) verified(from func(envelope.Key) bool) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if p, ok := e.(artifacts.PieceVerified); ok && from(p.From) {
			n++
		}
	}
	return n
}

// index is a member's number in the swarm.
func (w *swarm) index(k envelope.Key) int {
	for i, m := range w.nodes {
		if m.key == k {
			return i
		}
	}
	w.t.Fatalf("no member %x", k)
	return 0
}
