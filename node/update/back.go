package update

import (
	"github.com/starling-swarm/starling/gossip/member"
)

// revert begins the way back to the committed slot. It is the same after a failed
// probe, an order, a person's word, a crash loop and a restart.
func (u *Updater) revert(reason string, result member.Result) {
	if result == member.Failed {
		u.blame(u.rec.Target.Digest)
	}
	u.rec.Result = result
	u.actTries, u.actAt, u.stuck = 0, u.now, false
	u.move(member.Reverting, reason)
}

// onBack goes back one step, from wherever this robot is.
func (u *Updater) onBack(e Back) {
	result := member.Unknown
	if e.ByHand {
		result, u.forced = member.Failed, true
		if !u.rec.HasCommitted {
			u.rec.Retries = retriesOver
		}
	}
	switch {
	case preparing(u.rec.Phase):
		if e.ByHand {
			u.blame(u.rec.Target.Digest)
			u.rec.Result = member.Failed
		}
		u.abandon(e.Reason)
	case u.rec.Phase == member.Trial:
		u.revert(e.Reason, result)
	case u.rec.Phase != member.Reverting:
		if !u.fallBack(e.Reason, result) {
			u.forced = false
			u.rec.Reason = clip("nothing to go back to: " + e.Reason)
		}
	}
}

// fallBack goes from the committed slot to the other one, if that was committed
// once and is whole. It reports whether it could.
func (u *Updater) fallBack(reason string, result member.Result) bool {
	other := u.rec.Committed.Other()
	s := u.rec.Slots[other]
	if !u.rec.HasCommitted || s.State != Whole || !s.Good {
		return false
	}
	if preparing(u.rec.Phase) {
		u.cancelPrep()
	}
	from := u.rec.Committed
	u.rec.Into, u.rec.Target = from, u.rec.Slots[from].Release
	u.rec.Slots[from].Good = false // never back to it without a new trial
	u.rec.Committed = other
	u.rec.Attempts, u.rec.Boots = 0, 0
	u.lateEnd, u.exits = noTime, nil
	u.unmark()
	u.revert(reason, result)
	return true
}

// goBack carries the revert out, and tries until it succeeds: when the link cannot
// be moved, every second try starts the old slot where it lies.
func (u *Updater) goBack() {
	if u.act != actNone || u.now.Before(u.actAt) {
		return
	}
	if u.up && u.closed && u.gate.Hold && !u.forced {
		return
	}
	u.forced = false
	switch {
	case !u.rec.HasCommitted:
		u.act, u.actOp = actStop, u.nextOp()
		u.emit(Stop{u.actOp})
	case u.stuck:
		u.startPayload(u.rec.Committed)
	default:
		u.switchTo(u.rec.Committed, true)
	}
}
