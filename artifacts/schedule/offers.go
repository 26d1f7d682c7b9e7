package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// MaxOffers is how many pieces are offered to one peer at a time.
const MaxOffers = 2

// SafeCopies is how many members besides the seed must hold each piece before
// the seed may leave; fewer if fewer want the image.
const SafeCopies = 2

// Offers is a seed's choice of what to offer to whom. Each piece is offered once
// before any is offered again; a piece that somebody else holds by now, or is
// about to, is not offered again, for they can pass it on, unless Again is called.
// It is not safe for concurrent use. It remembers every member that ever fetched,
// for what they hold counts; see Forget.
type Offers struct {
	mine   manifest.Bitmap // what the seed itself holds
	sent   []int           // how often each piece was offered and not taken back
	copies []int           // takers that hold each piece, here or not
	open   []int           // takers that each piece is offered to now
	peers  map[Peer]*taker
	order  []Peer
	rand   *rand.Rand
}

type taker struct {
	have    manifest.Bitmap
	offered manifest.Bitmap // outstanding; empty unless here
	here    bool
}

// An Offer is the machine's wish: offer Piece to Peer.
type Offer struct {
	Peer  Peer
	Piece int
}

// NewOffers is for an image of n pieces, none of which the seed holds yet; see Mine.
func NewOffers(n int, r *rand.Rand) *Offers {
	return &Offers{
		mine: manifest.NewBitmap(n), sent: make([]int, n), copies: make([]int, n), open: make([]int, n),
		peers: map[Peer]*taker{}, rand: r,
	}
}

// Mine says what the seed itself holds now. Offers of anything else are taken back.
func (o *Offers) Mine(have manifest.Bitmap) {
	o.mine = have.Clone()
	for _, p := range o.order {
		t := o.peers[p]
		for _, i := range t.offered.Minus(o.mine).All() {
			o.takeBack(t, i)
		}
	}
}

// Join adds a peer that fetches, with what it has. If it was here already, its
// offers are taken back: they went with its old stream.
func (o *Offers) Join(p Peer, have manifest.Bitmap) {
	o.Leave(p)
	t := o.peers[p]
	if t == nil {
		t = &taker{}
		o.peers[p] = t
		i, _ := slices.BinarySearch(o.order, p)
		o.order = slices.Insert(o.order, i, p)
	}
	t.here = true
	for _, i := range t.have.Minus(have).All() {
		o.lose(t, i)
	}
	for _, i := range have.All() {
		o.gain(t, i)
	}
}

// Leave is called when the stream to a peer ends. What it was offered and did not
// take is taken back; what it has still counts as copies, for a member that has
// all it wants leaves the seed and serves others.
func (o *Offers) Leave(p Peer) {
	if t := o.peers[p]; t != nil {
		for _, i := range t.offered.All() {
			o.takeBack(t, i)
		}
		t.here = false
	}
}

// Forget is called when a member is gone for good: its copies count no more.
func (o *Offers) Forget(p Peer) {
	o.Leave(p)
	if i, ok := slices.BinarySearch(o.order, p); ok {
		for _, piece := range o.peers[p].have.All() {
			o.copies[piece]--
		}
		o.order = slices.Delete(o.order, i, i+1)
		delete(o.peers, p)
	}
}

// Has records pieces that a peer has now, from whomever.
func (o *Offers) Has(p Peer, pieces []uint32) {
	if t := o.peers[p]; t != nil {
		for _, i := range pieces {
			o.gain(t, int(i))
		}
	}
}

// Lacks records that a peer no longer holds these pieces.
func (o *Offers) Lacks(p Peer, pieces []uint32) {
	if t := o.peers[p]; t != nil {
		for _, i := range pieces {
			o.lose(t, int(i))
		}
	}
}

// Asked records that a piece was asked for, maybe without having been offered.
func (o *Offers) Asked(p Peer, piece int) {
	if t := o.peers[p]; t != nil && piece >= 0 && piece < len(o.sent) && !t.offered.Has(piece) {
		o.sent[piece]++
	}
}

// Outstanding is what a peer is offered now and has not taken.
func (o *Offers) Outstanding(p Peer) manifest.Bitmap {
	if t := o.peers[p]; t != nil {
		return t.offered.Clone()
	}
	return nil
}

func (o *Offers) gain(t *taker, piece int) {
	if piece >= len(o.sent) || t.have.Has(piece) {
		return
	}
	t.have = t.have.With(piece)
	o.copies[piece]++
	if t.offered.Has(piece) {
		t.offered = t.offered.Without(piece)
		o.open[piece]--
	}
}

func (o *Offers) lose(t *taker, piece int) {
	if t.have.Has(piece) {
		t.have = t.have.Without(piece)
		o.copies[piece]--
	}
}

func (o *Offers) takeBack(t *taker, piece int) {
	t.offered = t.offered.Without(piece)
	o.open[piece]--
	o.sent[piece]--
}

// Next returns what to offer now.
func (o *Offers) Next() []Offer { return o.offer(o.due) }

// Again returns what to offer when nobody has said anything for a while, though some
// who are here lack pieces: whoever holds these does not pass them on. The others may
// have left it out for its lies, or cannot reach it.
func (o *Offers) Again() []Offer { return o.offer(o.lacking) }

// Lacking reports whether somebody who is here lacks anything.
func (o *Offers) Lacking() bool {
	return slices.ContainsFunc(o.order, func(p Peer) bool {
		t := o.peers[p]
		return t.here && o.mine.Minus(t.have).Count() > 0
	})
}

// offer offers pieces out of those that make sense, one after the other.
func (o *Offers) offer(sense func() manifest.Bitmap) []Offer {
	var out []Offer
	for {
		of, ok := o.choose(sense())
		if !ok {
			return out
		}
		t := o.peers[of.Peer]
		t.offered = t.offered.With(of.Piece)
		o.open[of.Piece]++
		o.sent[of.Piece]++
		out = append(out, of)
	}
}

// choose takes the peer with the fewest outstanding offers and, for it, the piece of
// those due that was offered least, then is held least.
func (o *Offers) choose(due manifest.Bitmap) (best Offer, ok bool) {
	if due.Count() == 0 {
		return Offer{}, false
	}
	least, ties := MaxOffers, 0
	for _, p := range o.order {
		t := o.peers[p]
		n := t.offered.Count()
		if !t.here || n > least || n >= MaxOffers {
			continue
		}
		piece := o.rarest(due.Minus(t.have).Minus(t.offered))
		if piece < 0 {
			continue
		}
		if n < least {
			least, ties = n, 0
		}
		if ties++; o.rand.IntN(ties) == 0 {
			best, ok = Offer{p, piece}, true
		}
	}
	return best, ok
}

// due is the set of pieces that it makes sense to offer to somebody: never sent, or
// with nobody who holds them or will.
func (o *Offers) due() manifest.Bitmap {
	due := manifest.NewBitmap(len(o.sent))
	for i := range o.sent {
		if o.mine.Has(i) && (o.sent[i] == 0 || o.copies[i]+o.open[i] == 0) {
			due = due.With(i)
		}
	}
	return due
}

// lacking is the set of pieces that are on their way to nobody from here. Whoever has
// one of them is not offered it.
func (o *Offers) lacking() manifest.Bitmap {
	due := o.mine.Clone()
	for i, n := range o.open {
		if n > 0 {
			due = due.Without(i)
		}
	}
	return due
}

// rarest picks one of the pieces offered least, then held least; -1 if there is none.
func (o *Offers) rarest(pieces manifest.Bitmap) int {
	best, ties := -1, 0
	for _, i := range pieces.All() {
		order := -1
		if best >= 0 {
			order = cmp.Or(cmp.Compare(o.sent[i], o.sent[best]), cmp.Compare(o.copies[i], o.copies[best]))
		}
		switch {
		case order < 0:
			best, ties = i, 1
		case order == 0:
			if ties++; o.rand.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// Copies counts the members besides the seed that hold the piece.
func (o *Offers) Copies(piece int) int { return o.copies[piece] }

// Safe reports whether the seed may leave: some member fetched, and each piece is
// held by SafeCopies of them, or by all that there are.
func (o *Offers) Safe() bool {
	need := min(SafeCopies, len(o.order))
	if need == 0 {
		return false
	}
	return !slices.ContainsFunc(o.copies, func(n int) bool { return n < need })
}

// check states what must always hold; tests call it after each step.
func (o *Offers) check() error {
	copies, open := make([]int, len(o.sent)), make([]int, len(o.sent))
	for p, t := range o.peers {
		if n := t.offered.Count(); n > MaxOffers || (!t.here && n > 0) {
			return fmt.Errorf("peer %s has %d offers, here %v", p, n, t.here)
		}
		for _, i := range t.offered.All() {
			if t.have.Has(i) || !o.mine.Has(i) || o.sent[i] < 1 {
				return fmt.Errorf("piece %d is offered to %s, who has it, or is not ours, or was sent %d times", i, p, o.sent[i])
			}
			open[i]++
		}
		for _, i := range t.have.All() {
			copies[i]++
		}
	}
	if !slices.Equal(copies, o.copies) || !slices.Equal(open, o.open) {
		return fmt.Errorf("copies %v, open %v; counted %v and %v", copies, open, o.copies, o.open)
	}
	if len(o.order) != len(o.peers) || !slices.IsSorted(o.order) {
		return fmt.Errorf("the order of %d peers lists %d, or is off", len(o.peers), len(o.order))
	}
	return nil
}
