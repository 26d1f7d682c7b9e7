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

var (
	update = flag.Bool("update", false, "write the golden transcript anew")
	strict = flag.Bool("strict", false, "compare the golden transcript event for event")
)

// goldenDemo is what happens in the library's demo, and what came of it.
const goldenDemo = "../../netsim/testdata/demo.golden"

// howLong is all in a report that is not the scenario's and the seed's.
var howLong = regexp.MustCompile(` in [0-9.]+ s of real time \([0-9]+ x\)|\n  [0-9.]+ s of a core [^\n]*`)

// stages finds what becomes of a rollout, in a transcript.
var stages = regexp.MustCompile(`rollout \d+ of \S+: \w+ in (wave \d+|\w+)`)

// TestDemoIsAsEver plays the demo's story in the exact build. Its rollouts go through
// the stages of the golden transcript, and with -strict it goes event for event as it
// went when that was written. A change of what nodes do or send changes it: read the
// difference, then renew it. Libraries choose their code by what a processor can do; on
// one that can more or less than the golden file's, it is not compared strictly.
func TestDemoIsAsEver(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this program with a pinned runtime")
	}
	want, err := os.ReadFile(goldenDemo)
	require.NoError(t, err)
	of := fmt.Sprintf("# %s %s/%s%s", runtime.Version(), runtime.GOOS, runtime.GOARCH, features())
	written, _, _ := strings.Cut(string(want), "\n")
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
	require.Equal(t, course(want), course(got))
	switch {
	case !*strict:
		return
	case written != of:
		t.Logf("%s was written with %s; this is %s", goldenDemo, strings.TrimPrefix(written, "# "), strings.TrimPrefix(of, "# "))
		return
	}
	require.Equal(t, string(want), string(got), "the demo goes otherwise than before; if it should: go test ./cmd/netsim -run DemoIsAsEver -update")
}

// features are those of the processor that libraries ask for, a word each.
func features() (list string) {
	x := cpu.X86
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"aes", x.HasAES}, {"sse4.1", x.HasSSE41}, {"sse4.2", x.HasSSE42}, {"avx", x.HasAVX}, {"avx2", x.HasAVX2}, {"avx512", x.HasAVX512F},
		{"bmi1", x.HasBMI1}, {"bmi2", x.HasBMI2}, {"adx", x.HasADX}, {"erms", x.HasERMS}, {"fma", x.HasFMA}, {"popcnt", x.HasPOPCNT},
	} {
		if f.has {
			list += " " + f.name
		}
	}
	return list
}

// course is through which stages the rollouts went. Going back is left out: it may be
// over before anybody looks.
func course(transcript []byte) []string {
	all := slices.DeleteFunc(stages.FindAllString(string(transcript), -1), func(s string) bool { return strings.Contains(s, ": reverting in ") })
	return slices.Compact(all)
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
