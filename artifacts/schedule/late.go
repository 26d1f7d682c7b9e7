package schedule

import (
	"slices"
	"time"
)

// stall gives up what was asked of peers that have been silent for too long.
func (f *Fetch) stall(now time.Time) {
	late := map[Peer]bool{}
	var pieces []int
	for piece, fl := range f.flying {
		if !now.Before(f.silentAt(fl)) {
			late[fl.peer] = true
			pieces = append(pieces, piece)
		}
	}
	slices.Sort(pieces)
	for _, piece := range pieces {
		f.abandon(piece)
	}
	for p := range late {
		s := f.peers[p]
		s.stalls++
		s.rate /= 2
		s.mate = false
	}
}

// silentAt is when the peer of a flight will have been silent for too long.
func (f *Fetch) silentAt(fl flight) time.Time {
	s := f.peers[fl.peer]
	since := fl.since
	if s.heard.After(since) {
		since = s.heard
	}
	return since.Add(min(f.lulls.patience()<<min(s.stalls, 10), MaxPatience))
}

// handOver takes pieces from slow peers and asks faster ones, who have nothing
// else to do, instead. Only here may a seed be asked for what it did not offer
// though the fetch does not starve. Pieces that only wait for their turn at a busy
// peer are recalled sooner: when the last pieces are spread, all wait at the few
// who have them, while those who have just got them are idle.
func (f *Fetch) handOver(now time.Time) []Ask {
	var out []Ask
	for _, piece := range f.inFlight() {
		p, recall, at := f.heir(piece)
		fl := f.flying[piece]
		switch {
		case p == "":
		case !now.Before(at):
			f.abandon(piece)
			f.peers[fl.peer].mate = f.peers[fl.peer].mate && f.peers[p].mate
			out = append(out, f.take(p, piece, now))
		case !fl.recalled && !now.Before(recall):
			fl.recalled = true
			f.flying[piece] = fl
			out = append(out, Ask{Peer: fl.peer, Piece: piece, Recall: true})
		}
	}
	return out
}

func (f *Fetch) inFlight() []int {
	pieces := make([]int, 0, len(f.flying))
	for piece := range f.flying {
		pieces = append(pieces, piece)
	}
	slices.Sort(pieces)
	return pieces
}

// heir is the idle peer that could take a flying piece over the soonest: at is when it
// could have sent the piece handover times, recall when it could have sent it once.
// A seed waits longer, and so does who is across a cut for what is left to mates;
// nothing is recalled for them.
func (f *Fetch) heir(piece int) (best Peer, recall, at time.Time) {
	fl := f.flying[piece]
	for _, p := range f.order {
		s := f.peers[p]
		if p == fl.peer || s.busy > 0 || s.rate == 0 || s.stalls > 0 || !s.can(piece) {
			continue
		}
		need := time.Duration(float64(f.sizes[piece]) / s.rate * float64(time.Second))
		once, often := max(need, minRecall), max(handover*need, minHandover)
		if s.seed || !f.may(s, piece, true) {
			often = max(often, MinPatience)
			once = often
		}
		if t := fl.since.Add(often); best == "" || t.Before(at) {
			best, recall, at = p, fl.since.Add(once), t
		}
	}
	return best, recall, at
}

// Deadline is when Next wants to be called though nothing happens; zero is never.
func (f *Fetch) Deadline() time.Time {
	var at time.Time
	earlier := func(t time.Time) {
		if t.After(f.now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for piece, fl := range f.flying {
		earlier(f.silentAt(fl))
		if p, recall, t := f.heir(piece); p != "" {
			earlier(t)
			if !fl.recalled {
				earlier(recall)
			}
		}
	}
	if !f.idle.IsZero() {
		earlier(f.idle.Add(f.starves()))
		earlier(f.idle.Add(2 * f.starve))
	}
	if !f.left.IsZero() {
		earlier(f.left.Add(2 * f.starve))
	}
	if len(f.dropped) > 0 {
		return f.now
	}
	return at
}
