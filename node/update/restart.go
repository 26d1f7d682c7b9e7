package update

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/gossip/member"
)

// restarted compares the record with what the driver found, and goes on. The link
// says what control was given to, the record says what may have it.
func (u *Updater) restarted(e Restarted) {
	if u.began {
		return
	}
	u.began = true
	if e.Lost {
		u.startOver(e)
	}
	r := &u.rec
	if e.Linked {
		r.Current = e.Link
	} else if r.HasCommitted {
		r.Current = r.Committed.Other() // make supervise set the link
	}
	u.marked = e.Marked && r.HasCommitted && e.Mark == r.Committed
	u.up, u.upAt = e.Running && e.Linked && e.Slot == e.Link, u.now
	if r.LateLeft > uint32(lateSave/time.Second) {
		u.lateEnd = u.now.Add(time.Duration(r.LateLeft)*time.Second - lateSave)
	}
	switch {
	case preparing(r.Phase):
		// What was prepared is looked at again once the newest order wants it:
		// the disk may have lost what was not synced, the order may be another.
		u.abandon("")
	case r.Phase == member.Trial:
		u.resumeTrial(e)
	case r.Phase == member.Reverting && u.up && r.HasCommitted && r.Current == r.Committed:
		u.move(member.Reverted, r.Reason)
	}
	u.settle(e)
}

// startOver makes a record out of what the driver found.
func (u *Updater) startOver(e Restarted) {
	fresh := NewRecord(u.rec.Component)
	slot := e.Link
	if e.Marked {
		slot = e.Mark
	}
	if e.Linked || e.Marked {
		fresh = Baseline(u.rec.Component, slot, SlotRecord{})
	}
	fresh.Reason = "the record was lost"
	u.rec, u.save = fresh, true
}

// resumeTrial goes on with a trial that a restart interrupted. A payload that
// still runs was not given control again; that it may cost no attempt, each
// restart costs one save interval of the trial.
func (u *Updater) resumeTrial(e Restarted) {
	r := &u.rec
	if !e.Linked || e.Link != r.Into {
		u.abandon("interrupted before the switch") // no control was given
		return
	}
	left := time.Duration(r.TrialLeft)*time.Second - u.trialSave()
	u.trialEnd, u.save = u.now.Add(max(left, 0)), true
	switch {
	case !u.step():
		u.revert(fmt.Sprintf("on trial through %d steps", MaxTransitions), member.Failed)
	case u.up:
	case r.Attempts == 0:
		u.revert(fmt.Sprintf("control was given %d times without a commit", MaxAttempts), member.Failed)
	case e.Running: // the old payload runs beside the new link
		r.Attempts--
		u.switchTo(r.Into, false)
	default:
		r.Attempts--
		u.startPayload(r.Into)
	}
}

// settle makes what runs what may run, and counts boots that lead nowhere.
func (u *Updater) settle(e Restarted) {
	r := &u.rec
	if r.Phase == member.Trial || r.Phase == member.Reverting {
		return
	}
	if !r.HasCommitted {
		if e.Running {
			u.act, u.actOp = actStop, u.nextOp()
			u.emit(Stop{u.actOp})
		}
		return
	}
	if u.up && r.Current == r.Committed {
		return
	}
	u.up = false
	if u.lateEnd.After(u.now) {
		r.Boots++
		u.save = true
		if r.Boots >= CrashLoop {
			r.Boots = 0
			u.crashLoop(fmt.Sprintf("crash loop, %d boots without %v of running", CrashLoop, SettledAfter))
		}
	}
	if r.Phase != member.Reverting && (e.Running || r.Current != r.Committed) {
		u.switchTo(r.Committed, true)
	}
}
