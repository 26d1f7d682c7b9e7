package netsim

import (
	"fmt"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/install"
)

// A Violation is a promise that was broken, from ground truth.
type Violation struct {
	Invariant string        `json:"invariant"`
	At        time.Duration `json:"at"` // since the start
	Detail    string        `json:"detail"`
	// Trace is what happened before it, oldest first.
	Trace []Note `json:"trace,omitempty"`
}

const (
	maxViolations = 20 // of one invariant that are kept
	traceBefore   = 12 // notes shown before a violation
)

// checks are the invariants of one run. The watcher's goroutine calls step, learns and
// hears; the robots' goroutines call activates, starts and commits.
//
// Each family of invariants has a file and is a few pure functions over facts; this
// one brings them the facts. Not judged here: an interlock and a robot that arms or
// takes off while it switches, for simulated payloads have no gate; memory and
// goroutines of each node, for all nodes share one heap (a run's own are in the
// report); and what a raft log holds, beyond the state that voters sign for an index.
type checks struct {
	w     *World
	asked map[string]bool
	live  live // the watcher's alone
	ends  ends // the watcher's alone

	mu      sync.Mutex
	found   []Violation                  // guarded by mu, like all below
	count   map[string]int               // by invariant
	orders  *orders                      // all that was ever verified
	heights map[*machine]height          // over all lives
	reigns  leaderships                  // who led when
	pasts   map[*payload]*past           // what payloads did
	plans   map[manifest.Digest]*shipped // by the digest of the plan's envelope
	shipped []ship                       // oldest first
	resumed map[uint64]bool              // rollouts that an operator has resumed
	liars   map[string]bool              // machines that were ever in the wrong hands
	met     map[*machine]time.Duration   // when a robot that asks last had a voter in reach
	read    int                          // notes read so far
}

func newChecks(w *World) *checks {
	c := &checks{
		w: w, asked: map[string]bool{}, count: map[string]int{}, orders: newOrders(), heights: map[*machine]height{}, reigns: leaderships{},
		pasts: map[*payload]*past{}, plans: map[manifest.Digest]*shipped{}, resumed: map[uint64]bool{}, liars: map[string]bool{},
		met:  map[*machine]time.Duration{},
		live: live{late: streak{}}, ends: newEnds(),
	}
	for _, name := range w.scenario.Expect.Checked() {
		c.asked[name] = true
	}
	return c
}

// A complaint is a violation before it is written down.
type complaint struct{ invariant, detail string }

func complain(invariant, format string, args ...any) complaint {
	return complaint{invariant, fmt.Sprintf(format, args...)}
}

// violate writes down that an invariant does not hold.
func (c *checks) violate(invariant, format string, args ...any) {
	if !c.asked[invariant] {
		return
	}
	v := Violation{Invariant: invariant, At: time.Since(Start), Detail: fmt.Sprintf(format, args...)}
	notes := c.w.truth.since(0)
	v.Trace = notes[max(0, len(notes)-traceBefore):]
	c.mu.Lock()
	c.count[invariant]++
	n := c.count[invariant]
	if n <= maxViolations {
		c.found = append(c.found, v)
	}
	c.mu.Unlock()
	if n <= maxViolations {
		c.w.truth.note("netsim", "violation", "%s: %s", invariant, v.Detail)
	}
}

// report writes complaints down; the caller does not hold mu.
func (c *checks) report(list []complaint) {
	for _, x := range list {
		c.violate(x.invariant, "%s", x.detail)
	}
}

// violations are those found so far.
func (c *checks) violations() []Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found[:len(c.found):len(c.found)]
}

// past is what is remembered of a payload; the caller holds mu.
func (c *checks) past(p *payload) *past {
	h := c.pasts[p]
	if h == nil {
		h = &past{}
		c.pasts[p] = h
	}
	return h
}

// learns judges what a node has verified, against what it knew before, in any life.
func (c *checks) learns(m *machine, _, now *node.View) { c.report(c.took(m, now)) }

// hears judges what a node says of itself.
func (c *checks) hears(m *machine, e node.Event) {
	if e.Kind != "chunk-rejected" {
		return
	}
	c.readNotes() // who was taken since the last look
	c.mu.Lock()
	liar := c.liars[e.Member]
	c.mu.Unlock()
	if !liar {
		c.violate("verified-first", "%s: %s, and nobody has taught it to lie", m.name, e.Text)
	}
}

// commits notes that a trial has ended well.
func (c *checks) commits(p *payload, was standing, what install.Payload) {
	now := time.Since(Start)
	c.mu.Lock()
	early := c.keeps(p, was, what, now)
	c.mu.Unlock()
	if early != "" {
		c.violate("gate-first", "%s, before it could be known to be well", early)
	}
}

// keeps notes a commit, and says if it came too early. The caller holds mu.
func (c *checks) keeps(p *payload, was standing, what install.Payload, now time.Duration) string {
	h := c.past(p)
	if was.committed.Digest != what.Release.Digest {
		h.leaves(was.committed.Digest, now)
	}
	t := h.term(what.Release.Digest)
	t.took, t.back = true, false
	if t.from == 0 {
		t.from = now
	}
	early := ""
	if was.trial && !was.committed.IsZero() && now-h.begun < c.leastTrial(what.Release.Digest) {
		early = fmt.Sprintf("%s commits %s %s after it took it", p.r.name, what.Release, now-h.begun)
	}
	h.slot, h.out = what.Slot, nil
	h.good = append(h.good, what.Release.Digest)
	return early
}

// leastTrial is how long any robot must have tried a release: as long as a robot that no
// plan rules, or what a plan for it asks for if that is less. The caller holds mu.
func (c *checks) leastTrial(release manifest.Digest) time.Duration {
	least := minHealthy
	for _, s := range c.plans {
		if s.plan.Release.Digest == release {
			least = min(least, time.Duration(s.plan.MinHealthySeconds)*time.Second)
		}
	}
	return least
}

// starts judges a start after a restart.
func (c *checks) starts(p *payload, was standing, what install.Payload, wrong error) {
	list := bytesOf(p, wrong)
	c.mu.Lock()
	c.past(p).begun = time.Since(Start)
	if text := c.past(p).boots(p.r.name, was, what.Release); text != "" {
		list = append(list, complain("good-slot", "%s", text))
	}
	c.mu.Unlock()
	c.report(list)
}

// step judges the whole swarm, at every look.
func (c *checks) step() {
	c.readNotes()
	now := time.Since(Start)
	c.meet(now)
	c.report(c.leaders())
	c.report(c.lingering(now))
	c.report(c.atLast(now))
	c.ends.look(c.w, now)
	if now%snapshotsEvery < lookEvery {
		c.report(c.sizes())
	}
}

// snapshotsEvery is how often files and messages are measured.
const snapshotsEvery = 30 * time.Second

// readNotes learns from the run's notes who was in the wrong hands.
func (c *checks) readNotes() {
	notes := c.w.truth.since(c.read)
	c.read += len(notes)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range notes {
		if n.Kind == "lie" {
			c.liars[n.Machine] = true
		}
	}
}
