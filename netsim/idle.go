package netsim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// What a scenario asks for and did not get: a run in which the story stopped half way, or
// a fault hit nobody, can go well and prove nothing.

// A tale is how far the story came: how many steps are done, and whether the one after
// them has had its turn.
type tale struct {
	done   int
	trying bool
}

// tells notes how far the story is.
func (w *World) tells(t tale) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tale = t
}

// A toll is what came of one fault of the scenario, with all its repetitions.
type toll struct {
	came int // how often it came
	hit  int // how often it found somebody
}

// tolls counts an occurrence of a fault.
func (w *World) tolls(source int, hit bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tolled[source]
	t.came++
	if hit {
		t.hit++
	}
	w.tolled[source] = t
}

// untold is each step of the story that was not done, and why.
func (w *World) untold() []string {
	w.mu.Lock()
	t := w.tale
	w.mu.Unlock()
	list := []string{}
	for i := t.done; i < len(w.scenario.Story); i++ {
		s := &w.scenario.Story[i]
		key, _ := s.Action()
		why := "it comes after the step above"
		switch {
		case i > t.done:
		case t.trying:
			why = "it was tried until the end, in vain"
		case s.After != nil:
			why = fmt.Sprintf("it waited for %q", s.After)
		case s.At != nil:
			why = "its time had not come"
		default:
			why = "the swarm was not there yet"
		}
		list = append(list, fmt.Sprintf("story[%d], %s, was not done: %s", i, key, why))
	}
	return list
}

// idle is each fault that did nothing, and why.
func (w *World) idle() []string {
	w.mu.Lock()
	tolled := maps.Clone(w.tolled)
	w.mu.Unlock()
	list := []string{}
	for i := range w.scenario.Faults {
		f, t := &w.scenario.Faults[i], tolled[i]
		key, _ := f.Action()
		switch {
		case t.hit > 0:
		case t.came > 0:
			list = append(list, fmt.Sprintf("faults[%d], %s, changed nothing: nobody whom it is about was there when it came", i, key))
		case f.When != nil:
			list = append(list, fmt.Sprintf("faults[%d], %s, never came: it waited for %q", i, key, f.When))
		default:
			list = append(list, fmt.Sprintf("faults[%d], %s, never came: the run was over", i, key))
		}
	}
	for _, r := range w.allRobots() {
		r.mu.Lock()
		for _, d := range r.deaths {
			list = append(list, fmt.Sprintf("%s should have died at %s, and never came there", r.name, d.step))
		}
		r.mu.Unlock()
	}
	return list
}

// finds reports whether a fault that comes now finds somebody to hit; names are those of
// its own pick.
func (w *World) finds(f *scenario.Fault, names []string) bool {
	switch {
	case f.Partition != nil:
		return len(w.groups(f)) > 1 || len(w.groups(f)) == 1 && len(w.groups(f)[0]) < len(w.machines())
	case f.Pick != nil && len(names) == 0:
		return false
	}
	found := !needsPayload(f) || slices.ContainsFunc(names, func(n string) bool {
		r := w.robotNamed(n)
		return r != nil && len(r.parts) > 0
	})
	strict.Each(f, func(_ string, p *scenario.Pick) {
		if p != f.Pick && !p.IsZero() {
			found = found && len(w.here(p, f.Draw)) > 0
		}
	})
	return found
}

// needsPayload reports whether a fault is about an update, which only robots have.
func needsPayload(f *scenario.Fault) bool {
	return f.Behave != nil || f.Crash != nil && f.Crash.Step != "" || f.PowerCut != nil && f.PowerCut.Step != ""
}
