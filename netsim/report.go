package netsim

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// ReportSchema is the schema of a Report as JSON. Its number rises when a key changes
// its meaning or goes.
const ReportSchema = "starling.netsim/v1"

// A Report is what one run showed. Times are in seconds of virtual time since the
// start, unless they say otherwise.
type Report struct {
	Schema   string `json:"schema"`
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	// Died is why the run came to no end: the simulation, or a node in it, died. Then
	// nothing below is known. Empty in a report that Run returns.
	Died string `json:"died,omitempty"`
	// Replay is the command that does this very run again, if whoever started it said so.
	Replay string `json:"replay,omitempty"`
	// Exact says that the same scenario and seed give this very run again; if not,
	// Loose says what was left to chance.
	Exact bool     `json:"exact"`
	Loose []string `json:"loose,omitempty"`
	// Digest is over every packet, every piece of a stream, and every note.
	Digest  string  `json:"digest"`
	Virtual float64 `json:"virtual_seconds"`
	Wall    float64 `json:"wall_seconds"`          // real time, with the start of the process
	CPU     float64 `json:"cpu_seconds,omitempty"` // of the process, and of the kernel for it
	Memory  int64   `json:"peak_rss_bytes,omitempty"`
	Nodes   int     `json:"nodes"`
	Robots  int     `json:"robots"`
	// Verdicts are one for each invariant. Violations are promises that were broken,
	// Unmet is what was expected and is not so: both empty if all went well.
	Verdicts   []Verdict `json:"verdicts"`
	Violations []Breach  `json:"violations"`
	Unmet      []string  `json:"unmet"`
	// Completed is when the last robot committed a release, by its name; a release that
	// not every robot it is for has committed is not there. Completion says more.
	Completed  map[string]float64 `json:"completed_at"`
	Completion []Completion       `json:"completion"`
	// Bytes are those sent by all machines, headers included, by what they carry.
	Bytes        map[string]uint64 `json:"bytes"`
	OutOfService int               `json:"max_out_of_service"`
	// SeedSent is how often operators sent each release's images, by its name.
	SeedSent map[string]float64 `json:"seed_sent"`
	Rollouts []RolloutResult    `json:"rollouts"`
	Behind   []Left             `json:"left_behind"` // robots that run something else in the end
	Hints    []string           `json:"hints"`       // what to change, where the facts say so
	// Untold are steps of the story that were not done, and Idle are faults that hit nobody:
	// what held without them may not hold with them. Each says why.
	Untold []string `json:"untold"`
	Idle   []string `json:"idle"`

	Leaders  []Leadership `json:"leaders"`
	Voters   []Electorate `json:"voters"`
	Cells    []Cell       `json:"airtime"`
	Machines []Machine    `json:"machines"`
	Faults   []Trouble    `json:"faults"`
	Curve    []CurvePoint `json:"curve"` // robots that have committed each release, whenever that changes
	Switches []Switch     `json:"switches"`
	Samples  []Sample     `json:"samples"`
}

// A Breach is an invariant that did not hold.
type Breach struct {
	Invariant string   `json:"invariant"`
	At        float64  `json:"at"`
	Detail    string   `json:"detail"`
	Trace     []Moment `json:"trace,omitempty"` // what happened before it, oldest first
}

// A Moment is one thing that happened.
type Moment struct {
	At      float64 `json:"at"`
	Machine string  `json:"machine"`
	Kind    string  `json:"kind"`
	Text    string  `json:"text"`
}

// A Leadership is one leader's term; an empty name is a time without one, or with two.
type Leadership struct {
	From   float64 `json:"from"`
	Leader string  `json:"leader"`
}

// An Electorate is who votes, from a time on.
type Electorate struct {
	From   float64  `json:"from"`
	Voters []string `json:"voters"`
}

// A Cell is the airtime of one place.
type Cell struct {
	Radio string  `json:"radio"`
	X     int     `json:"x"`
	Y     int     `json:"y"`
	Busy  float64 `json:"busy"`      // share of the run
	Peak  float64 `json:"busiest"`   // highest share of any 5 s
	Full  float64 `json:"saturated"` // seconds in which nothing more fitted
}

// A Machine is one computer, and what it sent.
type Machine struct {
	Name  string            `json:"name"`
	Model string            `json:"model,omitempty"` // of a robot
	Sent  map[string]uint64 `json:"sent"`            // bytes by class
}

// A Trouble is a fault, from when to when; To is the end of the run if it was not lifted.
type Trouble struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Text string  `json:"text"`
}

// OK reports whether all went as it should.
func (r *Report) OK() bool { return r.Died == "" && len(r.Violations) == 0 && len(r.Unmet) == 0 }

// Kind is what went wrong, without the details that differ from run to run: the first
// broken invariant, or the first word of what was not met; empty if all went well.
func (r *Report) Kind() string {
	switch {
	case r.Died != "":
		return r.Died
	case len(r.Violations) > 0:
		return "breaks " + r.Violations[0].Invariant
	case len(r.Unmet) > 0:
		word, _, _ := strings.Cut(r.Unmet[0], ":")
		return "does not meet " + word
	}
	return ""
}

// End is Kind with how far the story came and what its rollouts came to: where something
// that was expected did not come, two runs went wrong alike only if these are alike too.
// Empty if all went well.
func (r *Report) End() string {
	if r.Died != "" || len(r.Violations) > 0 || len(r.Unmet) == 0 {
		return r.Kind()
	}
	end := r.Kind()
	for _, x := range r.Rollouts {
		end += fmt.Sprintf("; %s is %s", x.Release, x.Status)
	}
	if n := len(r.Untold); n > 0 {
		end += fmt.Sprintf("; %d of the story's steps not done", n)
	}
	return end
}

// Why is one sentence about what went wrong first; empty if all went well.
func (r *Report) Why() string {
	switch {
	case r.Died != "":
		return "the run died: " + r.Died
	case len(r.Violations) > 0:
		v := r.Violations[0]
		return v.Invariant + " at " + clock(v.At) + ": " + v.Detail
	case len(r.Unmet) > 0:
		return "expected, and not so: " + r.Unmet[0]
	}
	return ""
}

// report is what this run has shown. It is made when all machines have stopped.
func (w *World) report(behind []Left) *Report {
	digest, traffic := w.net.Digest(), w.net.Traffic()
	w.truth.mu.Lock()
	worst := w.truth.worst
	w.truth.mu.Unlock()
	x := w.watch
	r := &Report{
		Schema: ReportSchema, Scenario: w.scenario.Name, Seed: w.seed, Digest: hex.EncodeToString(digest[:8]) + w.trace.Digest()[:16],
		Virtual: time.Since(Start).Seconds(), Nodes: len(w.machines()), Robots: len(w.allRobots()),
		Violations: []Breach{}, Unmet: append([]string{}, w.unmet()...), Completed: map[string]float64{},
		Bytes: byClass(traffic), OutOfService: worst, SeedSent: x.seedSent(), Behind: behind, Faults: troubles(w.truth.since(0)),
		Rollouts: w.results(), Switches: w.truth.switches(), Cells: []Cell{}, Machines: w.sent(traffic),
	}
	x.mu.Lock()
	r.Leaders, r.Voters, r.Samples = append([]Leadership{}, x.leaders...), append([]Electorate{}, x.voting...), append([]Sample{}, x.samples...)
	for _, c := range traffic.Cells {
		k := cell{c.Radio, c.X, c.Y}
		r.Cells = append(r.Cells, Cell{c.Radio, c.X, c.Y, c.Busy.Seconds() / max(r.Virtual, 1), x.air.peak[k], x.air.full[k].Seconds()})
	}
	x.mu.Unlock()
	for _, v := range w.checks.violations() {
		r.Violations = append(r.Violations, breach(v))
	}
	r.Verdicts = verdicts(&w.scenario.Expect, r.Violations)
	r.complete(w.goals(), x.whole)
	r.Hints, r.Untold, r.Idle = w.hints(r), w.untold(), w.idle()
	return r
}

func breach(v Violation) Breach {
	b := Breach{Invariant: v.Invariant, At: v.At.Seconds(), Detail: v.Detail}
	for _, n := range v.Trace {
		b.Trace = append(b.Trace, Moment{n.At.Seconds(), n.Machine, n.Kind, n.Text})
	}
	return b
}

// classes are what the ports of a node carry.
var classes = map[uint16]string{7946: "gossip", 7947: "bulk", 7948: "control"}

// byClass is what all machines have sent, by class.
func byClass(t fabric.Traffic) map[string]uint64 {
	sum := map[string]uint64{"gossip": 0, "bulk": 0, "control": 0}
	for _, h := range t.Hosts {
		for port, c := range h.Ports {
			sum[cmp.Or(classes[port], "other")] += c.SentBytes
		}
	}
	return sum
}

// sent are all machines with what each has sent.
func (w *World) sent(t fabric.Traffic) []Machine {
	of := map[string]map[string]uint64{}
	for _, h := range t.Hosts {
		of[h.Name] = map[string]uint64{}
		for port, c := range h.Ports {
			of[h.Name][cmp.Or(classes[port], "other")] += c.SentBytes
		}
	}
	list := []Machine{}
	for _, m := range w.machines() {
		model := ""
		if r := w.robotNamed(m.name); r != nil {
			model = r.model
		}
		list = append(list, Machine{m.name, model, of[m.name]})
	}
	return list
}

// troubles pairs the notes about faults that came and were lifted.
func troubles(notes []Note) []Trouble {
	list, end := []Trouble{}, 0.0
	for _, n := range notes {
		end = max(end, n.At.Seconds())
		switch n.Kind {
		case "fault":
			list = append(list, Trouble{n.At.Seconds(), -1, n.Text})
		case "fault-over":
			i := slices.IndexFunc(list, func(t Trouble) bool { return t.To < 0 && t.Text == n.Text })
			if i >= 0 {
				list[i].To = n.At.Seconds()
			}
		}
	}
	for i := range list {
		if list[i].To < 0 {
			list[i].To = end
		}
	}
	return list
}

// results are all rollouts, by number.
func (w *World) results() []RolloutResult {
	list := []RolloutResult{}
	x := w.watch
	x.mu.Lock()
	lasts, steps, firsts := maps.Clone(x.rollouts), maps.Clone(x.steps), maps.Clone(x.firsts)
	x.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(lasts)) {
		o := lasts[id]
		ref := w.refOf(o.Component, o.Release.Version)
		list = append(list, RolloutResult{
			ID: id, Release: string(ref), Status: o.Status.String(), Stage: stageOf(o), Reason: w.people(o.Reason), Touched: w.touched(ref),
			Canaries: append([]string{}, firsts[id]...), Steps: append([]Step{}, steps[id]...),
		})
	}
	return list
}

// touched are the robots that ever ran a release.
func (w *World) touched(ref scenario.Ref) []string {
	names := []string{}
	rel, err := w.named(ref)
	if err != nil {
		return names
	}
	for _, r := range w.allRobots() {
		for _, p := range r.parts {
			if slices.Contains(w.truth.standing(p).ran, rel.Digest()) {
				names = append(names, r.name)
			}
		}
	}
	return names
}
