package netsim

import (
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/netsim/fabric"
)

// restless is why a payload has not come to rest; empty if it has: it runs what it has
// committed, and that is what is active, or it has gone back from that.
func restless(s standing, active, wanted bool, want string) string {
	switch {
	case s.trial || s.out:
		return "is on trial with " + s.running.Version
	case s.running != s.committed:
		return "runs " + nameOf(s.running) + ", and has committed " + nameOf(s.committed)
	case active || !wanted:
		return ""
	}
	return "runs " + s.running.Version + " and not " + want
}

// nameOf is a release's version, or "nothing".
func nameOf(r manifest.Ref) string {
	if r.IsZero() {
		return "nothing"
	}
	return r.Version
}

// restAtLast: when the swarm has decided, robots do what it says; while it decides, it
// does not wait for those who are gone.
func (c *checks) restAtLast(now time.Duration, o *order.Order, within limits) (list []complaint) {
	since := max(c.live.since, c.live.moved)
	if r := o.Rollout; r != nil && !r.Status.Final() {
		plan := c.planOf(r)
		waits := r.Status == order.Running && r.Stage > order.HIL && plan != nil && len(c.seats(&o.Electorate)) >= quorumOf(len(o.Electorate.Voters)) && c.allThere(r)
		if plan != nil && c.live.late.overdue("rollout", !waits, now, since, longest(plan.plan)) {
			list = append(list, complain("waits-for-nobody", "rollout %d shows the same order, %s in %s, for %s", r.ID, o.Pointer(), stageOf(r), longest(plan.plan)))
		}
		return list
	}
	for _, m := range c.live.core {
		r := c.w.robotNamed(m.name)
		if r == nil {
			continue
		}
		for _, p := range r.parts {
			text := c.unrested(p, o)
			if c.live.late.overdue("rest "+m.name+" "+p.component, text == "", now, since, within.settle+c.transfer(p)) {
				list = append(list, complain("converges-after-heal", "%s %s, %s after %s", m.name, text, within.settle+c.transfer(p), o.Pointer()))
			}
		}
	}
	return list
}

func (c *checks) planOf(r *order.Rollout) *shipped {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plans[r.Plan]
}

// unrested is why p has not come to rest under an order.
func (c *checks) unrested(p *payload, o *order.Order) string {
	s := c.w.truth.standing(p)
	a := o.Component(p.component)
	if a == nil || a.Active.IsZero() {
		return ""
	}
	rel := c.w.release(a.Active.Digest)
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.past(p)
	fits := rel != nil && rel.fits(p.r.model) && !h.term(a.Active.Digest).back
	return restless(s, s.committed.Digest == a.Active.Digest, fits, a.Active.Version)
}

// fits reports whether the release has a variant for a model.
func (r *release) fits(model string) bool {
	_, own := r.files[model]
	_, any := r.files[""]
	return own || any
}

// allThere reports whether every robot that committed or tries the rollout's release is
// in the core: for others the gate may wait.
func (c *checks) allThere(r *order.Rollout) bool {
	in := map[*machine]bool{}
	for _, m := range c.live.core {
		in[m] = true
	}
	for _, robot := range c.w.allRobots() {
		v := robot.lastView()
		if v == nil || !member.Set(r.Opened).Has(int(v.Self)) || in[&robot.machine] {
			continue
		}
		for _, p := range robot.parts {
			if p.component == r.Component && c.w.truth.standing(p).running == r.Release {
				return false
			}
		}
	}
	return true
}

// transfer is how long a robot may take to get an image and its turn, three times over:
// every robot of the core gets it over the same radio, and few may catch up at once.
func (c *checks) transfer(p *payload) time.Duration {
	kind, ok := fabric.Preset(p.r.group.Radio)
	if !ok || kind.Rate == 0 {
		return 0
	}
	var bytes int64
	for _, r := range c.w.built() {
		if r.Component == p.component {
			bytes = max(bytes, int64(r.spec.Bytes(p.r.model)))
		}
	}
	n := len(c.live.core)
	each := time.Duration(float64(bytes*8) / kind.Rate * float64(time.Second))
	turns := n/max(2, n/10) + 1
	return 3*time.Duration(n)*each + time.Duration(turns)*healthyDeadline/2
}
