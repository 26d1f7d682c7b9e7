package update

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// An Action is something the driver must do. The set is closed: the types below.
// Actions are executed in order, and a Save is on disk before the next one begins;
// a step has at most one, and it comes first.
type Action interface {
	fmt.Stringer
	action()
}

// Save writes the record. Answer: Saved or SaveFailed.
type Save struct{ Record Record }

// Fetch brings the image of Variant into Slot, of which it keeps what is good. It
// ends a Fetch that came before.
// Answers: Progress, then FetchDone or FetchFailed.
type Fetch struct {
	Op      uint32
	Slot    Slot
	Release manifest.Ref
	Variant manifest.Variant
}

// CancelFetch ends the Fetch with this Op; what it has brought stays.
type CancelFetch struct{ Op uint32 }

// Stage reads Slot back against Manifest and makes it ready to run. Answer:
// StageDone or StageFailed.
type Stage struct {
	Op      uint32
	Slot    Slot
	Content SlotRecord
}

// Arm asks for the word to switch. Answer: Granted or Refused.
type Arm struct {
	Op      uint32
	Slot    Slot
	Release manifest.Ref
	Kind    Kind
	Rollout uint64
}

// Switch stops the payload, flips the link to To and starts what is there.
// Answer: Activated or ActivateFailed.
type Switch struct {
	Op      uint32
	To      Slot
	Content SlotRecord // what is in To
	Back    bool       // the way back: the hooks of a revert are run
}

// Start starts the payload in Slot, which the link need not point to. Answer:
// Activated or ActivateFailed.
type Start struct {
	Op      uint32
	Slot    Slot
	Content SlotRecord
}

// Stop stops the payload: nothing may run. Answer: Stopped.
type Stop struct{ Op uint32 }

// Commit marks Slot as committed outside the record, as the driver does it. It may
// come again for one slot. Answer: CommitDone or CommitFailed.
type Commit struct {
	Op      uint32
	Slot    Slot
	Content SlotRecord
}

// Report says that Status is worth telling the swarm.
type Report struct{ Status Status }

func (Save) action()        {}
func (Fetch) action()       {}
func (CancelFetch) action() {}
func (Stage) action()       {}
func (Arm) action()         {}
func (Switch) action()      {}
func (Start) action()       {}
func (Stop) action()        {}
func (Commit) action()      {}
func (Report) action()      {}
