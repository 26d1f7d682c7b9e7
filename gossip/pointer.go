package gossip

import (
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// A Pointer names an order: where it stands and what its bytes are.
type Pointer struct {
	order.Pointer
	Digest manifest.Digest
}

// IsZero reports whether p names nothing.
func (p Pointer) IsZero() bool { return p == Pointer{} }

// A Heard is a pointer and the member to pull its order from. From announced
// it, and so claims to hold the order; neither is proven.
type Heard struct {
	Pointer
	From member.Index
}

// A board keeps the pointer this node announced and, of each other member, the
// last pointer it announced that would be news here.
//
// One liar must not drown the truth with pointers from the far future, so the
// board goes round the senders: whoever was read longest ago is read next, and
// among them the newest pointer. It is safe for concurrent use.
type board struct {
	repeat time.Duration // least time before one sender's same pointer is read again

	mu      sync.Mutex
	own     Pointer
	senders map[member.Index]*sender // bounded by the members in the table
}

type sender struct {
	pending Pointer // zero: nothing to read
	read    Pointer // what was read last
	at      time.Time
}

func newBoard(repeat time.Duration) *board {
	return &board{repeat: repeat, senders: map[member.Index]*sender{}}
}

// announce takes a pointer this node can serve, and says whether it is newer
// than the last.
func (b *board) announce(p Pointer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.own.Before(p.Pointer) {
		return false
	}
	b.own = p
	for _, s := range b.senders {
		if !b.news(s.pending) {
			s.pending = Pointer{}
		}
	}
	return true
}

func (b *board) announced() Pointer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.own
}

// news reports whether p is worth reading: later than what this node announced,
// or another order for the same place, which proves that voters lie. It needs mu.
func (b *board) news(p Pointer) bool {
	return b.own.Before(p.Pointer) || (b.own.Pointer == p.Pointer && b.own.Digest != p.Digest)
}

// hear takes a pointer that another member announced and says whether there is
// something new to read.
func (b *board) hear(h Heard, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.Pointer.IsZero() || !b.news(h.Pointer) {
		return false
	}
	s := b.senders[h.From]
	if s == nil {
		s = &sender{}
		b.senders[h.From] = s
	}
	if h.Pointer == s.pending || (h.Pointer == s.read && now.Sub(s.at) < b.repeat) {
		return false
	}
	if h.Before(s.pending.Pointer) { // packets overtake each other
		return false
	}
	s.pending = h.Pointer
	return true
}

// next returns what to read next, if anything. It stays until read is called.
func (b *board) next() (Heard, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best *sender
	var out Heard
	for i, s := range b.senders {
		if s.pending.IsZero() {
			continue
		}
		if best == nil || s.before(best) || (!best.before(s) && i < out.From) {
			best, out = s, Heard{Pointer: s.pending, From: i}
		}
	}
	return out, best != nil
}

// before reports whether s is read before t.
func (s *sender) before(t *sender) bool {
	if !s.at.Equal(t.at) {
		return s.at.Before(t.at)
	}
	return t.pending.Before(s.pending.Pointer)
}

// read records that h was handed out.
func (b *board) read(h Heard, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.senders[h.From]; s != nil {
		s.read, s.at = h.Pointer, now
		if s.pending == h.Pointer {
			s.pending = Pointer{}
		}
	}
}

// drop forgets a sender that does not belong any more.
func (b *board) drop(i member.Index) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.senders, i)
}
