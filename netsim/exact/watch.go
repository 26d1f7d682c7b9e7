package exact

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// heartbeat is the longest step of virtual time.
const heartbeat = time.Second

// heart tells a watchdog in real time that virtual time moves.
type heart struct{ now atomic.Int64 } // virtual nanoseconds since 1970

// beat runs inside the bubble. Its timer also keeps the bubble from being
// reported as deadlocked, so Limit ends a run in which nothing else will happen.
func (h *heart) beat(b Bubble) {
	start := time.Now()
	for {
		now := time.Now()
		h.now.Store(now.UnixNano())
		if now.Sub(start) > b.Limit {
			dump(fmt.Sprintf("virtual time passed the limit of %v", b.Limit))
			os.Exit(ExitOverran)
		}
		time.Sleep(heartbeat)
	}
}

// watch runs outside the bubble, on real time. It allocates nothing while all is
// well: its objects would lie between those of the simulation.
func (h *heart) watch(b Bubble) {
	room() // before the simulation starts to allocate
	last, since := h.now.Load(), time.Now()
	tick := time.NewTicker(max(b.Stall/8, time.Millisecond))
	for range tick.C {
		if now := h.now.Load(); now != last {
			last, since = now, time.Now()
			continue
		}
		if stood := time.Since(since); stood > b.Stall {
			dump(fmt.Sprintf("virtual time has stood at %s for %v of real time: a goroutine spins, "+
				"waits for a mutex, or for something outside the bubble",
				time.Unix(0, last).UTC().Format(time.RFC3339Nano), stood.Round(time.Millisecond)))
			os.Exit(ExitStalled)
		}
	}
}

// room makes the stack of its caller large enough for all it will do: growing
// later, at a real time, would move the simulation's pages.
//
//go:noinline
func room() byte {
	var frame [8 << 10]byte
	return frame[len(os.Args)]
}

// dump writes why and the stacks of all goroutines to standard error.
func dump(why string) {
	buf := make([]byte, 64<<20) // 300 nodes have some 20,000 goroutines, 1-2 KiB each
	fmt.Fprintf(os.Stderr, "exact: %s\n\n%s\n", why, buf[:runtime.Stack(buf, true)])
}
