package exact

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	_ "unsafe" // for go:linkname
)

// These variables live in the patched runtime, which gives them their values.
// In a program built without it they are plain variables, and zero.
var (
	//go:linkname rtPins runtime.exactPins
	rtPins uint32
	//go:linkname rtSeed runtime.exactSeed
	rtSeed uint64
	//go:linkname rtStall runtime.exactStall
	rtStall int64
	//go:linkname rtLost runtime.exactLost
	rtLost uint32
	//go:linkname rtDraws runtime.exactDraws
	rtDraws uint64
	//go:linkname rtSettle runtime.exactSettle
	rtSettle func()
)

// allPins is rtPins when nothing is switched off.
const allPins = 0x1ff

// SeedVariable is the environment variable by which Env hands the seed over.
const SeedVariable = "STARLING_SIM_SEED"

// environment is what the runtime must be told before it starts.
var environment = []string{
	"GOMAXPROCS=1", // one processor: no race between two
	"GOGC=off",     // collections only in Quiet: at other moments they break the replay
	"GOMEMLIMIT=off",
	// Mark and sweep with the world stopped. Stacks that shrink in a collection
	// grow again when their goroutine runs: one outside the bubble would move
	// the simulation's pages at real times. (100 nodes need no more memory so.)
	"GODEBUG=gcstoptheworld=2,gcshrinkstackoff=1",
	"TZ=UTC",
	"LANG=C",
}

// Env is the whole environment of a child that must replay. It inherits nothing:
// the number and length of variables decide where the heap's first objects lie,
// and with it the order of maps whose keys are pointers. A caller that adds
// variables must add the same for each run.
func Env(seed uint64) []string {
	return append([]string{SeedVariable + "=" + strconv.FormatUint(seed, 10)}, environment...)
}

// Seed is the seed that Env handed to this process.
func Seed() (uint64, error) {
	s, err := strconv.ParseUint(os.Getenv(SeedVariable), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", SeedVariable, err)
	}
	return s, nil
}

// Pinned reports whether this process replays exactly. It tries the patched
// runtime, and looks at the environment.
func Pinned() bool { return len(Loose()) == 0 }

// Loose says what is not pinned in this process, a sentence each, for reports.
// It is empty in a child made by Build and started with Env.
func Loose() []string {
	var loose []string
	if rtPins != allPins {
		loose = append(loose, "the Go runtime is the installed one: scheduling and map order are left to chance")
	} else if n := rtDraws; rand.Uint64() == 0 || rtDraws != n+1 {
		loose = append(loose, "the Go runtime is patched, but math/rand does not draw from its seeded generator")
	}
	if rtLost != 0 {
		loose = append(loose, "virtual time stood still for so long that a goroutine was preempted")
	}
	if !testing.Testing() {
		loose = append(loose, "not linked as a test binary: crypto/rand draws from the kernel")
	}
	for _, want := range environment {
		name, value, _ := strings.Cut(want, "=")
		if strings.HasPrefix(name, "GO") && os.Getenv(name) != value {
			loose = append(loose, fmt.Sprintf("%s is %q and not %q", name, os.Getenv(name), value))
		}
	}
	if n := runtime.GOMAXPROCS(0); n != 1 {
		loose = append(loose, fmt.Sprintf("%d processors run goroutines, not one", n))
	}
	return loose
}
