package netsim

import (
	"slices"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// pick is who p means now, by name.
func (w *World) pick(p *scenario.Pick, draw uint64) []string {
	if p == nil {
		return nil
	}
	return p.Choose(draw, w.who)
}

// who lists the machines that a term names, from the truth where it needs that.
func (w *World) who(t scenario.Term) []string {
	if !t.Truth() {
		return w.scenario.Who(t)
	}
	switch t.Key {
	case scenario.Leader:
		return w.leaders()
	case scenario.TheVoters:
		return w.voters()
	case scenario.Followers:
		lead := w.leaders()
		return slices.DeleteFunc(w.voters(), func(n string) bool { return slices.Contains(lead, n) })
	case scenario.Canaries:
		if o := w.watch.order(); o != nil && o.Rollout != nil {
			return w.canaries(o.Rollout)
		}
		return nil
	case scenario.Opened:
		if o := w.watch.order(); o != nil && o.Rollout != nil {
			return w.members(o.Rollout.Open)
		}
		return nil
	}
	var list []string
	for _, r := range w.allRobots() {
		for _, p := range r.parts {
			s := w.truth.standing(p)
			if t.Key == "phase" && w.watch.phaseOf(p) == t.Value || t.Key == "running" && w.isRelease(p.component, s.running.Version, scenario.Ref(t.Value)) {
				list = append(list, r.name)
				break
			}
		}
	}
	return list
}

func (w *World) isRelease(component, version string, name scenario.Ref) bool {
	c, v := name.Split()
	return c == component && v == version
}

// members are the names of a set of roster indexes.
func (w *World) members(s member.Set) []string {
	var v = w.anyView()
	if v == nil || v.Roster == nil {
		return nil
	}
	var names []string
	for _, id := range v.Roster.Names(s) {
		names = append(names, string(id))
	}
	return names
}

// voters are the names of the electorate of the newest order.
func (w *World) voters() []string {
	o := w.watch.order()
	if o == nil {
		return nil
	}
	var set member.Set
	for _, v := range o.Electorate.Voters {
		set = set.With(int(v.Member))
	}
	return w.members(set)
}

// leaders are the machines that believe they lead; two are possible for a moment,
// in different terms.
func (w *World) leaders() []string {
	var names []string
	for _, name := range w.voters() {
		if m := w.machineNamed(name); m != nil && m.view() != nil {
			if s := m.alive().node.Status(); s.Self.Leader {
				names = append(names, name)
			}
		}
	}
	return names
}

// canaries are the robots that the rollout has opened in its canary stage.
func (w *World) canaries(r *order.Rollout) []string {
	w.watch.mu.Lock()
	defer w.watch.mu.Unlock()
	if w.watch.canaryOf == r.ID {
		return w.watch.canaries
	}
	return nil
}
