package exact

import (
	"errors"
	"time"
	_ "unsafe" // for go:linkname
)

// These live in the patched runtime, as those in pinned.go do.
var (
	//go:linkname rtClocksOn runtime.exactClocksOn
	rtClocksOn uint32
	//go:linkname rtTag runtime.exactTag
	rtTag func(machine uint32) (was uint32)
	//go:linkname rtSetClock runtime.exactSetClock
	rtSetClock func(machine uint32, jump, ppm int64)
)

// A Machine is one of the computers that a program simulates. Its goroutines are those
// started by As, and all that they and their timers start; they read its clock. Zero
// is the simulation itself, whose clock is right.
type Machine uint32

// MaxMachines is one more than the highest Machine.
const MaxMachines = 4096

// ErrPlain is returned by what only a program made by Build can do.
var ErrPlain = errors.New("exact: the program is not built with the pins")

// HasClocks reports whether machines can have clocks of their own here.
func HasClocks() bool { return rtTag != nil }

// UseClocks gives machines clocks of their own, until the program ends. Call it at a
// bubble's start: times read before have no monotonic part. From then on time.Now has
// one, as on a real computer, and a clock that goes wrong moves only the wall part: time.Since,
// deadlines and timers go on as if nothing were. What a machine reads where its
// goroutines are not its own (a package that shares workers among machines) is the
// clock of whoever started them.
func UseClocks() error {
	if !HasClocks() {
		return ErrPlain
	}
	rtClocksOn = 1
	return nil
}

// SetClock moves a machine's clock by jump, and lets it run ppm millionths faster from
// now on (slower, if negative). Timers keep the bubble's pace. The caller is in a
// bubble, and UseClocks was called.
func SetClock(m Machine, jump time.Duration, ppm int) {
	if m == 0 || m >= MaxMachines {
		panic("exact: no such machine")
	}
	rtSetClock(uint32(m), int64(jump), int64(ppm))
}

// As runs f as a part of a machine.
func As(m Machine, f func()) {
	if rtTag == nil {
		f()
		return
	}
	was := rtTag(uint32(m))
	defer rtTag(was)
	f()
}

// Now is the right time, whoever asks.
func Now() (t time.Time) {
	As(0, func() { t = time.Now() })
	return t
}
