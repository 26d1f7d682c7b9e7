// Load is a small swarm that leans on everything that Go leaves to chance. The
// tests of package exact build it and compare its runs.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/starling-swarm/starling/netsim/exact"
)

//go:linkname rtPins runtime.exactPins
var rtPins uint32

// loads are the parts, run one after the other in one bubble.
var loads = []struct {
	name string
	run  func(*exact.Writer)
}{
	{"swarm", swarm}, {"select", selects}, {"maps", maps}, {"timers", timers}, {"mutex", mutexes},
	{"spin", spins}, {"crowd", crowd}, {"files", files}, {"random", randoms}, {"memory", memory},
	{"pages", pages}, {"types", types}, {"stuck", stuck}, {"forever", forever}, {"garbage", garbage},
}

func main() {
	os.Exit(run())
}

func run() int {
	parts := flag.String("parts", "swarm,select,maps,timers,mutex,spin,crowd,files,random,memory,pages,types", "what to run, in order")
	off := flag.Uint("off", 0, "pins to switch off, as bits")
	noise := flag.Duration("noise", 0, "wake three goroutines outside the bubble this often, in real time")
	record := flag.String("record", "", "file for the trace")
	stall := flag.Duration("stall", 0, "as Bubble.Stall")
	limit := flag.Duration("limit", 0, "as Bubble.Limit")
	quiet := flag.Bool("quiet", true, "collect garbage at quiet moments")
	flag.Parse()
	collect = *quiet
	seed, err := exact.Seed()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Println("pinned:", exact.Pinned())
	for _, why := range exact.Loose() {
		fmt.Println("loose:", why)
	}
	rtPins &^= uint32(*off)
	if *noise > 0 {
		for i := range 3 {
			go disturb(time.Duration(i+1) * *noise)
		}
	}
	exact.InBubble(exact.Bubble{Seed: seed, Stall: *stall, Limit: *limit}, func(context.Context) int {
		return body(strings.Split(*parts, ","), *record, *quiet)
	})
	return 0
}

// body runs the parts. It keeps the record in memory: files are one of the parts.
func body(parts []string, record string, quiet bool) int {
	var kept bytes.Buffer
	var out io.Writer
	if record != "" {
		out = &kept
	}
	t := exact.NewWriter(out)
	for _, l := range loads {
		if slices.Contains(parts, l.name) {
			l.run(t)
			t.Event("%s ends", l.name)
			fmt.Println("after", l.name, t.Digest())
		}
		if quiet {
			exact.Quiet()
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if err := t.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if record != "" {
		if err := os.WriteFile(record, kept.Bytes(), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	fmt.Printf("events: %d\ndigest: %s\n", t.Events(), t.Digest())
	fmt.Fprintf(os.Stderr, "sys %d MiB, work %x\n", m.Sys>>20, spent)
	return 0
}

// disturb is what a library's background goroutine does: it wakes in real time.
func disturb(every time.Duration) {
	for range time.Tick(every) {
		burn(10)
	}
}
