package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/cpu"

	"github.com/starling-swarm/starling/netsim"
)

var update = flag.Bool("update", false, "write the golden transcript anew")

// goldenDemo is what happens in the library's demo, and what came of it.
const goldenDemo = "../../netsim/testdata/demo.golden"

// howLong is the only thing in a report that is not the scenario's and the seed's.
var howLong = regexp.MustCompile(` in [0-9.]+ s of real time \([0-9]+ x\)`)

// TestDemoIsAsEver plays the demo's story in the exact build. It goes event for event
// as it went when the golden transcript was written, on whatever machine that was.
// A change of what nodes do or send changes it: read the difference, then renew it.
func TestDemoIsAsEver(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this program with a pinned runtime")
	}
	want, err := os.ReadFile(goldenDemo)
	require.NoError(t, err)
	of := fmt.Sprintf("# %s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if first, _, _ := strings.Cut(string(want), "\n"); first != of && !*update {
		t.Skipf("%s was written with %s; another runtime schedules otherwise", goldenDemo, strings.TrimPrefix(first, "# "))
	}
	if !cpu.X86.HasAES || !cpu.X86.HasSSE41 {
		t.Skip("without AES instructions the runtime hashes otherwise, and the order of maps is another")
	}
	demo, err := open("demo")
	require.NoError(t, err)
	e, err := exactEngine()
	require.NoError(t, err)
	var notes []netsim.Note
	r, err := e.run(t.Context(), demo, runOptions{seed: demo.Seed, said: func(n netsim.Note) { notes = append(notes, n) }})
	require.NoError(t, err)
	require.True(t, r.Exact, "%v", r.Loose)

	got := []byte(of + "\n" + transcript(t, notes, r))
	if *update {
		require.NoError(t, os.WriteFile(goldenDemo, got, 0o644))
		return
	}
	require.Equal(t, string(want), string(got), "the demo goes otherwise than before; if it should: go test ./cmd/netsim -run DemoIsAsEver -update")
}

// transcript is the story, in the order of time, and the report on it. What a robot's
// phases are is left out: what its payload did is there.
func transcript(t *testing.T, notes []netsim.Note, r *netsim.Report) string {
	var b bytes.Buffer
	slices.SortStableFunc(notes, func(x, y netsim.Note) int { return int(x.At - y.At) })
	for _, n := range notes {
		if n.Kind != "phase" {
			fmt.Fprintf(&b, "%9.3fs %-12s %-13s %s\n", n.At.Seconds(), n.Machine, n.Kind, n.Text)
		}
	}
	b.WriteString("\n")
	require.NoError(t, netsim.Text(&b, []*netsim.Report{r}))
	return howLong.ReplaceAllString(b.String(), "")
}
