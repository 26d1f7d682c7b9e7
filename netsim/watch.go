package netsim

import (
	"fmt"
	"sync"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/node"
)

// A watch is what was seen of the swarm by looking at every node, once a tick, in
// the order of machines.
type watch struct {
	seen map[*machine]seen // the watcher's alone

	mu       sync.Mutex
	phase    map[*payload]string                  // guarded by mu, like all below: as the node says
	newest   *order.Order                         // that anybody has verified; nil before the first
	since    time.Duration                        // when newest was first seen
	canaryOf uint64                               // the rollout that canaries belongs to
	canaries []string                             // names
	reached  map[scenario.Condition]time.Duration // when an event was first so
	rollouts map[uint64]*order.Rollout            // as last seen
	revoked  map[string]bool                      // names
	halted   bool
	whole    map[string]map[string]float64 // release, robot: when it first had the whole image, seconds
	timeline
}

// seen is one machine at the last look.
type seen struct {
	life   *life
	events uint64 // number of the last event read
	view   *node.View
}

func newWatch() *watch {
	return &watch{
		seen: map[*machine]seen{}, phase: map[*payload]string{}, reached: map[scenario.Condition]time.Duration{},
		revoked: map[string]bool{}, rollouts: map[uint64]*order.Rollout{}, whole: map[string]map[string]float64{},
		timeline: newTimeline(),
	}
}

// order is the newest that anybody has verified; nil before the first.
func (x *watch) order() *order.Order {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.newest
}

func (x *watch) phaseOf(p *payload) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.phase[p]
}

func (x *watch) setPhase(p *payload, phase string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.phase[p] = phase
}

// setWhole notes that a robot's phase is beyond fetching this release.
func (x *watch) setWhole(release, robot, phase string, at time.Duration) {
	if phase == member.Idle.String() || phase == member.Fetching.String() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.whole[release] == nil {
		x.whole[release] = map[string]float64{}
	}
	if _, ok := x.whole[release][robot]; !ok {
		x.whole[release][robot] = at.Seconds()
	}
}

func (x *watch) revoke(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.revoked[name] = true
}

func (x *watch) isRevoked(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.revoked[name]
}

func (x *watch) halt(on bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.halted = on
}

// reach notes that something has come true for the first time.
func (x *watch) reach(c scenario.Condition) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.reached[c]; !ok {
		x.reached[c] = time.Since(Start)
	}
}

// when is when c first came true.
func (x *watch) when(c scenario.Condition) (time.Duration, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c.Delay = 0
	at, ok := x.reached[c]
	return at, ok
}

// look reads every node once, and lets the invariants look too.
func (w *World) look() {
	for _, m := range w.machines() {
		l := m.alive()
		if l == nil {
			continue
		}
		s := w.watch.seen[m]
		if s.life != l {
			s = seen{life: l}
		}
		v := l.node.View()
		if v != nil && v != s.view {
			w.checks.learns(m, s.view, v)
			w.sees(v.Order)
		}
		s.view = v
		for _, e := range l.node.Events(s.events) {
			if e.Number > s.events {
				s.events = e.Number
				w.heard(m, e, l)
			}
		}
		w.watch.seen[m] = s
	}
	w.checks.step()
}

// heard takes what a node says of itself. Events of an earlier life, which it read
// from its history, have been heard before.
func (w *World) heard(m *machine, e node.Event, l *life) {
	lived := e.Time.Sub(l.since)
	if lived < 0 || w.clocks && e.Time == e.Time.Round(0) { // with a clock of its own, only what it read is without a monotonic part
		return
	}
	switch e.Kind {
	case "phase":
		if r := w.robotNamed(m.name); r != nil {
			for _, p := range r.parts {
				if p.component == e.Component {
					w.watch.setPhase(p, e.Phase)
					w.watch.setWhole(string(w.refOf(e.Component, e.Release)), m.name, e.Phase, l.since.Add(lived).Sub(Start))
				}
			}
		}
		w.watch.reach(scenario.Condition{Event: e.Phase, Release: w.refOf(e.Component, e.Release)})
	case "leader":
		w.watch.reach(scenario.Condition{Event: scenario.HasLeader})
	case "order":
		return // sees tells it once, not once for each node
	}
	w.truth.says(l.since.Add(lived).Sub(Start), m.name, e)
	w.checks.hears(m, e)
}

func (w *World) refOf(component, version string) scenario.Ref {
	r := scenario.Release{Component: component, Version: version}
	return r.Ref()
}

// sees takes an order that somebody has verified.
func (w *World) sees(o *order.Order) {
	was := w.watch.order()
	if o == nil || (was != nil && !was.Pointer().Before(o.Pointer())) {
		return
	}
	if was != nil && was.Electorate.Version != o.Electorate.Version {
		w.watch.reach(scenario.Condition{Event: "voters-changed"})
	}
	opened := []string(nil)
	if r := o.Rollout; r != nil {
		opened = w.members(r.Opened)
		w.truth.note("swarm", "order", "%s: rollout %d of %s: %s in %s, open %v%s",
			o.Pointer(), r.ID, w.refOf(r.Component, r.Release.Version), r.Status, stageOf(r), w.members(r.Open), because(w.people(r.Reason)))
	}
	w.watch.take(o, opened)
	w.record(was, o)
	if r := o.Rollout; r != nil {
		for _, event := range eventsOf(o) {
			w.watch.reach(scenario.Condition{Event: event, Release: w.refOf(r.Component, r.Release.Version)})
		}
	}
}

// take makes o the newest order; opened are the names of its rollout's robots.
func (x *watch) take(o *order.Order, opened []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.newest, x.since = o, time.Since(Start)
	r := o.Rollout
	if r == nil {
		return
	}
	x.rollouts[r.ID] = r
	if r.Stage == order.Canary && len(opened) > 0 {
		x.canaryOf, x.canaries = r.ID, opened
	}
}

func stageOf(r *order.Rollout) string {
	if r.Stage == order.Wave {
		return fmt.Sprintf("wave %d", r.Wave)
	}
	return r.Stage.String()
}

// eventsOf are what has come true of an order's rollout.
func eventsOf(o *order.Order) []string {
	r := o.Rollout
	list := []string{scenario.Started}
	for _, e := range []struct {
		so   bool
		name string
	}{
		{r.Stage >= order.Canary, scenario.Canary}, {r.Stage >= order.Wave, scenario.Wave}, {r.Stage >= order.Soak, scenario.Soak},
		{r.Status == order.Held, scenario.Held}, {r.Status == order.Finished, scenario.Done}, {r.Status == order.Expired, scenario.Expired},
		{r.Status == order.Aborted, scenario.Aborted}, {r.Status == order.Reverted, scenario.Reverted}, {o.Quarantined(r.Release.Digest), "in-quarantine"},
	} {
		if e.so {
			list = append(list, e.name)
		}
	}
	return list
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// isSo reports whether a condition has come true, without its delay.
func (w *World) isSo(c scenario.Condition) bool {
	switch c.Event {
	case scenario.Joined:
		return w.joined()
	case scenario.HasLeader:
		return len(w.leaders()) > 0
	case scenario.Halted:
		w.watch.mu.Lock()
		defer w.watch.mu.Unlock()
		return w.watch.halted
	case scenario.Published:
		return w.published(c.Release)
	case scenario.SafeToLeave:
		return w.safeToLeave(c.Release)
	}
	_, ok := w.watch.when(c)
	return ok
}

// joined reports whether every robot that was invited runs a committed release of
// each component.
func (w *World) joined() bool {
	robots := w.allRobots()
	for _, r := range robots {
		for _, p := range r.parts {
			if w.truth.standing(p).committed.IsZero() {
				return false
			}
		}
	}
	return len(robots) > 0 && w.watch.order() != nil
}

func (w *World) published(name scenario.Ref) bool {
	c, version := name.Split()
	for _, o := range clone(w, &w.operators) {
		if v := o.view(); v != nil && v.Trust != nil && v.Order != nil && v.Order.Trust == v.Trust.Ref() {
			if _, ok := v.Trust.Release(c, version); ok {
				return true
			}
		}
	}
	return false
}

// safeToLeave reports whether the operator's node has said so of every variant.
func (w *World) safeToLeave(name scenario.Ref) bool {
	r, err := w.named(name)
	if err != nil {
		return false
	}
	for _, o := range clone(w, &w.operators) {
		n, err := o.on()
		if err != nil {
			continue
		}
		safe := 0
		for _, s := range n.Status().Seeds {
			if s.Release.Digest == r.Digest() && s.SafeToLeave {
				safe++
			}
		}
		if safe == len(r.files) {
			return true
		}
	}
	return false
}

// anyView is what some node knows, for names.
func (w *World) anyView() *node.View {
	for _, m := range w.machines() {
		if v := m.view(); v != nil && v.Roster != nil {
			return v
		}
	}
	return nil
}
