package netsim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/install"
)

// What brings the facts to the invariants of a switch, of a new order and of a look.

// bytesOf judges what lies in a slot that is about to run.
func bytesOf(p *payload, wrong error) []complaint {
	switch {
	case wrong == nil:
		return nil
	case errors.Is(wrong, errNotAgreed):
		return []complaint{complain("only-agreed-bytes", "%s: %v", p.r.name, wrong)}
	}
	return []complaint{complain("verified-first", "%s: %v", p.r.name, wrong)}
}

// proofOf is the proof of a view's order; nil before the first.
func proofOf(v *node.View) *proof {
	if v == nil || v.Order == nil || v.Genesis == nil {
		return nil
	}
	_, chain, newest := v.Proof()
	return &proof{genesis: v.Genesis, digest: v.GenesisRef, chain: chain, newest: newest}
}

// heightOf is how far a view has got.
func heightOf(v *node.View) height {
	h := height{pointer: v.Pointer(), roster: v.RosterRef.Epoch, halt: v.HaltCounter()}
	if v.Trust != nil {
		t := v.Trust.Ref()
		h.root, h.targets, h.snapshot, h.timestamp = t.Root, t.Targets, t.Snapshot, t.Timestamp
	}
	return h
}

// took is what is wrong with what a machine's node has verified.
func (c *checks) took(m *machine, v *node.View) (list []complaint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := heightOf(v)
	for _, fall := range c.heights[m].falls(now) {
		list = append(list, complain("never-backwards", "%s: %s", m.name, fall))
	}
	if was := c.heights[m].pointer.Generation; now.pointer.Generation < was {
		list = append(list, complain("one-generation", "%s has seen generation %d and follows %d", m.name, was, now.pointer.Generation))
	}
	c.heights[m] = now
	p := proofOf(v)
	if p == nil {
		return list
	}
	if _, known := c.orders.at[v.Pointer()]; !known {
		list = append(list, beyond(m.name, sizesOf(v))...)
	}
	more, over := c.orders.learn(m.name, p, time.Since(Start))
	list = append(list, more...)
	r := v.Order.Rollout
	if r == nil {
		return list
	}
	plan := c.plans[r.Plan]
	if plan == nil {
		return list
	}
	if text := strays(r, plan.cohorts); text != "" && c.orders.rollouts[r.ID].voters == plan.voters {
		list = append(list, complain("same-cohort", "%s: %s", m.name, text))
	}
	for _, stage := range over {
		list = append(list, c.earned(v, plan, r, stage)...)
	}
	return list
}

// earned judges a stage that is over; the caller holds mu.
func (c *checks) earned(v *node.View, plan *shipped, r *order.Rollout, s passed) []complaint {
	gate, has := gateOf(plan.plan, s.stage)
	if !has || c.resumed[r.ID] {
		return nil // an operator may excuse robots
	}
	robots := s.opened
	if s.stage != order.Soak {
		robots = robots.Minus(c.orders.rollouts[r.ID].before(s.stage, s.wave))
	}
	var turns []turn
	for _, i := range robots.All() {
		if v.Roster == nil || i >= len(v.Roster.Members) {
			continue
		}
		name := string(v.Roster.Members[i].ID)
		robot := c.w.robotNamed(name)
		if robot == nil || c.liars[name] {
			continue
		}
		for _, p := range robot.parts {
			if p.component != r.Component {
				continue
			}
			t := c.past(p).term(r.Release.Digest)
			turns = append(turns, turn{
				robot: name, held: t.longest(time.Since(Start)), took: t.took, back: t.back,
				here: robot.stays() && v.Roster.At(member.Index(i)) != nil,
			})
		}
	}
	n := robots.Count()
	if i := cohortAt(s); i < len(plan.cohorts) {
		n = plan.cohorts[i].Count()
	}
	if s.stage == order.Soak {
		n = plan.fits.Count()
	}
	if text := unearned(gate, n, turns); text != "" {
		return []complaint{complain("gate-first", "rollout %d left %s: %s", r.ID, stageOf(&order.Rollout{Stage: s.stage, Wave: s.wave}), text)}
	}
	return nil
}

// cohortAt is where the cohort of a canary stage or wave stands.
func cohortAt(s passed) int {
	if s.stage == order.Wave {
		return int(s.wave)
	}
	return 0
}

// activates judges a switch, at the moment that it happens.
func (c *checks) activates(p *payload, was standing, to install.Payload, back bool, wrong error) {
	list := bytesOf(p, wrong)
	c.mu.Lock()
	slot := c.past(p).slot
	c.mu.Unlock()
	var intact error
	if !was.committed.IsZero() && !back {
		intact = c.w.truth.wrongBytes(p, install.Payload{Slot: slot, Release: was.committed})
	}
	l := p.r.lastLife()
	v := l.node.View()
	if v != nil {
		list = append(list, c.took(&p.r.machine, v)...)
	}
	c.mu.Lock()
	h := c.past(p)
	if back {
		list = append(list, c.goesBack(p, h, was, to.Release)...)
	} else {
		if text := h.switches(p.r.name, was, to.Slot, intact); text != "" {
			list = append(list, complain("good-slot", "%s", text))
		}
		list = append(list, c.goesOn(p, h, l, v, was, to.Release)...)
	}
	c.mu.Unlock()
	c.report(list)
}

// goesBack judges a way back; the caller holds mu.
func (c *checks) goesBack(p *payload, h *past, was standing, to manifest.Ref) []complaint {
	now := time.Since(Start)
	if was.trial && !h.trying.IsZero() {
		h.term(h.trying.Digest).back = true
	}
	if !was.committed.IsZero() && was.committed.Digest != to.Digest {
		h.leaves(was.committed.Digest, now)
		h.term(was.committed.Digest).back = true
	}
	h.out, h.trying = nil, manifest.Ref{}
	if text := h.returns(p.r.name, to); text != "" {
		return []complaint{complain("good-slot", "%s", text)}
	}
	return nil
}

// goesOn judges a switch to a release; the caller holds mu.
func (c *checks) goesOn(p *payload, h *past, l *life, v *node.View, was standing, to manifest.Ref) (list []complaint) {
	resumes := was.trial && len(was.ran) > 0 && was.ran[len(was.ran)-1] == to.Digest
	t := h.term(to.Digest)
	t.took, t.back = true, false
	if v == nil {
		return []complaint{complain("permitted-switch", "%s activates %s and knows nothing", p.r.name, to)}
	}
	h.trying, h.begun = to, time.Since(Start)
	if was.committed.IsZero() {
		h.out = nil
	} else if !resumes {
		h.out = l
	}
	s := &switching{robot: p.r.name, me: v.Self, part: p.component, from: was.committed, to: to, order: v.Order, stopped: stopOf(v), alone: c.alone(&p.r.machine, v)}
	if pr := proofOf(v); pr != nil {
		s.proven = pr.check()
	}
	if resumes {
		return nil // it was let go before a restart
	}
	if text := s.forbidden(); text != "" {
		list = append(list, complain("permitted-switch", "%s activates %s: %s", p.r.name, to, text))
	}
	if text := s.defies(); text != "" {
		list = append(list, complain("stop-stops", "%s activates %s: %s", p.r.name, to, text))
	}
	if text := s.lower(); text != "" {
		list = append(list, complain("never-backwards", "%s: %s", p.r.name, text))
	}
	if text := c.orders.outside(s); text != "" {
		list = append(list, complain("cohort-only", "%s: %s", p.r.name, text))
	}
	return append(list, c.service(s)...)
}

// ackFresh is how long ago an order may have become the newest that a voter did not
// know yet when it let a robot switch.
const ackFresh = 2 * time.Second

// alone is why no voter but the robot itself can have let it switch just now; empty if
// one can: it can be reached and does not know more. The caller holds mu.
func (c *checks) alone(m *machine, v *node.View) string {
	if v.Order == nil || v.Roster == nil || len(v.Electorate.Voters) == 1 {
		return ""
	}
	best := "reaches no voter"
	if met, ok := c.met[m]; ok && time.Since(Start)-met <= metFresh {
		return ""
	}
	for _, voter := range c.voters(v) {
		if voter.alive() == nil && voter.wasOn(metFresh) {
			return ""
		}
	}
	for _, voter := range c.reached(m, v) {
		u := voter.view()
		if u == nil || !v.Pointer().Before(u.Pointer()) || time.Since(Start)-c.orders.since < ackFresh {
			return "" // nil: a liar, or one that went down since
		}
		best = fmt.Sprintf("is at %s, and every voter that it reaches knows more", v.Pointer())
	}
	return best
}

// stopOf is why a node holds still.
func stopOf(v *node.View) string {
	switch {
	case v.Halted:
		return "it is halted"
	case v.Alarm != "":
		return "it is in alarm: " + v.Alarm
	}
	return ""
}

// service judges who is out of service now; the caller holds mu. Robots that a fault
// has switched off meanwhile, or that say goodbye, are not out by an update.
func (c *checks) service(s *switching) (list []complaint) {
	var inPlan, all member.Set
	for p, h := range c.pasts {
		v := p.r.view()
		if h.out == nil || h.out != p.r.alive() || !p.r.stays() || v == nil {
			continue
		}
		all = all.With(int(v.Self))
		if h.trying.Digest == s.to.Digest {
			inPlan = inPlan.With(int(v.Self))
		}
	}
	if r := s.rollout(); r != nil && !r.Status.Final() {
		if plan := c.plans[r.Plan]; plan != nil {
			if text := plan.tooMany(inPlan); text != "" {
				list = append(list, complain("enough-in-service", "when %s activates %s: %s", s.robot, s.to, text))
			}
		}
	}
	if s.order != nil && s.order.Electorate.Has(s.me) {
		if text := fewVoters(&s.order.Electorate, all); text != "" {
			list = append(list, complain("quorum-kept", "when %s activates %s: %s", s.robot, s.to, text))
		}
	}
	return list
}

// ships notes the plan that an operator brings to the swarm, with the roster and the
// voters that it was made on.
func (c *checks) ships(p *rollout.Plan, digest manifest.Digest, rel *manifest.Release, v *node.View) {
	list := applicants(p, digest, rel, v.Roster, v.Order.Electorate.Has)
	s := &shipped{plan: p, floors: make([]member.Set, len(p.Floors)), cohorts: draft(p, list), voters: v.Order.Electorate.Version}
	for _, a := range list {
		s.fits = s.fits.With(int(a.member.Index))
	}
	for i, f := range p.Floors {
		for _, m := range v.Roster.Robots() {
			if m.Labels[f.Label] == f.Value {
				s.floors[i] = s.floors[i].With(int(m.Index))
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plans[digest], c.orders.expires[digest] = s, p.Expires
	if !slices.ContainsFunc(c.shipped, func(x ship) bool { return x.digest == rel.Digest() }) { // a command may be tried again
		c.shipped = append(c.shipped, ship{ref: c.w.refOf(rel.Component, rel.Version), digest: rel.Digest(), at: time.Since(Start)})
	}
}

// resumes notes that an operator lets a rollout go on past what held it.
func (c *checks) resumes(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resumed[id] = true
}
