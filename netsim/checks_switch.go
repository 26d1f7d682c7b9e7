package netsim

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// A switching is one robot handing control to a release, and what it knew then.
type switching struct {
	robot string
	me    member.Index
	part  string // component
	from  manifest.Ref
	to    manifest.Ref
	// order is the robot's own newest; nil before the first.
	order *order.Order
	// stopped is why the robot holds still: a halt or an alarm; empty is not.
	stopped string
	// alone says that no other voter was there that could have let it go; it knows of
	// none of them to be where it is.
	alone string
	// proven is what is wrong with the certificate of order, if anything is.
	proven error
}

// rollout is the rollout of the order that is about the switch, or nil.
func (s *switching) rollout() *order.Rollout {
	if s.order == nil || s.order.Rollout == nil || s.order.Rollout.Component != s.part || s.order.Rollout.Release.Digest != s.to.Digest {
		return nil
	}
	return s.order.Rollout
}

// forbidden is why the robot's own order does not let it switch; empty if it does.
func (s *switching) forbidden() string {
	if s.order == nil {
		return "it knows no order"
	}
	if s.proven != nil {
		return "its order is not certified: " + s.proven.Error()
	}
	if s.stopped != "" {
		return s.stopped
	}
	if s.alone != "" {
		return s.alone
	}
	if s.order.Quarantined(s.to.Digest) {
		return "the release is quarantined at " + s.order.Pointer().String()
	}
	if r := s.rollout(); r != nil && !r.Status.Final() {
		if r.Status == order.Running && r.Open.Has(int(s.me)) {
			return ""
		}
		return fmt.Sprintf("rollout %d is %s at %s, and it is %sin the open batch", r.ID, r.Status, s.order.Pointer(), not(r.Open.Has(int(s.me))))
	}
	if c := s.order.Component(s.part); c == nil || c.Active.Digest != s.to.Digest {
		return fmt.Sprintf("the release is neither active nor rolling out at %s", s.order.Pointer())
	}
	return ""
}

func not(is bool) string {
	if is {
		return ""
	}
	return "not "
}

// defies is the stop that the robot had received and did not heed; empty if none.
func (s *switching) defies() string {
	if s.stopped != "" {
		return s.stopped
	}
	if r := s.rollout(); r != nil && r.Status != order.Running && r.Status != order.Finished {
		return fmt.Sprintf("rollout %d is %s at %s", r.ID, r.Status, s.order.Pointer())
	}
	return ""
}

// lower is why a release with a lower counter than before may not run; empty if
// it may, or is not lower. An operator who rolls back says so in the order.
func (s *switching) lower() string {
	if s.from.IsZero() || s.to.Counter >= s.from.Counter || s.order == nil {
		return ""
	}
	c := s.order.Component(s.part)
	switch {
	case c == nil:
		return ""
	case s.to.Counter < c.Floor:
		return fmt.Sprintf("%s is below the floor %d", s.to, c.Floor)
	case c.Active.Digest == s.to.Digest || s.rollout() != nil:
		return ""
	}
	return fmt.Sprintf("%s is older than %s, and nobody ordered that", s.to, s.from)
}

// outside is why the switch is nobody's turn, as the whole swarm has decided, not as
// the robot knows it; empty if it is.
func (b *orders) outside(s *switching) string {
	if b.active[s.to.Digest] {
		return ""
	}
	for _, c := range b.rollouts {
		if c.last.Rollout.Release.Digest == s.to.Digest && c.opened.Has(int(s.me)) {
			return ""
		}
	}
	return fmt.Sprintf("no order has ever opened a batch of %s with it", s.to)
}
