package update

import "github.com/starling-swarm/starling/gossip/member"

// handle takes e into the state; advance draws the consequences.
func (u *Updater) handle(e Event) {
	switch e := e.(type) {
	case Restarted:
		u.restarted(e)
	case Wanted:
		u.onWanted(e)
	case Unwanted:
		u.onUnwanted(e)
	case Back:
		u.onBack(e)
	case Progress:
		if u.prep == prepFetch && e.Op == u.prepOp {
			u.progress = min(e.Permille, 1000)
		}
	case FetchDone, FetchFailed, StageDone, StageFailed, Granted, Refused:
		u.onPrepared(e)
	case GateClosed:
		u.gate, u.closed = e, true
	case GateOpen:
		u.gate, u.closed = GateClosed{}, false
	case Activated:
		u.onActivated(e)
	case ActivateFailed:
		u.onActivateFailed(e)
	case Stopped:
		if u.act == actStop && e.Op == u.actOp {
			u.act, u.up = actNone, false
			if u.rec.Phase == member.Reverting {
				u.move(member.Reverted, u.rec.Reason)
			}
		}
	case Probe:
		u.onProbe(e)
	case PayloadExited:
		u.onExited(e)
	case CommitDone:
		if e.Op == u.markOp {
			u.markOp, u.marked = 0, true
		}
	case CommitFailed:
		if e.Op == u.markOp {
			u.markOp, u.markAt = 0, u.now.Add(maxBackoff)
		}
	case Saved:
		u.durable, u.badSave, u.unsaved = u.saving, u.now, false
	case SaveFailed:
		u.onSaveFailed(e)
	}
}

// onPrepared takes in an answer to Fetch, Stage or Arm, unless it is to one that
// was given up.
func (u *Updater) onPrepared(e Event) {
	answers := func(p prep, op uint32) bool {
		if u.prep != p || u.prepOp != op {
			return false
		}
		u.prep = prepNone
		return true
	}
	switch e := e.(type) {
	case FetchDone:
		if answers(prepFetch, e.Op) {
			u.rec.Phase, u.rec.Reason, u.rec.Result = member.Fetched, "", member.Unknown
			u.prepTries, u.prepAt = 0, u.now
		}
	case FetchFailed:
		if answers(prepFetch, e.Op) {
			u.deferPrep(e.Err)
			if e.Space {
				u.prepAt = u.now.Add(spaceBackoff)
			} else {
				u.askAgain()
			}
		}
	case StageDone:
		if answers(prepStage, e.Op) {
			u.rec.Slots[u.rec.Into].State = Whole
			u.rec.Result = member.Unknown
			u.prepTries, u.prepAt = 0, u.now
			u.move(member.Staged, "")
		}
	case StageFailed:
		if answers(prepStage, e.Op) {
			u.stageFailed(e)
		}
	case Granted:
		if answers(prepArm, e.Op) {
			u.handOver()
		}
	case Refused:
		if answers(prepArm, e.Op) {
			u.rec.Phase = member.Staged
			u.deferPrep(e.Reason)
			u.askAgain()
		}
	}
}

// deferPrep waits before it tries the same again, and says why.
func (u *Updater) deferPrep(reason string) {
	u.prepTries++
	u.prepAt = u.now.Add(backoff(u.prepTries))
	u.rec.Reason, u.rec.Result = clip(reason), member.Deferred
}

// askAgain takes back that this robot is deferred while others have not had a few
// chances to answer: they, or this robot, may just have started. Its batch goes on
// without a deferred robot, and a canary is tried again only after ten minutes. Who
// keeps failing is deferred at the latest by the plan's install deadline.
func (u *Updater) askAgain() {
	if u.prepTries < deferAfter {
		u.rec.Result = member.Unknown
	}
}

// onSaveFailed goes back to what is on disk: none of the actions after the Save
// was executed. Nothing new is begun for a while; going back needs no record.
func (u *Updater) onSaveFailed(e SaveFailed) {
	if u.prepOp > u.batchOp {
		u.prep = prepNone
	}
	if u.actOp > u.batchOp {
		u.act = actNone
	}
	if u.markOp > u.batchOp {
		u.markOp = 0
	}
	u.save, u.reportedAs = false, Status{}
	u.badSave = u.now.Add(saveBackoff)
	u.saveAt, u.prepAt, u.unsaved = u.badSave, u.badSave, true
	reason := "cannot write the record: " + e.Err
	was, disk := u.rec.Phase, u.durable.Phase
	switch {
	case was == member.Trial && disk == member.Trial && u.rec.Attempts < u.durable.Attempts:
		u.revert(reason, member.Deferred) // control must not be given again
	case was == member.Committed && disk == member.Trial && u.rec.Committed == u.durable.Into: // the commit
		u.rec, u.lateEnd, u.unsaved = u.durable, noTime, false // healthy as it is, and asked again
	case preparing(was) || (was == member.Trial && disk != member.Trial):
		u.cancelPrep()
		u.rec = u.durable
		if preparing(u.rec.Phase) {
			u.rec.Phase = u.resting()
		}
		u.rec.Reason, u.rec.Result = clip(reason), member.Deferred
		u.save, u.unsaved = false, false
	}
}
