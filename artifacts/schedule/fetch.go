// Package schedule decides who sends which piece to whom.
//
// A Fetch is the receiving side: which piece to ask of which peer next. A piece
// comes whole from one source, the rarest first, and from a seed only what the
// seed offered. Of what members that were cut off together lack, each fetches a share
// when the cut heals (side.go). Offers is the seed's side: each piece once before any
// repeats, and none again that somebody else can pass on. With just these rules the
// seed sends the file about once, and the swarm's time is near the lower bound.
//
// Both are machines: no clock, no goroutine, no I/O. Equal calls in equal order
// give equal answers; ties are broken by a generator from the configuration.
package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// PerPeer is how many pieces may be asked of one peer at a time: one on its
	// way and the next, so that the link never idles. A piece that was given up
	// counts until the peer has stopped sending it.
	PerPeer = 2
	// MaxInFlightBytes bounds what is asked for and not yet here. One piece may
	// exceed it.
	MaxInFlightBytes = 16 << 20
	// Strikes is how many wrong chunks end the dealings with a peer.
	Strikes = 2
	// Starve is how long a fetch may have nothing to ask of anybody before it asks
	// a seed for what the seed did not offer, unless SetStarve says otherwise. Among
	// others who fetch it is twice that, and twice as long after each piece that it
	// had so, maxHunger times at most.
	Starve    = time.Second
	maxHunger = 3
	// MinPatience and MaxPatience bound how long a peer that was asked may be
	// silent before its pieces are asked of others. It doubles each time, for on a
	// slow link, or in a long queue, a healthy peer is silent too; and it is twice
	// the longest silence that ended lately, whoever's: see lulls.
	MinPatience = 5 * time.Second
	MaxPatience = time.Minute
	// handover is how many times over an idle peer could have sent a piece before
	// it gets the piece from the one that is still at it; minHandover is the least
	// time before that, for a chunk is sent twice then.
	handover    = 4
	minHandover = 3 * time.Second
	// minRecall is the least time before a piece that still waits in its peer's queue
	// is recalled, because an idle peer could have sent it by now.
	minRecall = 100 * time.Millisecond
)

// A Peer names the other side of a transfer; any string but the empty one will do.
type Peer string

// An Ask is the machine's wish: ask Peer for Piece. Abandon means: no longer wait
// for it from that peer, and tell it to stop. Recall means: tell the peer to stop if
// it has not begun.
type Ask struct {
	Peer            Peer
	Piece           int
	Abandon, Recall bool
}

// A Fetch chooses pieces for one image. It is not safe for concurrent use. It
// remembers every peer that ever joined, for their strikes: the caller lets in
// only members of the swarm.
type Fetch struct {
	sizes   []int64 // bytes of each piece
	copies  []int   // peers that are known to hold each piece
	have    manifest.Bitmap
	missing int
	flying  map[int]flight // by piece
	bytes   int64          // sum of the sizes in flying
	peers   map[Peer]*source
	order   []Peer          // keys of peers, sorted: maps have no order
	near    manifest.Bitmap // left to mates, as of the last Next
	self    Peer            // what others call us, if known
	rank    []int           // by piece: how many mates come before us; nil if we have none
	rand    *rand.Rand
	starve  time.Duration
	dropped []Ask     // abandoned between two calls of Next
	idle    time.Time // since when only starving asks were possible, if any; zero while others are
	left    time.Time // since when there was only what is left to mates, if it is so
	now     time.Time // of the last Next
	hunger  int       // how many pieces were had by starving since others could be asked; <= maxHunger
	lulls   lulls
}

// A flight is a piece that is asked for.
type flight struct {
	peer     Peer
	since    time.Time
	recalled bool
}

// A source is what is known of a peer.
type source struct {
	have    manifest.Bitmap
	offered manifest.Bitmap // by a seed, to us
	stale   manifest.Bitmap // given up, but the peer has not stopped yet
	passed  manifest.Bitmap // recalled before it had begun: others come first
	soon    manifest.Bitmap // by a mate, on their way from across a cut
	seed    bool
	here    bool // between Join and Leave
	mate    bool // on this side of a cut
	out     bool // struck out
	busy    int  // pieces flying or stale
	strikes int
	stalls  int       // how often it kept silent; forgiven one by one
	rate    float64   // bytes per second, smoothed; 0 is unknown
	heard   time.Time // when bytes last came from it
	owes    time.Time // since when it is silent, while it is busy
	landed  time.Time // when a piece last came from it
}

// NewFetch starts with the pieces that are there. sizes has the bytes of each
// piece, indexed as Manifest.Pieces.
func NewFetch(sizes []int64, have manifest.Bitmap, r *rand.Rand) *Fetch {
	f := &Fetch{
		sizes: sizes, copies: make([]int, len(sizes)), have: manifest.NewBitmap(len(sizes)),
		flying: map[int]flight{}, peers: map[Peer]*source{}, rand: r, starve: Starve,
	}
	for i := range sizes {
		if have.Has(i) {
			f.have = f.have.With(i)
		}
	}
	f.missing = len(sizes) - f.have.Count()
	return f
}

// SetStarve replaces Starve: on slow links pieces take longer to come round by others.
func (f *Fetch) SetStarve(d time.Duration) { f.starve = d }

// SetSelf says what the others call this member: a healed half of a swarm shares out
// its work by names.
func (f *Fetch) SetSelf(p Peer) { f.self = p }

// Done reports whether no piece is missing.
func (f *Fetch) Done() bool { return f.missing == 0 }

// Missing is how many pieces are missing.
func (f *Fetch) Missing() int { return f.missing }

// Holds reports whether a piece is there.
func (f *Fetch) Holds(piece int) bool { return f.have.Has(piece) }

// Idle reports whether nothing is in flight, though pieces are missing and the
// caller has called Next for twice as long as it takes to starve: nobody who joined can help.
func (f *Fetch) Idle(now time.Time) bool {
	return len(f.flying) == 0 && !f.idle.IsZero() && now.Sub(f.idle) >= 2*f.starve
}

// Next returns what to ask now, and what to stop waiting for.
func (f *Fetch) Next(now time.Time) []Ask {
	f.now = now
	f.lulls.age(now)
	f.stall(now)
	f.near = f.nearby()
	asks := f.choose(now, false)
	switch {
	case len(asks) > 0 || f.Done():
		f.idle, f.hunger = time.Time{}, 0
	case f.idle.IsZero() && len(f.flying) == 0:
		f.idle = now
	}
	if f.starving(now) {
		asks = append(asks, f.beg(now)...)
	}
	if f.alone(now) {
		f.gather()
		asks = append(asks, f.choose(now, true)...)
	}
	asks = append(asks, f.handOver(now)...)
	asks = append(asks, f.yield()...)
	asks = append(f.dropped, asks...)
	f.dropped = nil
	return asks
}

func (f *Fetch) starving(now time.Time) bool {
	return !f.idle.IsZero() && now.Sub(f.idle) >= f.starves()
}

// starves is how long it takes to starve now. In company the others will pass on what
// they get: if a hundred who share the air lost their patience at once, the seed would
// send everything a hundred times, and nobody else could send at all.
func (f *Fetch) starves() time.Duration {
	if !f.company() {
		return f.starve
	}
	return f.starve << (1 + f.hunger)
}

// company reports whether somebody else is here who still fetches.
func (f *Fetch) company() bool {
	return slices.ContainsFunc(f.order, func(p Peer) bool {
		s := f.peers[p]
		return s.here && !s.seed && s.have.Count() < len(f.sizes)
	})
}

// beg asks seeds for what they did not offer: in company for one piece, and for the next
// one after a longer time, for now there is something to pass on.
func (f *Fetch) beg(now time.Time) []Ask {
	if !f.company() {
		return f.choose(now, true)
	}
	piece := f.rarest(f.askable(true))
	if piece < 0 {
		return nil
	}
	f.idle, f.hunger = time.Time{}, min(f.hunger+1, maxHunger)
	return []Ask{f.take(f.source(piece, true), piece, now)}
}

// choose asks for the rarest piece that somebody can be asked for, of the best of
// those who can, again and again until there is none.
func (f *Fetch) choose(now time.Time, starving bool) []Ask {
	var out []Ask
	for {
		piece := f.rarest(f.askable(starving))
		if piece < 0 {
			return out
		}
		out = append(out, f.take(f.source(piece, starving), piece, now))
	}
}

// take notes that a piece is asked of a peer.
func (f *Fetch) take(p Peer, piece int, now time.Time) Ask {
	f.flying[piece] = flight{peer: p, since: now}
	f.bytes += f.sizes[piece]
	s := f.peers[p]
	if s.busy == 0 {
		s.owes = now
	}
	s.busy++
	return Ask{Peer: p, Piece: piece}
}

// askable is the set of missing pieces that somebody can be asked for.
func (f *Fetch) askable(starving bool) manifest.Bitmap {
	var all manifest.Bitmap
	for _, p := range f.order {
		if s := f.peers[p]; s.busy < PerPeer && len(s.have) > 0 {
			all = all.Union(f.grants(s, starving))
		}
	}
	all = all.Minus(f.have)
	for piece := range f.flying {
		all = all.Without(piece)
	}
	return all
}

// grants is the set of pieces that the peer may be asked for.
func (f *Fetch) grants(s *source, starving bool) manifest.Bitmap {
	b := s.have.Minus(s.stale)
	if s.seed && !starving {
		b = b.Minus(b.Minus(s.offered))
	}
	if !s.mate && len(f.near) > 0 {
		b = b.Minus(f.near.Minus(s.offered))
	}
	return b
}

// may reports whether grants has the piece.
func (f *Fetch) may(s *source, piece int, starving bool) bool {
	return s.can(piece) && (!s.seed || starving || s.offered.Has(piece)) &&
		(s.mate || !f.near.Has(piece) || s.offered.Has(piece))
}

// can reports whether the peer holds the piece, and is not still at it from before.
func (s *source) can(piece int) bool { return s.have.Has(piece) && !s.stale.Has(piece) }

// rarest picks one of the pieces with the fewest copies, our own share first, or -1 if
// none may be asked for.
func (f *Fetch) rarest(pieces manifest.Bitmap) int {
	best, ties := -1, 0
	for _, i := range pieces.All() {
		order := -1
		if best >= 0 {
			order = cmp.Or(cmp.Compare(f.copies[i], f.copies[best]), f.before(i, best))
		}
		switch {
		case f.bytes > 0 && f.bytes+f.sizes[i] > MaxInFlightBytes:
		case order < 0:
			best, ties = i, 1
		case order == 0:
			if ties++; f.rand.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// source is the peer to ask for the piece: not a seed if others can, one that
// answers, the least busy, the fastest.
func (f *Fetch) source(piece int, starving bool) Peer {
	var best Peer
	ties := 0
	for _, p := range f.order {
		s := f.peers[p]
		if s.busy >= PerPeer || !f.may(s, piece, starving) {
			continue
		}
		order := -1
		if best != "" {
			order = s.compare(f.peers[best], piece)
		}
		switch {
		case order < 0:
			best, ties = p, 1
		case order == 0:
			if ties++; f.rand.IntN(ties) == 0 {
				best = p
			}
		}
	}
	return best
}

// compare is negative if s is the better source of the two for a piece, zero if both
// are as good.
func (s *source) compare(t *source, piece int) int {
	switch {
	case s.seed != t.seed:
		return toInt(s.seed) - toInt(t.seed)
	case s.stalls != t.stalls:
		return s.stalls - t.stalls
	case s.passed.Has(piece) != t.passed.Has(piece):
		return toInt(s.passed.Has(piece)) - toInt(t.passed.Has(piece))
	case s.busy != t.busy:
		return s.busy - t.busy
	case s.rate != t.rate:
		return toInt(s.rate < t.rate) - toInt(s.rate > t.rate)
	}
	return 0
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// check states what must always hold; tests call it after each step.
func (f *Fetch) check() error {
	var bytes int64
	busy := map[Peer]int{}
	for piece, fl := range f.flying {
		if f.have.Has(piece) {
			return fmt.Errorf("piece %d is asked for and there", piece)
		}
		if s := f.peers[fl.peer]; !s.have.Has(piece) || s.stale.Has(piece) {
			return fmt.Errorf("piece %d is asked of %s, who lacks it or still sends it from before", piece, fl.peer)
		}
		bytes += f.sizes[piece]
		busy[fl.peer]++
	}
	if bytes != f.bytes || (bytes > MaxInFlightBytes && len(f.flying) > 1) {
		return fmt.Errorf("%d bytes in flight, counted %d", bytes, f.bytes)
	}
	copies := make([]int, len(f.sizes))
	for p, s := range f.peers {
		if s.soon.Count() > 0 && !s.here {
			return fmt.Errorf("peer %s fetches, but has left", p)
		}
		if n := busy[p] + s.stale.Count(); n != s.busy || n > PerPeer || (s.out && (n > 0 || s.have.Count() > 0)) {
			return fmt.Errorf("peer %s is busy with %d pieces, counted %d, out %v", p, n, s.busy, s.out)
		}
		for _, i := range s.have.All() {
			copies[i]++
		}
	}
	if !slices.Equal(copies, f.copies) {
		return fmt.Errorf("copies are %v, counted %v", copies, f.copies)
	}
	if len(f.order) != len(f.peers) || !slices.IsSorted(f.order) {
		return fmt.Errorf("the order of %d peers lists %d, or is off", len(f.peers), len(f.order))
	}
	if f.missing != len(f.sizes)-f.have.Count() {
		return fmt.Errorf("%d missing, counted %d", len(f.sizes)-f.have.Count(), f.missing)
	}
	return nil
}
