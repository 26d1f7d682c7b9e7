package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// demoSummary is what the demo found, from the robots' own records.
type demoSummary struct {
	Schema string `json:"schema"`
	Robots int    `json:"robots"`
	// Running is what each robot runs, by its name: "1.1 9f86d081884c".
	Running       map[string]string  `json:"running"`
	Voters        []string           `json:"voters"`
	Leaders       []string           `json:"leaders"`   // in the order in which they led
	Killed        []string           `json:"killed"`    // and started again, but for the operator
	SeedSent      map[string]float64 `json:"seed_sent"` // how often the operator's node sent each image of 1.1
	TouchedByBad  []string           `json:"touched_by_bad"`
	Explain       string             `json:"explain"`
	JoinSeconds   float64            `json:"join_seconds"`
	ShipSeconds   float64            `json:"ship_seconds"`
	RevertSeconds float64            `json:"revert_seconds"`
	TotalSeconds  float64            `json:"total_seconds"`
	Phases        []demoPhase        `json:"phases"` // of all robots with 1.1, oldest first
	Facts         []demoFact         `json:"facts"`
}

// demoPhase is a robot that came to a phase of 1.1, by its own record.
type demoPhase struct {
	Seconds float64 `json:"seconds"` // since the demo began
	Robot   string  `json:"robot"`
	Phase   string  `json:"phase"`
}

// demoFact is one claim and whether it held.
type demoFact struct {
	Fact string `json:"fact"`
	Held bool   `json:"held"`
	Seen string `json:"seen"`
}

// noteSeeds keeps how often the seed sent each image of 1.1.
func (d *demo) noteSeeds(s *node.Status) {
	d.summary.SeedSent = map[string]float64{}
	for _, seed := range s.Seeds {
		if seed.Release.Version == "1.1" {
			d.summary.SeedSent[seed.Variant] = seed.SentRatio
		}
	}
}

// records is what one robot wrote into its own history.
type records struct {
	status *node.Status
	events []node.Event
}

// sumUp asks every robot for its own records and checks the story against them.
func (d *demo) sumUp(ctx context.Context) error {
	all := map[string]records{}
	for _, name := range d.order {
		rec, err := d.ask(ctx, d.robots[name])
		if err != nil {
			return fmt.Errorf("ask %s for its records: %w", name, err)
		}
		all[name] = rec
	}
	d.summary.TotalSeconds = time.Since(d.began).Seconds()
	d.gather(all)
	d.check(all)
	d.printSummary()
	return nil
}

func (d *demo) ask(ctx context.Context, r *demoRobot) (records, error) {
	c := api.Dial(r.socket)
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return records{}, err
	}
	rec := records{status: s}
	for h, err := range c.Events(ctx, 0) {
		if err != nil {
			return rec, err
		}
		if h.Event == nil {
			continue
		}
		rec.events = append(rec.events, *h.Event)
		if h.Event.Number >= s.LastEvent {
			break
		}
	}
	return rec, nil
}

// gather fills the summary.
func (d *demo) gather(all map[string]records) {
	d.summary.Running = map[string]string{}
	type reign struct {
		name string
		at   int64
	}
	var reigns []reign
	for name, rec := range all {
		if here := rec.status.Here; len(here) > 0 && here[0].Running != nil {
			d.summary.Running[name] = here[0].Running.Version + " " + here[0].Running.Digest.Short()
		}
		for _, e := range rec.events {
			if e.Kind == "phase" && e.Release == "1.1" {
				d.summary.Phases = append(d.summary.Phases, demoPhase{e.Time.Sub(d.began).Seconds(), name, e.Phase})
			}
			if e.Kind == "leader" {
				reigns = append(reigns, reign{name, e.Time.UnixNano()})
			}
			if e.Kind == "phase" && e.Release == "1.2" && ran(e.Phase) && !slices.Contains(d.summary.TouchedByBad, name) {
				d.summary.TouchedByBad = append(d.summary.TouchedByBad, name)
			}
		}
	}
	slices.SortFunc(d.summary.Phases, func(a, b demoPhase) int {
		return cmp.Or(cmp.Compare(a.Seconds, b.Seconds), cmp.Compare(a.Robot, b.Robot))
	})
	slices.SortFunc(reigns, func(a, b reign) int { return int(a.at - b.at) })
	for _, r := range reigns {
		d.summary.Leaders = append(d.summary.Leaders, r.name)
	}
	d.summary.Leaders = slices.Compact(d.summary.Leaders)
	slices.Sort(d.summary.TouchedByBad)
}

// ran reports whether a robot in this phase has given control to the release.
func ran(phase string) bool {
	return slices.Contains([]string{"trial", "committed", "reverting", "reverted"}, phase)
}

// check holds the story against the records.
func (d *demo) check(all map[string]records) {
	fact := func(held bool, what, seen string, args ...any) {
		d.summary.Facts = append(d.summary.Facts, demoFact{what, held, fmt.Sprintf(seen, args...)})
	}
	s := d.newest()
	digests, took := map[string]int{}, 0
	for _, name := range d.order {
		digests[d.summary.Running[name]]++
		if slices.ContainsFunc(all[name].events, func(e node.Event) bool {
			return e.Kind == "phase" && e.Release == "1.1" && e.Phase == "committed"
		}) {
			took++
		}
	}
	on11 := 0
	for what, n := range digests {
		if strings.HasPrefix(what, "1.1 ") {
			on11 += n
		}
	}
	fact(took == d.o.robots, "every robot took 1.1 and committed it", "%d of %d robots", took, d.o.robots)
	fact(on11 == d.o.robots && len(digests) == 1, "every robot runs 1.1 now, with one hash", "%v", digests)
	fact(len(d.summary.Killed) == 3, "operator, a downloading robot and the leader were killed on the way", "%s", strings.Join(d.summary.Killed, ", "))
	fact(len(d.summary.Leaders) >= 2, "another robot led after the leader was killed", "leaders %s", strings.Join(d.summary.Leaders, " → "))
	fact(s.Rollout != nil && s.Rollout.Release.Version == "1.2" && s.Rollout.Status == "reverted", "the rollout of 1.2 was taken back", "status %s", statusOf(s))
	fact(s.Rollout != nil && s.Rollout.Stage == "canary", "it was stopped at the canary", "stage %s", stageOf(s))
	canaries := d.canaries()
	fact(len(d.summary.TouchedByBad) > 0 && subset(d.summary.TouchedByBad, canaries), "no robot but the canaries ever ran 1.2",
		"ran on %s; canaries %s", strings.Join(d.summary.TouchedByBad, " "), strings.Join(canaries, " "))
	fact(slices.ContainsFunc(s.Quarantine, func(r node.ReleaseName) bool { return r.Version == "1.2" }), "the digest of 1.2 is quarantined", "%d quarantined", len(s.Quarantine))
	fact(strings.Contains(d.summary.Explain, "navigation lost its heartbeat") || strings.Contains(d.summary.Explain, "failed"), "explain says why, in one sentence", "see above")
	for v, ratio := range d.summary.SeedSent {
		fact(ratio < 2, "the seed sent variant "+v+" less than twice", "%.2f times", ratio)
	}
}

func statusOf(s *node.Status) string {
	if s.Rollout == nil {
		return "none"
	}
	return s.Rollout.Status
}

func stageOf(s *node.Status) string {
	if s.Rollout == nil {
		return "none"
	}
	return s.Rollout.Stage
}

// canaries are the robots that the order opened for 1.2.
func (d *demo) canaries() []string {
	s := d.newest()
	if s.Rollout == nil {
		return nil
	}
	return s.Rollout.Opened
}

func subset(a, b []string) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

// printSummary tells people what was found.
func (d *demo) printSummary() {
	u := &d.summary
	counts := map[string]int{}
	for _, r := range u.Running {
		counts[r]++
	}
	fmt.Fprintf(d.out, "\n")
	for what, n := range counts {
		fmt.Fprintf(d.out, "  running   %d robots on %s\n", n, what)
	}
	for _, m := range demoModels {
		if ratio, ok := u.SeedSent[m]; ok {
			fmt.Fprintf(d.out, "  seed      sent variant %s %.2f times to %d robots\n", m, ratio, (d.o.robots+1)/2)
		}
	}
	fmt.Fprintf(d.out, "  time      %.1f s to join, %.1f s to ship 1.1, %.1f s to throw 1.2 back, %.1f s in all\n", u.JoinSeconds, u.ShipSeconds, u.RevertSeconds, u.TotalSeconds)
	fmt.Fprintf(d.out, "  touched   by 1.2: %s\n", strings.Join(u.TouchedByBad, " "))
	fmt.Fprintf(d.out, "  leaders   %s\n", strings.Join(u.Leaders, " → "))
	for _, f := range u.Facts {
		mark := "ok    "
		if !f.Held {
			mark = "FAILED"
		}
		fmt.Fprintf(d.out, "  %s    %s (%s)\n", mark, f.Fact, f.Seen)
	}
}

// verdict is an error that names the first fact that did not hold.
func (d *demo) verdict() error {
	for _, f := range d.summary.Facts {
		if !f.Held {
			return fmt.Errorf("the demo's story did not hold: not true that %s: %s", f.Fact, f.Seen)
		}
	}
	return nil
}
