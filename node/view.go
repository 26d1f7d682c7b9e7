package node

import (
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// View is what a node has verified of its swarm at one moment. It is immutable.
type View struct {
	Swarm string
	Root  manifest.Digest // of the first TUF root
	Self  member.Index
	ID    member.ID
	// Trust and Roster are nil until the first of each has been verified.
	Trust     *trust.Set
	Roster    *member.Roster
	RosterRef order.RosterRef
	// Genesis and Order are nil until the generation has started.
	Genesis    *order.Genesis
	GenesisRef manifest.Digest
	Order      *order.Order
	Electorate *order.Electorate
	// Halted says that a halt lies over the swarm, or that the halt file cannot be
	// read. Alarm is why this robot holds still by itself: two certified truths.
	Halted     bool
	HaltReason string
	Alarm      string

	key     envelope.Key // this node's
	proven  order.Proven
	chain   []order.Proven
	roster  []byte // sealed
	genesis []byte // sealed
	halt    []byte // sealed; nil before the first
	// undecided says that no order has named Trust yet; base is then the one that it
	// would replace, or zero if none was decided before.
	undecided bool
	base      manifest.Digest

	haltN  uint64
	keys   [][]byte // of gossip, newest first
	keyN   uint32
	past   chan struct{} // closed when a newer view is there
	learnt time.Time
}

// Pointer is where the newest verified order stands; zero before the first.
func (v *View) Pointer() order.Pointer {
	if v.Order == nil {
		return order.Pointer{}
	}
	return v.Order.Pointer()
}

// Me is this node's entry in the roster, or nil if it has none (any more).
func (v *View) Me() *member.Member {
	if v.Roster == nil {
		return nil
	}
	if m := v.Roster.At(v.Self); m != nil && m.Key == v.key {
		return m
	}
	return nil
}

// Member returns the member with key k, or nil.
func (v *View) Member(k envelope.Key) *member.Member {
	if v.Roster == nil {
		return nil
	}
	return v.Roster.ByKey(k)
}

// keyOf returns a member's key, or zero.
func (v *View) keyOf(i member.Index) envelope.Key {
	if v.Roster == nil {
		return envelope.Key{}
	}
	m := v.Roster.At(i)
	if m == nil {
		return envelope.Key{}
	}
	return m.Key
}

// nameOf is a member's name for people.
func (v *View) nameOf(i member.Index) string {
	if v.Roster != nil && int(i) < len(v.Roster.Members) {
		return string(v.Roster.Members[i].ID)
	}
	return "#" + itoa(int(i))
}

// Votes reports whether this node is a voter.
func (v *View) Votes() bool { return v.Electorate != nil && v.Electorate.Seat(v.key) >= 0 }

// frozen reports whether this robot starts nothing, for a halt or an alarm.
func (v *View) frozen() bool { return (v.Halted && !planted.Is("ignore-halt")) || v.Alarm != "" }

// roles are the keys that count, none before the first trust metadata.
func (v *View) roles() order.Roles {
	if v.Trust == nil {
		return order.Roles{}
	}
	return v.Trust.Roles()
}

// floor is a time that has surely passed: a clock below it is wrong.
func (v *View) floor() time.Time {
	var t time.Time
	if v.Trust != nil {
		t = v.Trust.SignedAt()
	}
	if v.Order != nil {
		if o := time.Unix(v.Order.Time, 0); o.After(t) {
			t = o
		}
	}
	return t
}

// now is this node's best idea of the time: its clock, unless that is surely
// wrong, and then the floor moved forward by the monotonic clock.
func (v *View) now() time.Time {
	if at := v.floor().Add(time.Since(v.learnt)); time.Now().Before(at) {
		return at
	}
	return time.Now()
}
