package update

import (
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/gossip/member"
)

// handOver gives control to the target: the attempt is spent, and that is on disk,
// before anything is stopped.
func (u *Updater) handOver() {
	if !u.step() {
		u.giveUp()
		return
	}
	u.rec.Attempts--
	u.move(member.Trial, "")
	u.trialEnd = u.now.Add(time.Duration(u.rec.HealthyDeadline) * time.Second)
	u.restarts, u.healthyAt = 0, time.Time{}
	u.switchTo(u.rec.Into, false)
}

// judge ends a trial one way or the other.
func (u *Updater) judge() {
	if u.act != actNone || !u.up {
		return
	}
	healthy := !u.healthyAt.IsZero() && (u.now.Sub(u.healthyAt) >= u.minHealthy() || planted.Is("commit-early"))
	switch {
	case healthy && !u.now.Before(u.badSave):
		u.commit()
	case !u.now.Before(u.trialEnd) && !planted.Is("no-revert"):
		u.revert(fmt.Sprintf("not healthy for %v within %v", u.minHealthy(),
			time.Duration(u.rec.HealthyDeadline)*time.Second), member.Failed)
	}
}

// commit makes the target what the robot goes back to from now on.
func (u *Updater) commit() {
	r := &u.rec
	r.Committed, r.HasCommitted, r.Current = r.Into, true, r.Into
	r.Slots[r.Into].Good = true
	r.Attempts, r.Transitions, r.Retries, r.Boots, r.Result = 0, 0, 0, 0, member.Good
	d := r.Target.Digest
	r.Failed = slices.DeleteFunc(slices.Clone(r.Failed), func(f Failure) bool { return f.Release == d })
	u.lateEnd = u.now.Add(u.cfg.LateWindow)
	u.upAt, u.healthyAt, u.exits = u.now, u.now, nil
	u.unmark()
	u.move(member.Committed, "")
}

// onProbe counts health, and ends a trial that failed.
func (u *Updater) onProbe(e Probe) {
	switch {
	case u.act != actNone || !u.up:
		return // it was asked of a payload that is going or coming
	case e.OK && u.healthyAt.IsZero():
		u.healthyAt = u.now
	case e.OK:
	default:
		u.healthyAt = time.Time{}
		u.failures = bump(u.failures)
		if u.rec.Phase == member.Trial && !planted.Is("no-revert") {
			u.revert(e.Reason, member.Failed)
		}
	}
}

// exitedOnTrial starts the payload again if that is allowed, else goes back.
func (u *Updater) exitedOnTrial(reason string) {
	u.up, u.healthyAt = false, time.Time{}
	if u.restarts >= u.cfg.TrialRestarts || u.rec.Attempts == 0 || u.now.Before(u.badSave) {
		u.revert("payload ended: "+reason, member.Failed)
		return
	}
	u.restarts++
	u.rec.Attempts--
	u.save = true
	u.startPayload(u.rec.Into)
}

func bump(n uint16) uint16 {
	if n == 1<<16-1 {
		return n
	}
	return n + 1
}
