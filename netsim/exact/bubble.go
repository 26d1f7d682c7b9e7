package exact

import (
	"context"
	"flag"
	"os"
	"runtime"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

// Exit codes of a program that InBubble ends by itself. A scenario's own codes
// should be others.
const (
	// ExitStalled: virtual time stood still while real time passed.
	ExitStalled = 86
	// ExitOverran: virtual time passed Bubble.Limit.
	ExitOverran = 87
)

// Bubble says how to enter one. The zero value is usable.
type Bubble struct {
	// Seed starts every generator that the program can draw from: math/rand,
	// crypto/rand, map iteration, select and the order of simultaneous timers.
	Seed uint64

	// Stall is how long, in real time, virtual time may stand still before the
	// program dumps all goroutines and exits with ExitStalled. Zero is
	// DefaultStall. Work is done while virtual time stands still, so it must be
	// longer than the longest computation at one instant.
	Stall time.Duration

	// Start is the virtual date at which body begins; zero is Epoch. Certificates and
	// plans want a date after their own software was written.
	Start time.Time

	// Limit ends the run with ExitOverran after so much virtual time. Zero is
	// DefaultLimit. It is for a body that waits for ever: in a bubble that takes
	// no real time at all.
	Limit time.Duration
}

const (
	// DefaultStall is far above what one instant takes with a thousand whole nodes, also
	// on a machine that has much else to do: it is real time that counts, not work.
	DefaultStall = 2 * time.Minute
	// DefaultLimit is the longest plan anybody rehearses, and a few seconds of
	// heartbeats.
	DefaultLimit = 30 * 24 * time.Hour
)

// InBubble runs body in a synctest bubble, where time is virtual, and ends the
// process with the code that body returns. It never returns: leaving through
// os.Exit spares the wait for every last goroutine, and one run a process is
// what makes runs alike. Call it once, from main's goroutine, with the output
// flushed by body.
//
// A bubble needs a test. testing.Main gives a program one; it must find no
// arguments that it could take for its own, so they are hidden from it and given
// back to body.
func InBubble(b Bubble, body func(ctx context.Context) int) {
	if b.Stall == 0 {
		b.Stall = DefaultStall
	}
	if b.Limit == 0 {
		b.Limit = DefaultLimit
	}
	rtSeed, rtStall = mix(b.Seed), int64(b.Stall)
	args := os.Args
	if !flag.Parsed() {
		os.Args = args[:1:1]
	}
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "bubble", F: func(t *testing.T) {
		os.Args = args
		if testing.Testing() {
			cryptotest.SetGlobalRandom(t, b.Seed)
		}
		// The collector starts its workers, and their threads, at its first run.
		runtime.GC()
		var heart heart
		go heart.watch(b)
		runtime.Gosched() // it settles before the simulation starts
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(b.Start))
			go heart.beat(b)
			os.Exit(body(t.Context()))
		})
	}}}, nil, nil)
}

// mix spreads a seed over all bits, so that neighbouring seeds start far apart
// (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Quiet waits until every other goroutine of the bubble is blocked, and collects
// garbage. Collections are off otherwise, because they move the schedule, so the
// scenario's driver calls Quiet every few virtual seconds. Only one goroutine
// may be in it at a time.
//
// A collection wakes goroutines that are not in the bubble, to run finalizers
// and cleanups. The simulation goes on when they are done.
func Quiet() {
	synctest.Wait()
	runtime.GC()
	if rtSettle != nil {
		rtSettle()
	}
}
