package update

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

// A Status is what a health report says of one component. It follows from the
// record alone but for what a restart forgets: progress, counters, healthy time.
type Status struct {
	Component string
	Phase     Phase
	// Release is what Phase and Result are about: on its way, on trial or just
	// reverted from, else the committed one.
	Release manifest.Ref
	// Running is what the slot holds that runs, or should; zero if nothing may.
	Running manifest.Ref
	Slot    Slot // which slot that is
	Result  member.Result
	Reason  string // at most member.MaxReason bytes
	// Progress is of the fetch, per mille.
	Progress uint16
	// Healthy is how many seconds the committed slot has run without a failed
	// probe, since this Updater was made.
	Healthy  uint32
	Crashes  uint16 // of the payload, since this Updater was made
	Failures uint16 // of probes, likewise
	Held     bool   // the gate is closed
	Attempts uint8  // left
	Rollout  uint64
}

// String is "trial 1.4.2 (9f86d081884c) result=unknown running=1.4.1 (…)".
func (s Status) String() string {
	out := fmt.Sprintf("%s %s result=%s running=%s", s.Phase, s.Release, s.Result, s.Running)
	if s.Held {
		out += " held"
	}
	if s.Reason != "" {
		out += ": " + s.Reason
	}
	return out
}

// Status is how this robot stands.
func (u *Updater) Status() Status {
	r := &u.rec
	s := Status{
		Component: r.Component, Phase: r.Phase, Result: r.Result, Reason: r.Reason,
		Release: r.Target, Crashes: u.crashes, Failures: u.failures, Held: u.closed,
		Attempts: r.Attempts, Rollout: r.Rollout,
	}
	switch {
	case r.Phase == member.Fetching:
		s.Progress = u.progress
	case preparing(r.Phase) || r.Phase == member.Trial:
		s.Progress = 1000
	case r.Phase == member.Idle || r.Phase == member.Committed:
		s.Release = r.Slots[r.Committed].Release
	}
	if slot, ok := u.entitled(); u.up && (r.Phase == member.Trial || r.Phase == member.Reverting) {
		s.Slot, s.Running = r.Current, r.Slots[r.Current].Release // not yet, or no longer
	} else if ok {
		s.Slot, s.Running = slot, r.Slots[slot].Release
	}
	u.retryReason(&s)
	if u.committedRuns() && !u.healthyAt.IsZero() {
		s.Healthy = uint32(u.now.Sub(u.healthyAt).Seconds())
	}
	return s
}

// committedRuns reports whether what runs is the committed slot.
func (u *Updater) committedRuns() bool {
	return u.up && u.rec.HasCommitted && u.rec.Current == u.rec.Committed && u.rec.Phase != member.Trial
}

// worth reports whether the difference between two statuses is worth telling:
// everything but the seconds, and of the progress each twentieth.
func worth(a, b Status) bool {
	a.Healthy, b.Healthy = 0, 0
	a.Progress, b.Progress = a.Progress/50, b.Progress/50
	return a != b
}
