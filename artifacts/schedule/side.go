package schedule

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// While a swarm is cut in two, the fetches of a half come to have all that the half
// holds, and idle together. So a fetch knows its side without being told of any cut:
// those who had joined when it idled, its mates. Who joins later and brings something
// comes from across a cut that has healed, and one copy of each piece should cross
// it: what a mate holds, or says that it fetches across already, is left to the side.
//
// A mate that lies costs a bounded time. One that does not send what it holds leaves
// the side when its pieces are given up. One that only says what it fetches is waited
// for when nothing else is to be had, and then for twice the time of starving: the
// fetch idles again, and whoever has joined by then is a mate.

// gather makes all who are here mates, and ranks us among them for each piece: mates
// that do not choose alike do not fetch the same piece before they have heard of each
// other.
func (f *Fetch) gather() {
	var side []Peer
	same := true
	for _, p := range f.order {
		s := f.peers[p]
		mate := s.here && !s.out
		same = same && s.mate == mate
		if s.mate = mate; mate {
			side = append(side, p)
		}
	}
	if same || f.self == "" {
		return
	}
	f.rank = make([]int, len(f.sizes))
	for i := range f.rank {
		my := weight(f.self, i)
		for _, p := range side {
			f.rank[i] += toInt(weight(p, i) > my)
		}
	}
}

// alone reports whether the fetch idles, has no seed to beg, and has waited for what is
// left to mates for as long as it does at most.
func (f *Fetch) alone(now time.Time) bool {
	if len(f.flying) > 0 || !f.leaves() {
		f.left = time.Time{}
	} else if f.left.IsZero() {
		f.left = now
	}
	return f.Idle(now) && f.askable(true).Count() == 0 && (f.left.IsZero() || now.Sub(f.left) >= 2*f.starve)
}

// leaves reports whether anybody across a cut holds what is missing and left to mates.
func (f *Fetch) leaves() bool {
	near := f.near.Minus(f.have)
	return slices.ContainsFunc(f.order, func(p Peer) bool {
		s := f.peers[p]
		return !s.mate && near.Minus(near.Minus(s.have)).Count() > 0
	})
}

// before is negative if the fetch should rather choose piece i than k, which have as
// many copies: we begin with our own share, and help with others' when it is done.
func (f *Fetch) before(i, k int) int {
	if f.rank == nil {
		return 0
	}
	return f.rank[i] - f.rank[k]
}

// weight is a member's claim to a piece: of any members, the one with the highest
// comes first, whoever else there is (Thaler and Ravishankar 1998).
func weight(p Peer, piece int) string {
	sum := manifest.Sum(binary.BigEndian.AppendUint32([]byte(p), uint32(piece)))
	return string(sum[:])
}

// yield recalls pieces that mates who come before us have on their way across as well.
func (f *Fetch) yield() []Ask {
	var out []Ask
	if f.rank == nil {
		return nil
	}
	for _, piece := range f.inFlight() {
		fl := f.flying[piece]
		if fl.recalled || f.may(f.peers[fl.peer], piece, true) || !f.outranked(piece) {
			continue
		}
		fl.recalled = true
		f.flying[piece] = fl
		out = append(out, Ask{Peer: fl.peer, Piece: piece, Recall: true})
	}
	return out
}

// outranked reports whether a mate that comes before us fetches the piece.
func (f *Fetch) outranked(piece int) bool {
	return slices.ContainsFunc(f.order, func(p Peer) bool {
		s := f.peers[p]
		return s.mate && s.soon.Has(piece) && weight(p, piece) > weight(f.self, piece)
	})
}

// Soon records that a peer fetches these pieces from across a cut. Has and Lacks end
// that.
func (f *Fetch) Soon(p Peer, pieces []uint32) {
	s := f.peers[p]
	if s == nil || !s.here || s.out {
		return
	}
	for _, i := range pieces {
		if int(i) < len(f.sizes) && !s.have.Has(int(i)) {
			s.soon = s.soon.With(int(i))
		}
	}
}

// nearby is the set of pieces that are left to mates: those they hold and have not
// failed to send, and those that are on their way to them.
func (f *Fetch) nearby() manifest.Bitmap {
	var all manifest.Bitmap
	for _, p := range f.order {
		if s := f.peers[p]; s.mate {
			all = all.Union(s.have.Union(s.soon).Minus(s.stale))
		}
	}
	return all
}

// Crossing is the set of pieces that are on their way from across a cut: what to tell
// the mates with Soon.
func (f *Fetch) Crossing() manifest.Bitmap {
	mates := false
	for _, p := range f.order {
		mates = mates || f.peers[p].mate
	}
	if !mates {
		return nil
	}
	all := manifest.NewBitmap(len(f.sizes))
	for piece, fl := range f.flying {
		if !f.peers[fl.peer].mate && !fl.recalled {
			all = all.With(piece)
		}
	}
	return all
}
