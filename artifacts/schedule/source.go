package schedule

import (
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// Join adds a peer with what it has; seed says that it offers. A peer that was
// left out stays out.
func (f *Fetch) Join(p Peer, have manifest.Bitmap, seed bool) {
	f.Leave(p)
	s := f.peers[p]
	if s == nil {
		s = &source{}
		f.peers[p] = s
		i, _ := slices.BinarySearch(f.order, p)
		f.order = slices.Insert(f.order, i, p)
	}
	s.seed, s.here = seed, true
	for _, i := range have.All() {
		f.gain(s, i)
	}
}

// Leave is called when the stream to a peer ends. What was asked of it is free
// again; its strikes, rate and stalls are remembered, and whether it is a mate.
func (f *Fetch) Leave(p Peer) {
	s := f.peers[p]
	if s == nil {
		return
	}
	for piece, fl := range f.flying {
		if fl.peer == p {
			f.land(piece)
		}
	}
	for _, i := range s.have.All() {
		f.copies[i]--
	}
	s.have, s.offered, s.stale, s.passed, s.soon = nil, nil, nil, nil, nil
	s.here, s.busy = false, 0
}

// Has records further pieces of a peer.
func (f *Fetch) Has(p Peer, pieces []uint32) {
	if s := f.peers[p]; s != nil {
		for _, i := range pieces {
			f.gain(s, int(i))
		}
	}
}

// Lacks records that a peer no longer holds these pieces.
func (f *Fetch) Lacks(p Peer, pieces []uint32) {
	for _, i := range pieces {
		f.lose(p, int(i))
		if s := f.peers[p]; s != nil {
			s.soon = s.soon.Without(int(i))
		}
	}
}

// Offered records that a seed means this piece for us.
func (f *Fetch) Offered(p Peer, piece int) {
	if s := f.peers[p]; s != nil {
		f.gain(s, piece)
		if s.have.Has(piece) {
			s.offered = s.offered.With(piece)
		}
	}
}

// Heard records that bytes came from a peer: it is at work, though maybe slowly.
func (f *Fetch) Heard(p Peer, now time.Time) {
	s := f.peers[p]
	if s == nil || !now.After(s.heard) {
		return
	}
	if s.heard = now; s.busy > 0 {
		f.lulls.note(now.Sub(s.owes))
	}
	s.owes = now
}

// Got records that a peer has sent the whole of a piece, and that it is verified
// and written. Whoever else was asked for it is told to stop.
func (f *Fetch) Got(p Peer, piece int, now time.Time) {
	if piece < 0 || piece >= len(f.sizes) {
		return
	}
	if fl, ok := f.flying[piece]; ok && fl.peer == p {
		f.peers[p].measure(f.sizes[piece], fl.since, now)
		f.land(piece)
	} else if ok {
		f.abandon(piece)
	}
	f.stopped(p, piece)
	if !f.have.Has(piece) {
		f.have = f.have.With(piece)
		f.missing--
	}
}

// Ended records that a peer has said the last of a piece, which is not whole here
// all the same; it may be asked of the peer again.
func (f *Fetch) Ended(p Peer, piece int) {
	if fl, ok := f.flying[piece]; ok && fl.peer == p {
		f.land(piece)
	}
	f.stopped(p, piece)
}

// measure takes one piece into the peer's rate. The second of two pieces starts
// when the first has landed.
func (s *source) measure(bytes int64, since, now time.Time) {
	if s.landed.After(since) {
		since = s.landed
	}
	s.landed, s.heard = now, now
	s.stalls = max(0, s.stalls-1)
	if took := now.Sub(since).Seconds(); took > 0 {
		r := float64(bytes) / took
		if s.rate == 0 {
			s.rate = r
		}
		s.rate += (r - s.rate) / 4
	}
}

// Lost records that a piece which was there turned out damaged.
func (f *Fetch) Lost(piece int) {
	if f.have.Has(piece) {
		f.have = f.have.Without(piece)
		f.missing++
	}
}

// Refused records that a peer will not send the piece (further): it does not have
// it, or has obeyed an Ask with Abandon or Recall.
func (f *Fetch) Refused(p Peer, piece int) {
	fl, ok := f.flying[piece]
	switch {
	case f.stopped(p, piece):
	case ok && fl.peer == p && fl.recalled:
		f.land(piece)
		s := f.peers[p]
		s.passed = s.passed.With(piece)
	default:
		f.lose(p, piece)
	}
}

// Strike records that a peer sent wrong bytes or broke the protocol, and reports
// whether that was the last time.
func (f *Fetch) Strike(p Peer) (out bool) {
	s := f.peers[p]
	if s == nil { // it has not even said hello
		f.Join(p, nil, false)
		s = f.peers[p]
	}
	if s.strikes++; s.strikes >= Strikes {
		f.Leave(p)
		s.out = true
	}
	return s.out
}

// Rate is what a peer was seen to send, in bytes per second; zero is not known.
func (f *Fetch) Rate(p Peer) float64 {
	if s := f.peers[p]; s != nil {
		return s.rate
	}
	return 0
}

// Out reports whether a peer has been left out for sending wrong bytes.
func (f *Fetch) Out(p Peer) bool { return f.peers[p] != nil && f.peers[p].out }

// gain notes that s holds a piece.
func (f *Fetch) gain(s *source, piece int) {
	if piece >= 0 && piece < len(f.sizes) && !s.out && !s.have.Has(piece) {
		s.have, s.soon = s.have.With(piece), s.soon.Without(piece)
		f.copies[piece]++
	}
}

// lose notes that p does not hold a piece.
func (f *Fetch) lose(p Peer, piece int) {
	s := f.peers[p]
	if s == nil || !s.have.Has(piece) {
		return
	}
	if fl, ok := f.flying[piece]; ok && fl.peer == p {
		f.land(piece)
	}
	s.have, s.offered = s.have.Without(piece), s.offered.Without(piece)
	f.copies[piece]--
}

// land takes a piece out of the air.
func (f *Fetch) land(piece int) {
	f.peers[f.flying[piece].peer].busy--
	f.bytes -= f.sizes[piece]
	delete(f.flying, piece)
}

// abandon gives a flying piece up; its peer stays busy until it has stopped.
func (f *Fetch) abandon(piece int) {
	p := f.flying[piece].peer
	f.land(piece)
	s := f.peers[p]
	s.stale = s.stale.With(piece)
	s.busy++
	f.dropped = append(f.dropped, Ask{Peer: p, Piece: piece, Abandon: true})
}

// stopped notes that a peer no longer sends a piece that was given up, and reports
// whether there was such a piece.
func (f *Fetch) stopped(p Peer, piece int) bool {
	s := f.peers[p]
	if s == nil || !s.stale.Has(piece) {
		return false
	}
	s.stale = s.stale.Without(piece)
	s.busy--
	return true
}
