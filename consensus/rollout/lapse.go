package rollout

import (
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// Lapsed is what a rollout was before State.Time alone ended or held it. A leader's
// word is all that Time has behind it until voters have signed an order of that time,
// so it can be undone.
type Lapsed struct {
	At     int64        `cbor:"0,keyasint"` // State.Time
	Status order.Status `cbor:"1,keyasint"` // Running or Held
	Held   HeldBy       `cbor:"2,keyasint"`
	Reason string       `cbor:"3,keyasint"`
	Open   member.Set   `cbor:"4,keyasint"`
}

// lapse does what is due by Time alone, so that nothing which a leader brought about
// under a time of its own making outlasts an order with a true time: a plan that is
// over has no batch open, and no lease is longer than the plan says.
func (s *State) lapse() {
	r := s.Rollout
	if r == nil || r.unfinished() != nil {
		return
	}
	r.LeaseUntil = min(r.LeaseUntil, s.Time+int64(r.Plan.LeaseSeconds))
	if s.expired() {
		s.settle()
		s.expire()
	}
}

// unlapse lets a rollout go on that ended, or was held, at a time which proved wrong:
// Time goes back only when an earlier leader's was too far ahead. No voter has signed
// anything of that time, or the next order, which is older, could not be signed.
func (s *State) unlapse() {
	r := s.Rollout
	if r == nil || r.Lapsed == nil || s.Time >= r.Lapsed.At {
		return
	}
	was := r.Lapsed
	r.Lapsed = nil
	if r.Status != order.Expired && r.Held != ByLease {
		return // people have decided since
	}
	r.Status, r.Held, r.Reason, r.Open = was.Status, was.Held, was.Reason, was.Open
	if votersIn(r.Open, &s.Electorate) && r.Open.Count() > 1 {
		r.Open = nil // one of them became a voter meanwhile; they have their turn alone
	}
}

// expired reports whether the plan is over and some robot has not had its turn.
// A rollout that only soaks goes on.
func (s *State) expired() bool {
	r := s.Rollout
	return s.Time > r.Plan.Expires && r.Stage < order.Soak && !subset(r.all(), r.Opened)
}

// expire ends a rollout whose plan is over.
func (s *State) expire() {
	s.noteLapse()
	s.end(order.Expired, "the plan expired before every robot had its turn; sign a new one to go on")
}

// holdByLease holds a rollout whose operator has not been heard of for too long.
func (s *State) holdByLease(why string) {
	s.noteLapse()
	s.hold(ByLease, why)
}

// noteLapse keeps what the rollout is, or was before its lease ended.
func (s *State) noteLapse() {
	r := s.Rollout
	was := Lapsed{At: s.Time, Status: r.Status, Held: r.Held, Reason: r.Reason, Open: r.Open}
	if r.Held == ByLease && r.Lapsed != nil {
		was = *r.Lapsed
		was.At = s.Time
	}
	r.Lapsed = &was
}
