package update

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

// A Phase says how far this robot has got with one component; package member
// owns the words, for they travel in reports.
type Phase = member.Phase

// A Slot is one of the two places where an image of a component can lie.
type Slot uint8

// The slots.
const (
	A Slot = 0
	B Slot = 1
)

// Other is the slot that s is not.
func (s Slot) Other() Slot { return s ^ 1 }

// String is "a" or "b", as the slot's folder is called.
func (s Slot) String() string {
	switch s {
	case A:
		return "a"
	case B:
		return "b"
	}
	return fmt.Sprintf("slot %d", uint8(s))
}

// ParseSlot is the inverse of String.
func ParseSlot(text string) (Slot, error) {
	switch text {
	case "a":
		return A, nil
	case "b":
		return B, nil
	}
	return A, fmt.Errorf("slot %q: want a or b", text)
}

// A SlotState says what may be done with a slot's contents.
type SlotState uint8

// The states of a slot.
const (
	Empty SlotState = 0
	// Dirty: something was written, or is being written. It must not run.
	Dirty SlotState = 1
	// Whole: every byte was read back from the slot and was what the manifest says.
	Whole SlotState = 2
)

var slotStateNames = [...]string{"empty", "dirty", "whole"}

// String is "empty", "dirty" or "whole".
func (s SlotState) String() string {
	if int(s) < len(slotStateNames) {
		return slotStateNames[s]
	}
	return fmt.Sprintf("slot state %d", uint8(s))
}

// A SlotRecord says what lies in a slot.
type SlotRecord struct {
	_ struct{} `cbor:",toarray"`
	// Release is what the slot holds or is being given. It is zero for an empty
	// slot, and for what was found running with no record of where it came from.
	Release  manifest.Ref
	Variant  string // name of the release's variant
	Manifest manifest.Digest
	State    SlotState
	// Good is true once the release was committed from this slot: only then may
	// the robot fall back to it on its own.
	Good   bool
	Run    []string // the variant's command, relative to the slot; may be empty
	Driver string   // the variant's driver
}

// holds reports whether the slot has, or is being given, the image with digest d.
func (s *SlotRecord) holds(d manifest.Digest) bool { return !d.IsZero() && s.Manifest == d }
