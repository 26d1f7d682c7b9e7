package netsim

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// shownBehind is how many robots left behind are named one by one.
const shownBehind = 10

// Text prints reports for people: one run whole, of many those that went wrong, and
// what the whole series says.
func Text(out io.Writer, reports []*Report) error {
	var b strings.Builder
	for _, r := range reports {
		if len(reports) == 1 {
			r.text(&b)
		} else if !r.OK() {
			fmt.Fprintf(&b, "seed %d: %s\n%s", r.Seed, r.Why(), r.again("  "))
		}
	}
	if len(reports) > 1 {
		NewSeries(reports).text(&b)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// again is the line that says how to replay the run.
func (r *Report) again(indent string) string {
	if r.Replay == "" {
		return ""
	}
	return indent + "replay: " + r.Replay + "\n"
}

func (r *Report) text(b *strings.Builder) {
	exact := "exact"
	if !r.Exact {
		exact = "not exact: another run may differ"
	}
	fmt.Fprintf(b, "%s, seed %d: %d nodes, %s in %.1f s of real time (%.0f x), digest %.16s (%s)\n",
		r.Scenario, r.Seed, r.Nodes, clock(r.Virtual), r.Wall, r.Virtual/max(r.Wall, 0.001), r.Digest, exact)
	if r.CPU > 0 {
		fmt.Fprintf(b, "  %.1f s of a core (%.1f x), at most %d MiB\n", r.CPU, r.Virtual/r.CPU, r.Memory>>20)
	}
	if r.Died != "" {
		fmt.Fprintf(b, "DIED %s\n%s", r.Died, r.again(""))
		return
	}
	r.textRollouts(b)
	r.textTraffic(b)
	r.textVerdicts(b)
	r.textBehind(b)
	for _, v := range r.Violations {
		fmt.Fprintf(b, "BROKEN %s at %s: %s\n", v.Invariant, clock(v.At), v.Detail)
		for _, n := range v.Trace {
			fmt.Fprintf(b, "    %9.3f s %-12s %-10s %s\n", n.At, n.Machine, n.Kind, n.Text)
		}
	}
	for _, u := range r.Unmet {
		fmt.Fprintf(b, "NOT MET %s\n", u)
	}
	for _, n := range slices.Concat(r.Untold, r.Idle) {
		fmt.Fprintf(b, "did not happen: %s\n", n)
	}
	for _, h := range r.Hints {
		fmt.Fprintf(b, "hint: %s\n", h)
	}
	switch {
	case !r.OK():
		b.WriteString(r.again(""))
	case len(r.Untold)+len(r.Idle) > 0:
		b.WriteString("every promise held, and everything expected came; but not all that should have happened did\n")
	default:
		b.WriteString("every promise held, and everything expected came\n")
	}
}

// textRollouts is a line for each rollout, and a table of who had what when.
func (r *Report) textRollouts(b *strings.Builder) {
	for _, x := range r.Rollouts {
		fmt.Fprintf(b, "  rollout %d of %s: %s in %s, ran on %d of %d robots%s\n", x.ID, x.Release, x.Status, x.Stage, len(x.Touched), r.Robots, because(x.Reason))
	}
	b.WriteString("\n  release          robots   shipped   fetched       p50       p90      last   operator sent\n")
	for _, c := range r.Completion {
		fmt.Fprintf(b, "  %-14s %8s %9s %9s %9s %9s %9s %9.2f x\n", c.Release, fmt.Sprintf("%d/%d", c.Robots, c.For),
			clockOf(c.Shipped, nil), clockOf(c.Fetched, c.Shipped), clockOf(c.P50, c.Shipped), clockOf(c.P90, c.Shipped), clockOf(c.Last, c.Shipped), r.SeedSent[c.Release])
	}
	b.WriteString("  (fetched: when the last robot had the image; p50, p90, last: when it ran on so many; after shipped, or after the start)\n\n")
}

func (r *Report) textTraffic(b *strings.Builder) {
	fmt.Fprintf(b, "  at most %d of %d robots out of service at once\n  sent:", r.OutOfService, r.Robots)
	for _, c := range slices.Sorted(maps.Keys(r.Bytes)) {
		fmt.Fprintf(b, " %s %.1f MiB", c, float64(r.Bytes[c])/(1<<20))
	}
	b.WriteString("\n")
	cells := slices.Clone(r.Cells)
	slices.SortStableFunc(cells, func(x, y Cell) int { return int(1e6*y.Peak) - int(1e6*x.Peak) })
	for _, c := range cells[:min(3, len(cells))] {
		fmt.Fprintf(b, "  air: cell %s %d,%d busy %.0f %% of the run, %.0f %% at its fullest\n", c.Radio, c.X, c.Y, 100*c.Busy, 100*c.Peak)
	}
	b.WriteString("\n")
}

// textVerdicts shows what held in a compact table, two in a line.
func (r *Report) textVerdicts(b *strings.Builder) {
	var cells []string
	for _, v := range r.Verdicts {
		word := map[string]string{Held: "ok", Broken: "BROKEN", Unchecked: "-"}[v.Verdict]
		if v.Verdict == Broken {
			word = fmt.Sprintf("BROKEN %d x", v.Times)
		}
		cells = append(cells, fmt.Sprintf("  %-22s %-14s", v.Invariant, word))
	}
	half := (len(cells) + 1) / 2
	for i := range half {
		line := cells[i]
		if i+half < len(cells) {
			line += cells[i+half]
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString("\n")
}

func (r *Report) textBehind(b *strings.Builder) {
	for i, l := range r.Behind {
		if i == shownBehind {
			fmt.Fprintf(b, "  and %d more robots left behind\n", len(r.Behind)-i)
			break
		}
		says := ""
		if l.Says != "" {
			says = "; it says: " + l.Says
		}
		does := fmt.Sprintf("runs %s, not %s", orNothing(l.Runs), l.Release)
		if l.Runs == l.Release {
			does = "has not committed " + l.Release
		}
		fmt.Fprintf(b, "  left behind: %s %s: %s%s\n", l.Robot, does, l.Why, says)
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// clock prints seconds as people say them: 41.2 s, 12m05s, 3h20m.
func clock(seconds float64) string {
	if seconds < 100 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	d := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// clockOf prints a time that may not have come, counted from another.
func clockOf(at, from *float64) string {
	switch {
	case at == nil:
		return "-"
	case from == nil:
		return clock(*at)
	}
	return clock(*at - *from)
}
