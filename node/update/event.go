package update

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Kind says why a release is wanted.
type Kind uint8

// The kinds.
const (
	Rollout Kind = 0 // a rollout has reached this robot
	CatchUp Kind = 1 // the release is active and this robot was away
	Revert  Kind = 2 // the swarm goes back to it
)

var kindNames = [...]string{"rollout", "catch-up", "revert"}

// String is "rollout", "catch-up" or "revert".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Event is something that happened. The set is closed: the types below.
//
// An event that answers an action carries the action's Op. An answer to an
// operation that was given up meanwhile is ignored.
type Event interface {
	fmt.Stringer
	event()
}

// Restarted must be the first event: what the driver found. Nothing is begun
// before it.
type Restarted struct {
	Linked bool // whether the current link exists
	Link   Slot // and what it points to
	Marked bool // whether the driver has marked a committed slot
	Mark   Slot // and which
	// Running says that the payload runs, from slot Slot, and was adopted.
	Running bool
	Slot    Slot
	// Lost says that there was a record and no copy of it could be read. Then the
	// marked slot counts as committed, or else the linked one.
	Lost bool
}

// Wanted says what the newest order wants of this robot. The driver sends it
// again whenever the order changes, and after each restart: the machine does not
// remember it, so no order outlives a newer one.
type Wanted struct {
	Release manifest.Ref
	// Variant is the release's form for this robot; nil: there is none.
	Variant *manifest.Variant
	MayArm  bool // its batch is open, or it may catch up
	Kind    Kind
	Rollout uint64 // which rollout wants it; rises
	// MinHealthy of trial without a failed probe commits; HealthyDeadline after
	// its activation a trial that has not committed goes back. Both are rounded
	// up to seconds; zero means DefaultMinHealthy and DefaultHealthyDeadline.
	MinHealthy, HealthyDeadline time.Duration
}

// Unwanted says that nothing is asked of this robot: what was being prepared is
// given up, and a trial goes back.
type Unwanted struct{ Reason string }

// Back says: go back now, to the committed slot, or from it to the one before.
type Back struct {
	Reason string
	// ByHand is a person at the robot: a closed gate is no reason to wait, the
	// release counts as failed here, and its rollout does not bring it again.
	ByHand bool
}

// FetchDone says that every chunk is in the slot and was verified.
type FetchDone struct{ Op uint32 }

// FetchFailed says that no peer had the rest, or there was no space for it.
type FetchFailed struct {
	Op    uint32
	Err   string
	Space bool
}

// Progress says how much of the fetch is done.
type Progress struct {
	Op       uint32
	Permille uint16
}

// StageDone says that the slot is ready to run: read back whole, on disk.
type StageDone struct{ Op uint32 }

// StageFailed says why the slot is not ready.
type StageFailed struct {
	Op      uint32
	Err     string
	Damaged bool // what was read back is not what was written: fetch again
	Later   bool // nobody's fault: try again
}

// Granted says that the arm handshake succeeded and the interlock is open.
type Granted struct{ Op uint32 }

// Refused says that this robot may not switch now.
type Refused struct {
	Op     uint32
	Reason string
}

// GateClosed says that the robot's interlock is closed: nothing arms.
type GateClosed struct {
	// Hold says that the application itself holds the robot: it may be in the
	// air. Then going back waits too, as long as the payload runs; the hold ends
	// when the application stops renewing it. Without Hold a permit is missing,
	// and the permit that let a trial begin covers its way back: an application
	// too broken to grant one must not keep its own release.
	Hold   bool
	Reason string
}

// GateOpen says that the interlock is open.
type GateOpen struct{}

// Activated says that a Switch or Start is done: the payload was started.
type Activated struct{ Op uint32 }

// ActivateFailed says that a Switch or Start did not end with a running payload.
type ActivateFailed struct {
	Op  uint32
	Err string
	// Later says that nothing was stopped or moved: a hook asked to come back.
	Later bool
}

// Stopped says that a Stop is done.
type Stopped struct{ Op uint32 }

// Probe is the verdict of the probes, at each round.
type Probe struct {
	OK     bool
	Reason string // of the failed one
}

// PayloadExited says that the payload ended though nobody stopped it.
type PayloadExited struct {
	Slot   Slot
	Reason string // "exit status 3", "signal: killed"
}

// CommitDone says that the driver has marked the committed slot.
type CommitDone struct{ Op uint32 }

// CommitFailed says that it could not; it is asked again.
type CommitFailed struct {
	Op  uint32
	Err string
}

// Saved says that the record that was to be saved last is on disk.
type Saved struct{}

// SaveFailed says that the record could not be written. The driver has not
// executed the actions that came after the Save.
type SaveFailed struct{ Err string }

// Tick says that Deadline has passed.
type Tick struct{}

func (Restarted) event()      {}
func (Wanted) event()         {}
func (Unwanted) event()       {}
func (Back) event()           {}
func (FetchDone) event()      {}
func (FetchFailed) event()    {}
func (Progress) event()       {}
func (StageDone) event()      {}
func (StageFailed) event()    {}
func (Granted) event()        {}
func (Refused) event()        {}
func (GateClosed) event()     {}
func (GateOpen) event()       {}
func (Activated) event()      {}
func (ActivateFailed) event() {}
func (Stopped) event()        {}
func (Probe) event()          {}
func (PayloadExited) event()  {}
func (CommitDone) event()     {}
func (CommitFailed) event()   {}
func (Saved) event()          {}
func (SaveFailed) event()     {}
func (Tick) event()           {}
