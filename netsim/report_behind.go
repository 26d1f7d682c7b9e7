package netsim

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Left is a robot that runs something else than the others in the end.
type Left struct {
	Robot   string `json:"robot"`
	Release string `json:"release"` // what it should run
	Runs    string `json:"runs"`    // empty: nothing
	Why     string `json:"why"`     // as it really is
	Says    string `json:"says"`    // its own node's explanation; empty if it is off
}

// behind lists the robots that run neither what is active nor what is rolling out, and why.
func (w *World) behind() []Left {
	list := []Left{}
	o := w.watch.order()
	if o == nil {
		return list
	}
	core := w.largestIsland()
	for _, r := range w.allRobots() {
		for _, p := range r.parts {
			c := o.Component(p.component)
			s := w.truth.standing(p)
			if c == nil || s.running == c.Active && s.committed == c.Active {
				continue
			}
			if x := o.Rollout; x != nil && !x.Status.Final() && s.running == x.Release && s.committed == x.Release {
				continue // it is ahead
			}
			want := w.release(c.Active.Digest)
			l := Left{Robot: r.name, Release: string(w.refOf(p.component, c.Active.Version)), Why: w.why(r, want, s, core)}
			if !s.running.IsZero() {
				l.Runs = string(w.refOf(p.component, s.running.Version))
			}
			if n := r.alive(); n != nil {
				if x, err := n.node.Explain(r.name); err == nil {
					l.Says = x.Text
				}
			}
			list = append(list, l)
		}
	}
	return list
}

// why is what really keeps a robot from running a release, the strongest reason first.
func (w *World) why(r *robot, want *release, s standing, core []int) string {
	switch {
	case w.watch.isRevoked(r.name):
		return "it is revoked"
	case r.died() != nil:
		return fmt.Sprintf("its node ended: %v", r.died())
	case r.alive() == nil:
		return "it is off"
	case want == nil:
		return "nobody knows this release"
	case !want.fits(r.model):
		return fmt.Sprintf("%s has no variant for model %s", want.spec.Ref(), r.model)
	case !slices.Contains(core, r.host.Index()):
		return "it is out of reach of most others"
	case s.trial:
		return "it has a release on trial"
	case slices.Contains(s.ran, want.Digest()):
		return "it has tried the release and gone back"
	case s.running == (manifest.Ref{}):
		return "nothing runs on it"
	}
	return "it has not switched"
}

// largestIsland are the hosts of the largest group that reach each other.
func (w *World) largestIsland() (core []int) {
	for _, i := range w.net.Islands() {
		if len(i) > len(core) {
			core = i
		}
	}
	return core
}
