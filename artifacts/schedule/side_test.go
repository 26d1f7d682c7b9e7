package schedule

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// cut takes all connections between the members up to half and the others, and heal
// brings them back.
func (w *slotted) cut(half int) {
	w.across(half, func(n, m *slotNode) { n.fetch.Leave(m.name) })
	w.half = half
	for i, n := range w.nodes {
		if i > half {
			w.offers.Leave(n.name)
		}
		var stay []slotAsk
		for _, q := range n.queue {
			if (q.from > half) == (i > half) {
				stay = append(stay, q)
			}
		}
		n.queue = stay
	}
}

func (w *slotted) heal(half int) {
	w.half = 0
	w.across(half, func(n, m *slotNode) { n.fetch.Join(m.name, m.held(), m.fetch == nil) })
	for i, n := range w.nodes {
		if i > half {
			w.offers.Join(n.name, n.held())
		}
	}
}

// across calls f for each member that fetches and each on the other side.
func (w *slotted) across(half int, f func(n, m *slotNode)) {
	for i, n := range w.nodes[1:] {
		for k, m := range w.nodes {
			if (i+1 > half) != (k > half) && w.linked(i+1, k) {
				f(n, m)
			}
		}
	}
}

// held is what a member holds now.
func (n *slotNode) held() manifest.Bitmap {
	if n.fetch == nil {
		return n.have
	}
	return n.fetch.have.Clone()
}

func numbers(b manifest.Bitmap) (out []uint32) {
	for _, i := range b.All() {
		out = append(out, uint32(i))
	}
	return out
}

// foretell tells everybody what the others fetch from across.
func (w *slotted) foretell(half int) {
	for i, n := range w.nodes[1:] {
		soon := n.fetch.Crossing()
		for k, m := range w.nodes[1:] {
			if i == k || (i+1 > half) != (k+1 > half) || !w.linked(k+1, i+1) {
				continue
			}
			m.fetch.Lacks(n.name, numbers(n.told.Minus(soon).Minus(n.held())))
			m.fetch.Soon(n.name, numbers(soon))
		}
		n.told = soon
	}
}

// halves is a swarm of which one half has the whole file and the other 40 % of it, just
// when the cut between them has healed.
// knows says who has sessions with whom; nil is all.
func halves(t *testing.T, each, pieces int, knows func(i, k int) bool) (w *slotted, lacked int) {
	w = newSlotted(t, 2*each, pieces, uint64(each))
	w.knows = knows
	for i, n := range w.nodes[1:] {
		n.fetch.SetSelf(n.name)
		for k, m := range w.nodes {
			if k != i+1 && !w.linked(i+1, k) {
				n.fetch.Leave(m.name)
			}
		}
	}
	for w.sent < pieces*4/10 {
		w.step()
	}
	w.cut(each)
	for range 2 * pieces { // the half with the seed finishes, the other idles
		w.step()
	}
	lacked = w.nodes[each+1].fetch.Missing()
	require.InDelta(t, pieces*6/10, lacked, float64(pieces)/10)
	w.heal(each)
	w.crossing = func(from, to int) bool { return from <= each && to > each }
	return w, lacked
}

// finish runs until all have the file and returns the slots that it took.
func (w *slotted) finish(each int) (slots int) {
	for slots = 1; !w.step(); slots++ {
		w.foretell(each)
		require.Less(w.t, slots, 10*w.pieces, "the swarm stalls")
	}
	return slots
}

// TestOneCopyCrossesAHealedCut: what one half lacks comes across about once, and that
// takes hardly longer than its members need to pass it on to each other.
func TestOneCopyCrossesAHealedCut(t *testing.T) {
	for _, each := range []int{1, 2, 4, 8} {
		w, lacked := halves(t, each, 400, nil)
		slots := w.finish(each)
		t.Logf("%d and %d members: %d pieces crossed for %d that were lacked, in %d slots", each, each, w.crossed, lacked, slots)
		require.LessOrEqual(t, float64(w.crossed), 1.02*float64(lacked), "%d members each", each)
		require.LessOrEqual(t, float64(slots), 1.1*float64(lacked), "%d members each", each)
	}
}

// TestFewCopiesCrossALargeSwarm: members of larger halves know some of their side
// only, for sessions are few. What others than those fetch they may fetch as well.
func TestFewCopiesCrossALargeSwarm(t *testing.T) {
	const each = 20
	w, lacked := halves(t, each, 400, func(i, k int) bool {
		if i <= each || k == 0 { // the half that has all; the seed
			return true
		}
		away := (k - i + 4*each) % (2 * each)
		return k > each && (away <= 4 || away >= 2*each-4) || k+each == i
	})
	slots := w.finish(each)
	t.Logf("%d pieces crossed for %d that were lacked, in %d slots", w.crossed, lacked, slots)
	require.LessOrEqual(t, float64(w.crossed), 4*float64(lacked))
}

// TestClaimsCostBoundedTime: a member of the half that lacks something says that it
// fetches all of it, again and again, and fetches nothing. The others wait for twice
// the time of starving, once.
func TestClaimsCostBoundedTime(t *testing.T) {
	const each = 4
	honest, lacked := halves(t, each, 400, nil)
	least := honest.finish(each)
	w, _ := halves(t, each, 400, nil)
	liar := w.nodes[each+1]
	liar.lies, liar.queue = true, nil
	slots := 1
	for ; !w.step(); slots++ {
		w.foretell(each)
		for _, n := range w.nodes[each+2:] {
			n.fetch.Soon(liar.name, numbers(w.nodes[0].have))
		}
		require.Less(t, slots, 10*w.pieces, "the swarm stalls")
	}
	t.Logf("%d slots, %d without the liar; %d crossed for %d", slots, least, w.crossed, lacked)
	require.GreaterOrEqual(t, slots, int(2*Starve/slot), "nobody believed the liar: the test tests nothing")
	require.LessOrEqual(t, slots, 2*least+int(3*Starve/slot))
}
