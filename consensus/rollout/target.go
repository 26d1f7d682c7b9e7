package rollout

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// A May says how far a robot may go towards its target.
type May uint8

// The steps. A robot that may arm may fetch.
const (
	MayNothing May = 0
	MayFetch   May = 1
	MayArm     May = 2
)

// String is "nothing", "fetch" or "arm".
func (m May) String() string {
	return [...]string{"nothing", "fetch", "arm"}[min(m, MayArm)]
}

// A Cause says why a robot has a target.
type Cause uint8

// The causes.
const (
	Stay       Cause = 0 // it runs what it should
	InRollout  Cause = 1 // its turn in a rollout has come, or will
	CatchingUp Cause = 2 // it missed a rollout that is over
	GoingBack  Cause = 3 // what it runs is quarantined
)

// String is "stay", "rollout", "catch up" or "go back".
func (c Cause) String() string {
	return [...]string{"stay", "rollout", "catch up", "go back"}[min(c, GoingBack)]
}

// A Target is what one robot should do about one component.
type Target struct {
	Cause Cause
	// Release is what it should run. With Stay it is zero: nothing to do. With
	// GoingBack it may be zero too: nothing ran before, so stop what runs.
	Release manifest.Ref
	May     May
	Reason  string // for people: why it may not do more, or why it should
}

// TargetOf is what member me should do about component while its committed slot
// holds the release running (zero: none). Every robot decides by it, from an order
// that it has verified, alone. A halt is no part of orders and lies over it.
//
// A quarantined release is left whatever else holds. Only the members of the open
// batch, and only while the rollout runs, may switch to its release. Who missed a
// rollout catches up with what is active, but not while the component reverts.
func TargetOf(o *order.Order, me member.Index, component string, running manifest.Digest) Target {
	c := o.Component(component)
	if c == nil {
		return Target{Reason: fmt.Sprintf("the swarm has no component %s", component)}
	}
	r := o.Rollout
	if r != nil && r.Component != component {
		r = nil
	}
	reverting := r != nil && r.Status == order.RollingOff
	if !planted.Is("keep-quarantined") && !running.IsZero() && (o.Quarantined(running) || (r != nil && running == r.Release.Digest && (reverting || r.Status == order.Reverted))) {
		if c.Active.Digest == running {
			return Target{Reason: "what it runs is quarantined and active at once; waiting for the operator"}
		}
		if c.Active.IsZero() && r != nil && running != r.Release.Digest {
			// There is nothing to go back to, and something else to take.
			if t, decided := inRollout(r, me, r.From.Digest); decided {
				return t
			}
		}
		return Target{Cause: GoingBack, Release: c.Active, May: MayArm, Reason: "the release it runs was taken back"}
	}
	if r != nil {
		if t, decided := inRollout(r, me, running); decided {
			return t
		}
	}
	switch {
	case c.Active.IsZero() || c.Active.Digest == running:
		return Target{Reason: "runs what is active"}
	case o.Quarantined(c.Active.Digest):
		return Target{Reason: "what is active is quarantined; waiting for the operator"}
	case reverting:
		return Target{Cause: CatchingUp, Release: c.Active, May: MayFetch, Reason: "waits until the rollout is taken back everywhere"}
	}
	return Target{Cause: CatchingUp, Release: c.Active, May: MayArm, Reason: "missed what the swarm runs"}
}

// inRollout is the target that a rollout sets, and whether it sets one.
func inRollout(r *order.Rollout, me member.Index, running manifest.Digest) (Target, bool) {
	if running == r.Release.Digest {
		return Target{Reason: "runs the release that is rolling out"}, r.Status != order.Finished
	}
	t := Target{Cause: InRollout, Release: r.Release}
	switch {
	case r.Status == order.Running && (r.Open.Has(int(me)) || (planted.Is("any-batch") && r.Fetch.Has(int(me)))):
		t.May, t.Reason = MayArm, "is in the open batch"
	case r.Status == order.Held && r.Open.Has(int(me)):
		t.May, t.Reason = MayFetch, because("the rollout is held", r.Reason)
	case (r.Status == order.Running || r.Status == order.Held) && r.Fetch.Has(int(me)) && running == r.From.Digest:
		t.May, t.Reason = MayFetch, "its batch is not open"
	default:
		return Target{}, false
	}
	return t, true
}
