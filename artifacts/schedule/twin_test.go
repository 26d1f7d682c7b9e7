package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A twin knows the rules of a Fetch and nothing of how it is built: it keeps plain
// sets and looks at every piece and peer each time.
type twin struct {
	sizes  []int64
	have   map[int]bool
	flying map[int]Peer
	back   map[int]bool // recalled, of those flying
	peers  map[Peer]*twinPeer
}

type twinPeer struct {
	have, offered, stale, soon map[int]bool
	seed, out, here, mate      bool
	strikes                    int
}

func newTwinPeer(seed bool) *twinPeer {
	return &twinPeer{have: map[int]bool{}, offered: map[int]bool{}, stale: map[int]bool{}, soon: map[int]bool{}, seed: seed}
}

// near reports whether a piece is left to mates.
func (w *twin) near(piece int) bool {
	for _, q := range w.peers {
		if q.mate && (q.have[piece] || q.soon[piece]) && !q.stale[piece] {
			return true
		}
	}
	return false
}

// leaves reports whether anybody across a cut holds what is left to mates.
func (w *twin) leaves() bool {
	for piece := range w.sizes {
		for _, q := range w.peers {
			if !w.have[piece] && !q.mate && q.have[piece] && w.near(piece) {
				return true
			}
		}
	}
	return false
}

func (w *twin) busy(p Peer) int {
	n := len(w.peers[p].stale)
	for _, q := range w.flying {
		if p == q {
			n++
		}
	}
	return n
}

func (w *twin) copies(piece int) int {
	n := 0
	for _, q := range w.peers {
		if q.have[piece] {
			n++
		}
	}
	return n
}

// allowed reports whether piece may be asked of p.
func (w *twin) allowed(p Peer, piece int, starving bool) bool {
	q := w.peers[p]
	_, flies := w.flying[piece]
	var bytes int64
	for i := range w.flying {
		bytes += w.sizes[i]
	}
	return !w.have[piece] && !flies && !q.out && q.have[piece] && !q.stale[piece] && w.busy(p) < PerPeer &&
		(!q.seed || starving || q.offered[piece]) && (q.mate || q.offered[piece] || !w.near(piece)) && (bytes == 0 || bytes+w.sizes[piece] <= MaxInFlightBytes)
}

// best is every ask that the rules allow now: rarest piece, those for which we come
// first of our side, then least bad source.
func (w *twin) best(f *Fetch, starving bool) map[Ask]bool {
	least := 1 << 30
	out := map[Ask]bool{}
	for piece := range w.sizes {
		for p := range w.peers {
			if !w.allowed(p, piece, starving) {
				continue
			}
			c := w.copies(piece) << 8
			if f.rank != nil {
				c += f.rank[piece]
			}
			if c < least {
				least = c
				clear(out)
			} else if c > least {
				continue
			}
			out[Ask{Peer: p, Piece: piece}] = true
		}
	}
	for a := range out {
		for b := range out {
			if a.Piece == b.Piece && w.better(f, b.Peer, a.Peer, a.Piece) {
				delete(out, a)
				break
			}
		}
	}
	return out
}

// better reports whether p is a better source of the piece than q.
func (w *twin) better(f *Fetch, p, q Peer, piece int) bool {
	key := func(p Peer) []float64 {
		return []float64{float64(toInt(w.peers[p].seed)), float64(f.peers[p].stalls), float64(toInt(f.peers[p].passed.Has(piece))), float64(w.busy(p)), -f.peers[p].rate}
	}
	return slices.Compare(key(p), key(q)) < 0
}

// company reports whether somebody else is here who fetches.
func (w *twin) company() bool {
	for _, q := range w.peers {
		if q.here && !q.seed && len(q.have) < len(w.sizes) {
			return true
		}
	}
	return false
}

func (w *twin) leave(p Peer) {
	for piece, q := range w.flying {
		if p == q {
			delete(w.flying, piece)
		}
	}
	if q := w.peers[p]; q != nil {
		q.have, q.offered, q.stale, q.soon, q.here = map[int]bool{}, map[int]bool{}, map[int]bool{}, map[int]bool{}, false
	}
}

// compare holds one answer of the real one against the rules. idle says that those who
// are here become mates if there is nothing to ask.
func (w *twin) compare(t *testing.T, f *Fetch, asks []Ask, starving, idle bool) {
	best := func() map[Ask]bool {
		all := w.best(f, false)
		if len(all) == 0 && starving {
			all = w.best(f, true)
		}
		if len(all) == 0 && idle && len(w.flying) == 0 {
			for _, q := range w.peers {
				q.mate = q.here && !q.out
			}
			all = w.best(f, true)
		}
		return all
	}
	begged := false
	for _, a := range asks {
		switch {
		case a.Abandon:
			require.True(t, w.peers[a.Peer].stale[a.Piece], "%v was not given up", a)
		case a.Recall:
			require.True(t, w.flying[a.Piece] == a.Peer && !w.peers[a.Peer].mate && w.near(a.Piece) && !w.back[a.Piece], "%v is no reason", a)
			w.back[a.Piece] = true
		default:
			require.False(t, begged, "more than one piece is begged for in company")
			require.Contains(t, best(), a)
			begged = len(w.best(f, false)) == 0 && starving && w.company()
			w.flying[a.Piece] = a.Peer
			delete(w.back, a.Piece)
		}
	}
	if !begged {
		require.Empty(t, best(), "more could be asked")
	}
	for _, piece := range f.Crossing().All() {
		require.False(t, w.peers[w.flying[piece]].mate || w.back[piece], "piece %d does not come from across", piece)
	}
	require.Equal(t, len(w.sizes)-len(w.have), f.Missing())
}

// TestAgainstSlowTwin drives both with the same random events.
func TestAgainstSlowTwin(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { driveTwins(t, rand.New(rand.NewPCG(seed, 9))) })
	}
}

func driveTwins(t *testing.T, r *rand.Rand) {
	n := 1 + r.IntN(20)
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = int64(1+r.IntN(5)) << (18 + r.IntN(5))
	}
	w := &twin{sizes: sizes, have: map[int]bool{}, flying: map[int]Peer{}, back: map[int]bool{}, peers: map[Peer]*twinPeer{}}
	f := NewFetch(sizes, nil, rand.New(rand.NewPCG(r.Uint64(), 0)))
	now := time.Unix(1000, 0)
	if r.IntN(2) == 0 {
		f.SetSelf("self")
	}
	peers := []Peer{"a", "b", "c", "d", "seed"}
	for range 200 {
		p, piece := peers[r.IntN(len(peers))], r.IntN(n)
		event(w, f, r, p, piece, now)
		require.NoError(t, f.check())
		if len(f.flying) == 0 && r.IntN(3) == 0 { // nothing is in flight, so no peer is late
			now = now.Add(Starve << r.IntN(6))
		}
		starving := f.starving(now)
		normal := len(w.best(f, false)) > 0
		idle := f.Idle(now) && len(w.best(f, true)) == 0 && !f.Done() && (!w.leaves() || !f.left.IsZero() && now.Sub(f.left) >= 2*Starve)
		w.compare(t, f, f.Next(now), starving && !normal && !f.Done(), idle)
		require.NoError(t, f.check())
	}
}

// event does one random thing to both.
func event(w *twin, f *Fetch, r *rand.Rand, p Peer, piece int, now time.Time) {
	q := w.peers[p]
	if q == nil || r.IntN(30) == 0 {
		var have manifest.Bitmap
		w.leave(p)
		if q == nil {
			q = newTwinPeer(p == "seed")
			w.peers[p] = q
		}
		q.here = true
		for i := range len(w.sizes) + 3 { // some claim pieces that there are not
			if p == "seed" || r.IntN(3) == 0 {
				have = have.With(i)
				if i < len(w.sizes) && !q.out {
					q.have[i] = true
				}
			}
		}
		f.Join(p, have, p == "seed")
		return
	}
	from, flies := w.flying[piece]
	switch r.IntN(10) {
	case 0:
		f.Has(p, []uint32{uint32(piece), 1 << 31})
		if !q.out {
			q.have[piece] = true
			delete(q.soon, piece)
		}
	case 1:
		f.Lacks(p, []uint32{uint32(piece), 1 << 31})
		if from == p && flies {
			delete(w.flying, piece)
		}
		delete(q.have, piece)
		delete(q.offered, piece)
		delete(q.soon, piece)
	case 2:
		f.Offered(p, piece)
		if !q.out {
			q.have[piece], q.offered[piece] = true, true
			delete(q.soon, piece)
		}
	case 3, 4:
		if flies {
			p = from
		}
		f.Got(p, piece, now)
		if flies && from != p {
			w.peers[from].stale[piece] = true
		}
		delete(w.peers[p].stale, piece)
		delete(w.flying, piece)
		w.have[piece] = true
	case 5:
		f.Got(p, piece, now)
		if flies && from != p {
			w.peers[from].stale[piece] = true
		}
		delete(q.stale, piece)
		delete(w.flying, piece)
		w.have[piece] = true
	case 6:
		f.Refused(p, piece)
		if q.stale[piece] {
			delete(q.stale, piece)
			return
		}
		if from == p && flies {
			delete(w.flying, piece)
			if w.back[piece] { // it has obeyed
				return
			}
		}
		delete(q.have, piece)
		delete(q.offered, piece)
	case 7:
		f.Lost(piece)
		delete(w.have, piece)
	case 8:
		if r.IntN(4) == 0 {
			f.Strike(p)
			if q.strikes++; q.strikes >= Strikes {
				q.out = true
				w.leave(p)
			}
		} else {
			f.Leave(p)
			w.leave(p)
		}
	case 9:
		f.Soon(p, []uint32{uint32(piece), 1 << 31})
		if q.here && !q.out && !q.have[piece] {
			q.soon[piece] = true
		}
	}
}

// TestFetchAlwaysEnds lets random peers stall, lie, claim and leave; as long as one honest
// peer stays, the fetch ends.
func TestFetchAlwaysEnds(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		n := 1 + r.IntN(30)
		sizes := make([]int64, n)
		var all manifest.Bitmap
		for i := range sizes {
			sizes[i], all = 1<<20, all.With(i)
		}
		f := NewFetch(sizes, nil, r)
		f.SetSelf("self")
		for range r.IntN(3) { // those who wait with us, at first
			f.Join(Peer(fmt.Sprint("p", r.IntN(4))), nil, false)
			f.Next(time.Unix(0, 0))
			f.Next(time.Unix(0, 0).Add(2 * Starve))
		}
		f.Join("honest", all, r.IntN(2) == 0)
		now, owed := time.Unix(0, 0).Add(2*Starve), map[Peer][]Ask{}
		for steps := 0; !f.Done(); steps++ {
			require.Less(t, steps, 5000, "seed %d stalls", seed)
			p := Peer(fmt.Sprint("p", r.IntN(4)))
			switch r.IntN(12) {
			case 0:
				f.Join(p, all, r.IntN(4) == 0)
				owed[p] = nil
			case 1:
				f.Leave(p)
				owed[p] = nil
			case 2:
				f.Offered(p, r.IntN(n))
			case 3, 4:
				f.Soon(p, []uint32{uint32(r.IntN(n))})
			case 5:
				f.Has(p, []uint32{uint32(r.IntN(n))})
			}
			for _, a := range f.Next(now) {
				if a.Recall && (a.Peer != "honest" || r.IntN(2) == 0) {
					continue // it has begun
				}
				if (a.Abandon || a.Recall) && a.Peer == "honest" {
					owed[a.Peer] = slices.DeleteFunc(owed[a.Peer], func(b Ask) bool { return b.Piece == a.Piece })
					f.Refused(a.Peer, a.Piece)
				} else if !a.Abandon && !a.Recall {
					owed[a.Peer] = append(owed[a.Peer], a)
				}
			}
			require.NoError(t, f.check())
			if q := owed["honest"]; len(q) > 0 && r.IntN(3) == 0 {
				owed["honest"] = q[1:]
				f.Got("honest", q[0].Piece, now)
			}
			at := f.Deadline()
			require.True(t, at.IsZero() || !at.Before(now), "seed %d: a deadline that has passed would spin", seed)
			if at.IsZero() || r.IntN(2) == 0 {
				at = now.Add(time.Duration(r.IntN(300)) * time.Millisecond)
			}
			now = at
		}
	}
}
