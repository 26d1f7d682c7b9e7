package update

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/gossip/member"
)

var noTime time.Time

func (u *Updater) switchTo(s Slot, back bool) {
	u.act, u.actOp, u.actTo, u.early = actSwitch, u.nextOp(), s, ""
	u.emit(Switch{Op: u.actOp, To: s, Content: u.rec.Slots[s], Back: back})
}

func (u *Updater) startPayload(s Slot) {
	u.act, u.actOp, u.actTo, u.early = actStart, u.nextOp(), s, ""
	u.emit(Start{Op: u.actOp, Slot: s, Content: u.rec.Slots[s]})
}

// supervise keeps the committed payload running, whatever is being prepared.
func (u *Updater) supervise() {
	if u.act != actNone || u.up || u.now.Before(u.actAt) || !u.rec.HasCommitted ||
		u.rec.Phase == member.Trial || u.rec.Phase == member.Reverting {
		return
	}
	if u.rec.Current != u.rec.Committed {
		u.switchTo(u.rec.Committed, true)
		return
	}
	u.startPayload(u.rec.Committed)
}

// mark has the driver mark the committed slot, until it has.
func (u *Updater) mark() {
	if u.marked || u.markOp != 0 || !u.rec.HasCommitted || u.now.Before(u.markAt) || u.act != actNone ||
		u.rec.Phase == member.Trial || u.rec.Phase == member.Reverting {
		return
	}
	u.markOp = u.nextOp()
	u.emit(Commit{Op: u.markOp, Slot: u.rec.Committed, Content: u.rec.Slots[u.rec.Committed]})
}

// unmark forgets the driver's mark: another slot is committed now.
func (u *Updater) unmark() { u.marked, u.markOp, u.markAt = false, 0, u.now }

func (u *Updater) onActivated(e Activated) {
	if u.act == actNone || u.act == actStop || e.Op != u.actOp {
		return
	}
	if u.act == actSwitch {
		u.save = u.save || u.rec.Current != u.actTo
		u.rec.Current = u.actTo
	}
	u.act, u.up, u.upAt, u.healthyAt = actNone, true, u.now, noTime
	if u.rec.Phase == member.Reverting && u.rec.HasCommitted && u.actTo == u.rec.Committed {
		u.actTries = 0
		u.move(member.Reverted, u.rec.Reason)
	}
	if early := u.early; early != "" {
		u.early = ""
		u.onExited(PayloadExited{Slot: u.actTo, Reason: early})
	}
}

func (u *Updater) onActivateFailed(e ActivateFailed) {
	if u.act == actNone || u.act == actStop || e.Op != u.actOp {
		return
	}
	was := u.act
	u.act, u.early = actNone, ""
	if u.rec.Phase == member.Trial {
		if e.Later && was == actSwitch && u.rec.Current != u.rec.Into {
			u.rec.Attempts++ // nothing was given
			u.move(member.Staged, "")
			u.deferPrep(e.Err)
			return
		}
		u.up = false
		u.revert("did not start: "+e.Err, member.Failed)
		return
	}
	u.up = u.up && e.Later
	u.stuck = !e.Later && was == actSwitch
	u.actTries++
	u.actAt = u.now.Add(backoff(u.actTries))
	if u.rec.Phase != member.Reverting {
		u.countExit("did not start: " + e.Err)
	}
}

// onExited takes in that the payload ended by itself.
func (u *Updater) onExited(e PayloadExited) {
	if u.act != actNone {
		if e.Slot == u.actTo {
			u.early = e.Reason // the new one was gone before we heard it had come
		}
		return
	}
	if !u.up {
		return
	}
	u.crashes = bump(u.crashes)
	switch u.rec.Phase {
	case member.Trial:
		u.exitedOnTrial(e.Reason)
	case member.Reverting:
		u.up, u.healthyAt = false, noTime
	default:
		u.up, u.healthyAt = false, noTime
		u.actTries++
		u.actAt = u.now.Add(backoff(u.actTries))
		u.countExit(e.Reason)
	}
}

// countExit remembers an exit of the committed payload and calls many a crash loop.
func (u *Updater) countExit(reason string) {
	var recent []time.Time
	for _, t := range u.exits {
		if u.now.Sub(t) < SettledAfter && len(recent) < CrashLoop-1 {
			recent = append(recent, t)
		}
	}
	u.exits = append(recent, u.now)
	if len(u.exits) >= CrashLoop {
		u.exits = nil
		u.crashLoop(fmt.Sprintf("crash loop, %d exits: %s", CrashLoop, reason))
	}
}

// crashLoop falls back once within the late window, and else reports it.
func (u *Updater) crashLoop(reason string) {
	if u.lateEnd.After(u.now) && !u.cfg.NoLateFallback && u.fallBack(reason, member.Failed) {
		return
	}
	if !preparing(u.rec.Phase) {
		u.rec.Result, u.rec.Reason, u.save = member.Failed, clip(reason), true
	}
}
