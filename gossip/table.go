package gossip

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

// A State is what this node believes of a member. Believe it of reachability
// only: dead means that nobody whom this node hears could reach the member.
type State uint8

// The states of members.
const (
	Alive   State = 0
	Suspect State = 1 // did not answer this node's last probe, nor anybody since
	Dead    State = 2
	Left    State = 3 // said goodbye before it fell silent
)

// String is "alive", "suspect", "dead" or "left".
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// A Member is a member of the swarm as this node last heard of it.
type Member struct {
	Index member.Index
	Host  string // IP address, without port
	Port  uint16 // of gossip; the other ports are in Meta
	State State
	Meta  Meta
	Since time.Time // when State last changed
}

// Addr is the member's gossip address, "host:port".
func (m Member) Addr() string { return hostPort(m.Host, m.Port) }

func hostPort(host string, port uint16) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(ip, port).String()
	}
	return host + ":" + strconv.Itoa(int(port))
}

// A table holds every member heard of in this run, also those that memberlist
// has long forgotten: the rejoin loop asks them again. It is safe for
// concurrent use and calls nobody.
type table struct {
	self member.Index

	mu      sync.Mutex
	rows    map[member.Index]*Member
	order   []member.Index // keys of rows, sorted
	current []Member       // immutable, by Index; nil: to be built again
}

func newTable(self member.Index) *table {
	return &table{self: self, rows: map[member.Index]*Member{}}
}

// all returns a snapshot that nobody changes any more.
func (t *table) all() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		t.current = make([]Member, 0, len(t.rows))
		for _, i := range t.order {
			t.current = append(t.current, *t.rows[i])
		}
	}
	return t.current
}

func (t *table) lookup(i member.Index) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, ok := t.rows[i]; ok {
		return *m, true
	}
	return Member{}, false
}

// alive counts the members that are alive or suspect.
func (t *table) alive() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, m := range t.rows {
		if m.State <= Suspect {
			n++
		}
	}
	return n
}

// aliveAt reports whether an alive member is at this gossip address.
func (t *table) aliveAt(addr string) bool {
	a, err := literal(addr)
	host := a.Addr().String()
	return err == nil && slices.ContainsFunc(t.all(), func(m Member) bool {
		return m.State <= Suspect && m.Port == a.Port() && m.Host == host
	})
}

// joined records that a member is alive with this address and metadata.
func (t *table) joined(m Member, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.State, m.Since = Alive, now
	if old, ok := t.rows[m.Index]; ok && old.State == Alive {
		m.Since = old.Since
	}
	if at, known := slices.BinarySearch(t.order, m.Index); !known {
		t.order = slices.Insert(t.order, at, m.Index)
	}
	t.rows[m.Index], t.current = &m, nil
}

// gone records that a member is dead, or has left if it had said it would, and
// returns which of the two. It returns false for a member that was dropped.
func (t *table) gone(i member.Index, now time.Time) (State, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.rows[i]
	if !ok {
		return Dead, false
	}
	next := Dead
	if m.Meta.Flags&FlagLeaving != 0 {
		next = Left
	}
	t.set(m, next, now)
	return next, true
}

// suspected and cleared move a member between Alive and Suspect and say whether
// they did.
func (t *table) suspected(i member.Index, now time.Time) bool { return t.swap(i, Alive, Suspect, now) }
func (t *table) cleared(i member.Index, now time.Time) bool   { return t.swap(i, Suspect, Alive, now) }

func (t *table) swap(i member.Index, from, to State, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.rows[i]
	if !ok || m.State != from || i == t.self {
		return false
	}
	t.set(m, to, now)
	return true
}

// set needs mu.
func (t *table) set(m *Member, s State, now time.Time) {
	if m.State != s {
		m.State, m.Since, t.current = s, now, nil
	}
}

// saidGoodbye is the set of members that have left.
func (t *table) saidGoodbye() manifest.Bitmap {
	t.mu.Lock()
	defer t.mu.Unlock()
	var left manifest.Bitmap
	for i, m := range t.rows {
		if m.State == Left {
			left = left.With(int(i))
		}
	}
	return left
}

// goodbyes turns those in left from dead to left, and says whether any did. A
// member that went while this node was out of range left no other trace here.
func (t *table) goodbyes(left manifest.Bitmap, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := false
	for _, i := range left.All() {
		if m, ok := t.rows[member.Index(i)]; ok && m.State == Dead {
			t.set(m, Left, now)
			changed = true
		}
	}
	return changed
}

// spoke records what this node says of itself; a goodbye stays said.
func (t *table) spoke(meta Meta) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, ok := t.rows[t.self]; ok && m.Meta != meta {
		meta.Flags |= m.Meta.Flags & FlagLeaving
		m.Meta, t.current = meta, nil
	}
}

// drop forgets a member that does not belong any more.
func (t *table) drop(i member.Index) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, known := slices.BinarySearch(t.order, i); known {
		t.order = slices.Delete(t.order, at, at+1)
	}
	delete(t.rows, i)
	t.current = nil
}
