package update

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// DefaultMinHealthy is Wanted.MinHealthy when it is zero.
	DefaultMinHealthy = time.Minute
	// DefaultHealthyDeadline is Wanted.HealthyDeadline when it is zero.
	DefaultHealthyDeadline = 15 * time.Minute
	// DefaultLateWindow is Config.LateWindow when it is zero: a day, as greenboot
	// and RAUC users have it.
	DefaultLateWindow = 24 * time.Hour
	// SettledAfter of running without an exit forgets earlier exits and boots.
	SettledAfter = 10 * time.Minute
	// CrashLoop is how many exits within SettledAfter, or how many boots without
	// ever running so long, are a crash loop.
	CrashLoop = 5

	maxStageFailures = 3               // that are nobody else's fault
	maxMoves         = 12              // phases in one step; what is left waits for the next event
	deferAfter       = 3               // failures in a row that others may mend within seconds
	firstBackoff     = time.Second     // of whatever is tried again; it doubles
	maxBackoff       = time.Minute     // but for a fetch without space
	spaceBackoff     = 2 * time.Minute // space rarely comes by itself, and asking means counting chunks
	saveBackoff      = 10 * time.Second
	maxTrialSave     = 30 * time.Second // how much of a trial a power loss may cost
	lateSave         = 10 * time.Minute // how much of the late window
)

// Config is what an Updater must know besides its record. Its zero value is good.
type Config struct {
	// TrialRestarts is how often the payload may exit during a trial and be
	// started again; each one costs an attempt. Zero: its first exit ends the trial.
	TrialRestarts int
	// LateWindow is for how long after a commit a crash loop counts against the
	// release; zero means DefaultLateWindow.
	LateWindow time.Duration
	// NoLateFallback leaves a robot on a committed release that crash-loops, and
	// only reports it.
	NoLateFallback bool
}

// prep is what is under way for the target; act is what is done to the payload.
type prep uint8

const (
	prepNone prep = iota
	prepFetch
	prepStage
	prepArm
)

type act uint8

const (
	actNone act = iota
	actSwitch
	actStart
	actStop
)

// An Updater takes one component of one robot from release to release. It does no
// I/O and reads no clock; the caller brings events and time in and carries actions
// out. Equal events in equal order give equal actions. It is not safe for
// concurrent use: one goroutine owns it.
type Updater struct {
	cfg Config
	rec Record
	// durable is the record as it is on disk, saving the one on its way there.
	durable, saving Record
	began           bool // Restarted was seen
	now             time.Time
	out             []Action
	save            bool   // rec must be on disk before out is executed
	op              uint32 // of the last action that has one
	batchOp         uint32 // likewise, before the last step with a Save

	want   Wanted
	wanted bool
	gate   GateClosed
	closed bool
	forced bool // going back does not wait for the gate

	prep      prep
	prepOp    uint32
	prepTries int       // failures in a row
	prepAt    time.Time // nothing is begun for the target before
	retryAt   time.Time // when a failed first install is tried again; zero: not, or not known yet
	progress  uint16    // of the fetch, per mille

	act      act
	actOp    uint32
	actTo    Slot
	actTries int       // failures in a row
	actAt    time.Time // the payload is not started, or gone back to, before
	stuck    bool      // the last switch back failed, so the next try is a plain start
	early    string    // why the payload exited while act was on its way

	up         bool        // the payload runs, from rec.Current
	upAt       time.Time   // since when
	exits      []time.Time // of the committed payload, the last CrashLoop of them
	restarts   int         // during this trial
	healthyAt  time.Time   // since when no probe failed; zero: not healthy
	trialEnd   time.Time
	lateEnd    time.Time // zero: the late window is closed
	saveAt     time.Time // when rec is worth a write though nothing happens
	unsaved    bool      // rec has what the disk has not, and could not take
	badSave    time.Time // until when a record that could not be written is not tried again
	marked     bool      // the driver has marked rec.Committed
	markOp     uint32    // of a Commit on its way
	markAt     time.Time
	crashes    uint16
	failures   uint16
	reportedAs Status
}

// New returns an Updater that goes on from rec, which must be a zero record of its
// component (NewRecord) or pass Check.
func New(rec Record, cfg Config) *Updater {
	if cfg.LateWindow == 0 {
		cfg.LateWindow = DefaultLateWindow
	}
	return &Updater{cfg: cfg, rec: rec, durable: rec, saving: rec}
}

// Record is the record as it should be on disk.
func (u *Updater) Record() Record { return u.rec }

// Step takes in e and returns what is to be done, in this order. now must not go back.
func (u *Updater) Step(now time.Time, e Event) []Action {
	u.now, u.out, u.save = now, nil, false
	before := u.op
	u.elapse()
	u.handle(e)
	u.advance()
	u.record(before)
	if s := u.Status(); u.began && worth(s, u.reportedAs) {
		u.reportedAs = s
		u.emit(Report{s})
	}
	return u.out
}

// advance lets the phase do its next thing, as long as one leads to another. Each
// phase function either begins one thing, or moves on, or finds nothing to do.
func (u *Updater) advance() {
	if !u.began {
		return
	}
	was := Phase(member.Phases)
	for range maxMoves {
		if was == u.rec.Phase {
			break
		}
		was = u.rec.Phase
		switch {
		case preparing(was):
			u.prepare()
		case was == member.Trial:
			u.judge()
		case was == member.Reverting:
			u.goBack()
		default:
			u.consider()
		}
	}
	u.supervise()
	u.mark()
}

// preparing reports whether p is a phase before the hand-over.
func preparing(p Phase) bool { return p >= member.Fetching && p <= member.Armed }

// emit appends a, and nextOp numbers it if it will be answered.
func (u *Updater) emit(a Action) { u.out = append(u.out, a) }

func (u *Updater) nextOp() uint32 {
	u.op++
	return u.op
}

// record puts the Save in front of what this step has decided.
func (u *Updater) record(before uint32) {
	if !u.save {
		return
	}
	u.rec.TrialLeft, u.rec.LateLeft = 0, 0
	if u.rec.Phase == member.Trial {
		u.rec.TrialLeft = secondsUntil(u.now, u.trialEnd)
	}
	u.rec.LateLeft = secondsUntil(u.now, u.lateEnd)
	if u.now.Before(u.badSave) {
		u.saveAt, u.unsaved = u.badSave, true
		return
	}
	u.saving, u.batchOp = u.rec, before
	u.out = append([]Action{Save{u.rec}}, u.out...)
	u.saveAt = time.Time{}
	switch {
	case u.rec.Phase == member.Trial:
		u.saveAt = u.now.Add(u.trialSave())
	case u.rec.LateLeft > 0:
		u.saveAt = u.now.Add(lateSave)
	}
}

// trialSave is how often the time left of a trial is written: a loss of power costs
// the trial at most so much, and each restart just so much.
func (u *Updater) trialSave() time.Duration {
	d := time.Duration(u.rec.HealthyDeadline) * time.Second / 8
	return min(max(d, time.Second), maxTrialSave)
}

func secondsUntil(now, end time.Time) uint32 {
	if !end.After(now) {
		return 0
	}
	return uint32(end.Sub(now) / time.Second)
}

// Deadline is when Step next wants a Tick though nothing happens; zero is never.
func (u *Updater) Deadline() time.Time {
	var first time.Time
	sooner := func(t time.Time) {
		if t.After(u.now) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	sooner(u.prepAt)
	sooner(u.retryAt)
	sooner(u.actAt)
	sooner(u.saveAt)
	sooner(u.badSave)
	sooner(u.markAt)
	if u.rec.Phase == member.Trial {
		sooner(u.trialEnd)
		if !u.healthyAt.IsZero() {
			sooner(u.healthyAt.Add(u.minHealthy()))
		}
	} else if u.up && (u.rec.Boots > 0 || len(u.exits) > 0) {
		sooner(u.upAt.Add(SettledAfter))
	}
	return first
}

func (u *Updater) minHealthy() time.Duration {
	return time.Duration(u.rec.MinHealthy) * time.Second
}

// elapse lets time do what it does alone.
func (u *Updater) elapse() {
	if !u.lateEnd.IsZero() && !u.now.Before(u.lateEnd) {
		u.lateEnd, u.rec.Boots, u.save = time.Time{}, 0, true
	}
	if u.up && u.rec.Phase != member.Trial && !u.now.Before(u.upAt.Add(SettledAfter)) {
		u.exits, u.actTries = nil, 0
		if u.rec.Boots > 0 {
			u.rec.Boots, u.save = 0, true
		}
	}
	if !u.saveAt.IsZero() && !u.now.Before(u.saveAt) {
		u.save = true
	}
}

// move goes to phase p, and writes it.
func (u *Updater) move(p Phase, reason string) {
	u.rec.Phase, u.rec.Reason, u.save = p, clip(reason), true
}

// step counts a transition that throws work away, and reports whether there was
// one left.
func (u *Updater) step() bool {
	if u.rec.Transitions >= MaxTransitions {
		return false
	}
	u.rec.Transitions++
	return true
}

// backoff is how long to wait after the n-th failure in a row.
func backoff(n int) time.Duration {
	return min(firstBackoff<<min(max(n-1, 0), 10), maxBackoff)
}

// entitled is the slot that may run, if any may.
func (u *Updater) entitled() (Slot, bool) {
	if u.rec.Phase == member.Trial {
		return u.rec.Into, true
	}
	return u.rec.Committed, u.rec.HasCommitted
}

// failedBefore reports whether this robot went back from d in rollout id or later.
func (u *Updater) failedBefore(d manifest.Digest, id uint64) bool {
	for _, f := range u.rec.Failed {
		if f.Release == d && id <= f.Rollout {
			return true
		}
	}
	return false
}

// check states what holds after every step.
func (u *Updater) check() error {
	if err := u.rec.Check(); err != nil {
		return err
	}
	if n := len(u.exits); n > CrashLoop {
		return fmt.Errorf("%d exits remembered", n)
	}
	if u.prep != prepNone && !preparing(u.rec.Phase) {
		return fmt.Errorf("preparing in phase %s", u.rec.Phase)
	}
	for i, a := range u.out {
		if _, ok := a.(Save); ok && i > 0 {
			return fmt.Errorf("a save at place %d", i)
		}
	}
	return nil
}
