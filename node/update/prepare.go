package update

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

// onWanted remembers what is wanted; advance compares it with what is.
func (u *Updater) onWanted(w Wanted) {
	if w.MinHealthy == 0 {
		w.MinHealthy = DefaultMinHealthy
	}
	if w.HealthyDeadline == 0 {
		w.HealthyDeadline = DefaultHealthyDeadline
	}
	if u.wanted && w.Release.Digest != u.want.Release.Digest {
		u.prepTries, u.prepAt = 0, u.badSave
	}
	u.want, u.wanted = w, true
	if u.rec.Phase == member.Trial && u.rec.HasCommitted &&
		w.Release.Digest == u.rec.Slots[u.rec.Committed].Release.Digest {
		u.revert(fmt.Sprintf("the swarm wants %s", w.Release), member.Unknown)
	}
}

// onUnwanted gives up what is being prepared and takes back a trial.
func (u *Updater) onUnwanted(e Unwanted) {
	u.want, u.wanted, u.retryAt = Wanted{}, false, noTime
	switch {
	case preparing(u.rec.Phase):
		u.abandon(e.Reason)
	case u.rec.Phase == member.Trial:
		u.revert(e.Reason, member.Unknown)
	}
}

// consider begins what is wanted, if it is not what is.
func (u *Updater) consider() {
	w := &u.want
	settled := u.durable.Phase != member.Trial && u.durable.Phase != member.Reverting
	if !u.wanted || !settled || u.unsaved || u.act != actNone || u.now.Before(u.prepAt) || w.Release.IsZero() {
		return
	}
	if u.rec.HasCommitted && u.rec.Slots[u.rec.Committed].Release.Digest == w.Release.Digest {
		u.acknowledge(w)
		return
	}
	if w.Variant == nil || (u.failedBefore(w.Release.Digest, w.Rollout) && !u.retries(w)) {
		return
	}
	if w.Release.Digest != u.rec.Target.Digest || w.Rollout != u.rec.Rollout {
		u.rec.Attempts, u.rec.Transitions, u.rec.Retries = MaxAttempts, 0, 0
	}
	u.begin(w)
}

// acknowledge says of what runs already that a later rollout brought it: after
// having gone back from something else, the robot is well again.
func (u *Updater) acknowledge(w *Wanted) {
	if w.Rollout <= u.rec.Rollout || u.rec.Phase == member.Committed {
		return
	}
	u.rec.Rollout, u.rec.Kind, u.rec.Target, u.rec.Into = w.Rollout, w.Kind, w.Release, u.rec.Committed
	u.rec.Result = member.Good
	u.move(member.Committed, "")
}

// begin chooses the slot and the way: an image that lies there whole is only read
// back, anything else is fetched into it.
func (u *Updater) begin(w *Wanted) {
	into := u.spare(w.Variant.Manifest)
	s := u.rec.Slots[into]
	again := s.holds(w.Variant.Manifest) && s.State != Empty
	if !again && !u.step() {
		u.giveUp()
		return
	}
	u.rec.Into, u.rec.Target, u.retryAt = into, w.Release, noTime
	u.follow(w)
	content := SlotRecord{
		Release: w.Release, Variant: w.Variant.Name, Manifest: w.Variant.Manifest, State: Dirty,
		Run: w.Variant.Run, Driver: w.Variant.Driver,
	}
	next := member.Fetching
	if again && s.State == Whole {
		content.State, next = Whole, member.Staging
		content.Good = s.Good && s.Release.Digest == w.Release.Digest
	}
	u.rec.Slots[into] = content
	u.rec.Result, u.progress, u.prepTries = member.Unknown, 0, 0
	u.move(next, "")
}

// spare is the slot for an image: the one that may not run, or before the first
// commit the one that has it already.
func (u *Updater) spare(d manifest.Digest) Slot {
	if u.rec.HasCommitted {
		return u.rec.Committed.Other()
	}
	if u.rec.Slots[B].holds(d) {
		return B
	}
	return A
}

// follow takes over what an order says of a target that stays the same.
func (u *Updater) follow(w *Wanted) {
	u.rec.Rollout, u.rec.Kind = w.Rollout, w.Kind
	u.rec.MinHealthy, u.rec.HealthyDeadline = roundUp(w.MinHealthy), roundUp(w.HealthyDeadline)
}

func roundUp(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// prepare takes the target up to armed, as far as the order and the gate allow.
func (u *Updater) prepare() {
	w := &u.want
	if !u.wanted || w.Variant == nil || w.Release.Digest != u.rec.Target.Digest ||
		!u.rec.Slots[u.rec.Into].holds(w.Variant.Manifest) {
		u.abandon("")
		return
	}
	u.follow(w)
	switch u.rec.Phase {
	case member.Fetching:
		if u.idlePrep() {
			u.emit(Fetch{Op: u.startPrep(prepFetch), Slot: u.rec.Into, Release: w.Release, Variant: *w.Variant})
		}
	case member.Fetched:
		u.rec.Phase = member.Staging
	case member.Staging:
		if u.idlePrep() {
			u.emit(Stage{Op: u.startPrep(prepStage), Slot: u.rec.Into, Content: u.rec.Slots[u.rec.Into]})
		}
	case member.Staged:
		if w.MayArm && !u.closed && u.act == actNone && u.idlePrep() {
			u.arm(w)
		}
	case member.Armed:
		if !w.MayArm || u.closed || u.prep != prepArm {
			u.prep, u.rec.Phase = prepNone, member.Staged
		}
	}
}

func (u *Updater) idlePrep() bool { return u.prep == prepNone && !u.now.Before(u.prepAt) }

func (u *Updater) startPrep(p prep) uint32 {
	u.prep, u.prepOp = p, u.nextOp()
	return u.prepOp
}

// arm asks for the word to switch. Armed is written: whoever finds it after a
// restart knows that the pointer has not moved.
func (u *Updater) arm(w *Wanted) {
	if u.rec.Attempts == 0 {
		u.blame(u.rec.Target.Digest)
		u.rec.Result = member.Failed
		u.abandon(fmt.Sprintf("control was given %d times without a commit", MaxAttempts))
		return
	}
	u.move(member.Armed, "")
	u.rec.Result = member.Unknown
	u.emit(Arm{Op: u.startPrep(prepArm), Slot: u.rec.Into, Release: w.Release, Kind: w.Kind, Rollout: w.Rollout})
}

// stageFailed fetches again what was damaged, waits where nobody is at fault, and
// otherwise holds it against the release after maxStageFailures.
func (u *Updater) stageFailed(e StageFailed) {
	switch {
	case e.Damaged && u.step():
		u.rec.Slots[u.rec.Into].State = Dirty
		u.rec.Slots[u.rec.Into].Good = false
		u.move(member.Fetching, e.Err)
	case e.Damaged:
		u.giveUp()
	case e.Later:
		u.deferPrep(e.Err)
	default:
		u.deferPrep(e.Err)
		if u.prepTries >= maxStageFailures {
			u.blame(u.rec.Target.Digest)
			u.abandon("did not install: " + e.Err)
			u.rec.Phase, u.rec.Result = member.Reverted, member.Failed
		}
	}
}

// giveUp ends an update that ran out of transitions. It is not held against the
// release, but its rollout does not bring it again.
func (u *Updater) giveUp() {
	u.blame(u.want.Release.Digest)
	u.abandon(fmt.Sprintf("gave up %s after %d steps", u.want.Release.Version, MaxTransitions))
	u.rec.Result = member.Deferred
}

// abandon gives up what is being prepared. The slot keeps what it has.
func (u *Updater) abandon(reason string) {
	failed := u.rec.Result == member.Failed
	u.cancelPrep()
	u.prepTries, u.prepAt = 0, u.badSave
	u.move(u.resting(), reason)
	switch {
	case failed:
		u.rec.Phase = member.Reverted
	case u.rec.HasCommitted:
		u.rec.Result = member.Good
	default:
		u.rec.Result = member.Unknown
	}
}

func (u *Updater) cancelPrep() {
	if u.prep == prepFetch {
		u.emit(CancelFetch{u.prepOp})
	}
	u.prep, u.progress = prepNone, 0
}

// resting is the phase of a robot that nothing is asked of.
func (u *Updater) resting() Phase {
	if u.rec.HasCommitted {
		return member.Committed
	}
	return member.Idle
}

// blame remembers that this robot does not take d again in this rollout.
func (u *Updater) blame(d manifest.Digest) {
	if d.IsZero() {
		return
	}
	var kept []Failure
	for _, f := range u.rec.Failed {
		if f.Release != d {
			kept = append(kept, f)
		}
	}
	if len(kept) >= MaxFailed {
		kept = kept[len(kept)-MaxFailed+1:]
	}
	u.rec.Failed = append(kept, Failure{Release: d, Rollout: u.rec.Rollout})
}
