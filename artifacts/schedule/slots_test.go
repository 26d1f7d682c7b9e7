package schedule

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A slotted is a swarm in the model of Mundinger, Weber and Weiss: in each slot
// every node sends one piece. What a node has is known to all one slot later.
type slotted struct {
	t      *testing.T
	pieces int
	offers *Offers
	nodes  []*slotNode // nodes[0] is the seed
	now    time.Time
	sent   int // pieces, by the seed
	steps  int
	// knows says whether member i has a session with k; nil is always.
	knows func(i, k int) bool
	// half, unless it is 0, is the last member on the seed's side of a cut.
	half int
	// crossing, if set, says which transfers are counted in crossed.
	crossing func(from, to int) bool
	crossed  int
}

type slotNode struct {
	name  Peer
	fetch *Fetch
	have  manifest.Bitmap
	queue []slotAsk       // what it was asked for, oldest first
	told  manifest.Bitmap // what it has said that it fetches from across a cut
	lies  bool            // it fetches nothing, and nobody waits for it
}

type slotAsk struct {
	from  int
	piece int
}

const slot = 100 * time.Millisecond

func newSlotted(t *testing.T, fetchers, pieces int, seed uint64) *slotted {
	w := &slotted{t: t, pieces: pieces, now: time.Unix(0, 0), offers: NewOffers(pieces, rand.New(rand.NewPCG(seed, 0)))}
	var all, none manifest.Bitmap
	for i := range pieces {
		all = all.With(i)
	}
	w.offers.Mine(all)
	sizes := make([]int64, pieces)
	for i := range sizes {
		sizes[i] = 128 << 10
	}
	for i := range fetchers + 1 {
		n := &slotNode{name: Peer(fmt.Sprintf("%03d", i))}
		if i == 0 {
			n.have = all
		} else {
			n.fetch = NewFetch(sizes, none, rand.New(rand.NewPCG(seed, uint64(i))))
			w.offers.Join(n.name, none)
		}
		w.nodes = append(w.nodes, n)
	}
	for i, n := range w.nodes[1:] {
		for k, m := range w.nodes {
			if k != i+1 {
				n.fetch.Join(m.name, m.have, k == 0)
			}
		}
	}
	return w
}

func (w *slotted) check() {
	require.NoError(w.t, w.offers.check())
	for _, n := range w.nodes[1:] {
		require.NoError(w.t, n.fetch.check())
	}
}

// step is one slot. It reports whether everybody is done.
func (w *slotted) step() bool {
	w.now = w.now.Add(slot)
	for _, o := range w.offers.Next() {
		w.node(o.Peer).fetch.Offered(w.nodes[0].name, o.Piece)
	}
	for i, n := range w.nodes[1:] {
		if n.lies {
			continue
		}
		for _, a := range n.fetch.Next(w.now) {
			to := w.node(a.Peer)
			if a.Abandon || a.Recall {
				for k, q := range to.queue {
					if q == (slotAsk{i + 1, a.Piece}) {
						to.queue = append(to.queue[:k], to.queue[k+1:]...)
						break
					}
				}
				n.fetch.Refused(a.Peer, a.Piece)
				continue
			}
			to.queue = append(to.queue, slotAsk{i + 1, a.Piece})
		}
	}
	arrived := map[int][]uint32{}
	for i, n := range w.nodes {
		if len(n.queue) == 0 {
			continue
		}
		a := n.queue[0]
		if w.crossing != nil && w.crossing(i, a.from) {
			w.crossed++
		}
		n.queue = n.queue[1:]
		to := w.nodes[a.from]
		to.fetch.Got(n.name, a.piece, w.now)
		arrived[a.from] = append(arrived[a.from], uint32(a.piece))
		if n == w.nodes[0] {
			w.sent++
			w.offers.Asked(to.name, a.piece)
		}
	}
	done := true
	for i, n := range w.nodes[1:] {
		if got := arrived[i+1]; len(got) > 0 {
			if w.half == 0 || i+1 <= w.half {
				w.offers.Has(n.name, got)
			}
			for k, m := range w.nodes[1:] {
				if k != i && w.linked(k+1, i+1) {
					m.fetch.Has(n.name, got)
				}
			}
		}
		done = done && (n.lies || n.fetch.Done())
	}
	if w.steps++; w.steps%64 == 0 || done {
		w.check()
	}
	return done
}

// linked reports whether member i has a session with k that is not cut.
func (w *slotted) linked(i, k int) bool {
	return (w.knows == nil || w.knows(i, k)) && (w.half == 0 || (i > w.half) == (k > w.half))
}

func (w *slotted) node(p Peer) *slotNode {
	for _, n := range w.nodes {
		if n.name == p {
			return n
		}
	}
	w.t.Fatalf("no node %s", p)
	return nil
}

// run returns the slots and the pieces that the seed sent.
func (w *slotted) run() (slots, sent int) {
	for slots = 1; !w.step(); slots++ {
		require.Less(w.t, slots, 20*w.pieces, "the swarm stalls")
	}
	return slots, w.sent
}

// TestTimeIsNearTheBound compares with the least possible number of slots,
// M + floor(log2 N), and with sending the file once.
func TestTimeIsNearTheBound(t *testing.T) {
	for _, c := range []struct{ fetchers, pieces int }{{1, 64}, {4, 128}, {12, 512}, {20, 400}} {
		for seed := range uint64(2) {
			slots, sent := newSlotted(t, c.fetchers, c.pieces, seed).run()
			bound := c.pieces + bits.Len(uint(c.fetchers)) - 1
			t.Logf("%d fetchers, %d pieces, seed %d: time %.3f of the bound, the seed sent the file %.3f times", c.fetchers, c.pieces, seed,
				float64(slots)/float64(bound), float64(sent)/float64(c.pieces))
			require.LessOrEqual(t, float64(slots), 1.10*float64(bound), "%d fetchers, %d pieces, seed %d: slots, bound %d", c.fetchers, c.pieces, seed, bound)
			require.LessOrEqual(t, float64(sent), 1.1*float64(c.pieces), "%d fetchers, %d pieces, seed %d: pieces sent", c.fetchers, c.pieces, seed)
		}
	}
}

func TestEqualSeedsGiveEqualRuns(t *testing.T) {
	asks := func() (log []string) {
		w := newSlotted(t, 6, 60, 7)
		for done := false; !done; {
			done = w.step()
			for _, n := range w.nodes {
				log = append(log, fmt.Sprint(n.name, n.queue))
			}
		}
		return log
	}
	require.Equal(t, asks(), asks())
}

// TestSwarmFinishesWithoutTheSeed takes the seed away once every piece is out.
func TestSwarmFinishesWithoutTheSeed(t *testing.T) {
	for seed := range uint64(5) {
		w := newSlotted(t, 8, 100, seed)
		for !w.offers.Safe() {
			require.False(t, w.step(), "seed %d: all are done before it is safe to leave", seed)
		}
		gone := w.nodes[0]
		gone.queue = nil
		for _, n := range w.nodes[1:] {
			n.fetch.Leave(gone.name)
			w.offers.Forget(n.name)
		}
		for slots := 0; !w.step(); slots++ {
			require.Less(t, slots, 200, "seed %d: the rest stalls", seed)
		}
	}
}
