package netsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// What brings the facts of a look, and what must be so at last.

// live is what the watcher remembers between two looks.
type live struct {
	late   streak
	scene  string        // who is on and together, as text; a change starts all clocks anew
	since  time.Duration // since when the scene is so, and no fault is left
	core   []*machine    // of the largest island, honest, as of scene
	newest order.Pointer // in the core
	moved  time.Duration // when newest last changed
}

// Islands are looked for, and what must be so at last is judged, at this pace; the
// members that each node sees are compared more rarely still, for that is quadratic.
const (
	judgeEvery   = 5 * time.Second
	membersEvery = 30 * time.Second
)

// leaders judges who leads now.
func (c *checks) leaders() (list []complaint) {
	for _, m := range c.w.machines() {
		l := m.alive()
		if l == nil {
			continue
		}
		v := l.node.View()
		if v == nil || !v.Votes() {
			continue
		}
		if term, leads := l.node.Leads(); leads {
			c.mu.Lock()
			list = append(list, c.reigns.second(reign{v.Genesis.Order.Generation, term}, m.name)...)
			c.mu.Unlock()
		}
	}
	return list
}

// lingering judges payloads that should have come to rest.
func (c *checks) lingering(now time.Duration) (list []complaint) {
	for _, r := range c.w.allRobots() {
		l := r.alive()
		if l == nil {
			continue
		}
		for _, p := range r.parts {
			s := c.w.truth.standing(p)
			c.mu.Lock()
			if text := c.past(p).lingers(r.name, s, now, l.since.Sub(Start), c.trialLimit(p)); text != "" {
				list = append(list, complain("good-slot", "%s", text))
			}
			c.mu.Unlock()
		}
	}
	return list
}

// trialLimit is how long what p has on trial may take to be judged: its plan's deadline
// or its own, and a moment to go back. The caller holds mu.
func (c *checks) trialLimit(p *payload) time.Duration {
	limit := healthyDeadline
	for _, plan := range c.plans {
		if plan.plan.Component == p.component {
			limit = max(limit, time.Duration(plan.plan.HealthyDeadlineSeconds)*time.Second)
		}
	}
	return limit + 30*time.Second
}

// sizes measures what nodes keep and say.
func (c *checks) sizes() (list []complaint) {
	for _, m := range c.w.machines() {
		l := m.alive()
		if l == nil || l.node.View() == nil {
			continue
		}
		report, meta := l.node.Longest()
		list = append(list, beyond(m.name, heard(report, meta))...)
		if files, err := snapshots(m.cfg.Dir); err == nil { // a directory may go while it is read
			list = append(list, beyond(m.name, files)...)
		}
	}
	return list
}

// honestCore is the largest group of machines that are on, never lied, belong to the
// swarm and reach each other.
func (c *checks) honestCore() (core []*machine) {
	byHost := map[int]*machine{}
	for _, m := range c.w.machines() {
		c.mu.Lock()
		liar := c.liars[m.name]
		c.mu.Unlock()
		if v := m.view(); v != nil && v.Me() != nil && !liar && !c.w.watch.isRevoked(m.name) {
			byHost[m.host.Index()] = m
		}
	}
	for _, island := range c.w.net.Islands() {
		var list []*machine
		for _, i := range island {
			if m := byHost[i]; m != nil {
				list = append(list, m)
			}
		}
		if len(list) > len(core) {
			core = list
		}
	}
	return core
}

// atLast judges what must be so once faults have ended and nobody comes or goes.
func (c *checks) atLast(now time.Duration) (list []complaint) {
	x := &c.live
	if now%judgeEvery < lookEvery {
		x.core = c.honestCore()
		scene := ""
		for _, m := range x.core {
			scene += fmt.Sprintf("%s#%d ", m.name, m.lives())
		}
		if scene != x.scene || c.w.troubled() {
			x.scene, x.since = scene, now
		}
	}
	if now == x.since || len(x.core) == 0 {
		return nil
	}
	limits := limitsOf(c.w.scenario.World.Profile, len(x.core))
	o := c.orderOf(x.core)
	if o == nil {
		return nil
	}
	list = append(list, c.ledAtLast(now, o, limits)...)
	if now%judgeEvery >= lookEvery {
		return list
	}
	list = append(list, c.knownAtLast(now, limits)...)
	list = append(list, c.restAtLast(now, o, limits)...)
	list = append(list, c.seatedAtLast(now, o, limits)...)
	if now%membersEvery < lookEvery {
		list = append(list, c.seenAtLast(now, limits)...)
	}
	return list
}

// orderOf is the newest order that any of some machines has verified, or nil.
func (c *checks) orderOf(core []*machine) (newest *order.Order) {
	for _, m := range core {
		if v := m.view(); v != nil && v.Order != nil && (newest == nil || newest.Pointer().Before(v.Order.Pointer())) {
			newest = v.Order
		}
	}
	return newest
}

// seats are the voters in the core that reach all its other voters.
func (c *checks) seats(e *order.Electorate) (seats []*machine) {
	var voters []*machine
	for _, m := range c.live.core {
		if v := m.view(); v != nil && e.Has(v.Self) {
			voters = append(voters, m)
		}
	}
	for _, a := range voters {
		reaches := true
		for _, b := range voters {
			reaches = reaches && (a == b || c.w.net.Reach(a.host.Index(), b.host.Index()) && c.w.net.Reach(b.host.Index(), a.host.Index()))
		}
		if reaches {
			seats = append(seats, a)
		}
	}
	return seats
}

// ledAtLast: a core with a quorum has a leader.
func (c *checks) ledAtLast(now time.Duration, o *order.Order, within limits) []complaint {
	seats := c.seats(&o.Electorate)
	led := len(seats) < quorumOf(len(o.Electorate.Voters))
	for _, m := range seats {
		if l := m.alive(); l != nil {
			_, leads := l.node.Leads()
			led = led || leads
		}
	}
	if c.live.late.overdue("leader", led, now, c.live.since, within.leader) {
		return []complaint{complain("one-leader-at-last", "%d of %d voters reach each other and none has led for %s", len(seats), len(o.Electorate.Voters), within.leader)}
	}
	return nil
}

// knownAtLast: all of the core know its newest order.
func (c *checks) knownAtLast(now time.Duration, within limits) []complaint {
	var mates []mate
	for _, m := range c.live.core {
		if v := m.view(); v != nil {
			mates = append(mates, mate{name: m.name, order: v.Pointer()})
		}
	}
	newest, late := behind(mates)
	if newest != c.live.newest {
		c.live.newest, c.live.moved = newest, now
	}
	if c.live.late.overdue("order", len(late) == 0, now, max(c.live.since, c.live.moved), within.order) {
		return []complaint{complain("newest-order-at-last", "%v do not have %s after %s", late, newest, within.order)}
	}
	return nil
}

// seenAtLast: all of the core see each other, if each can send to each.
func (c *checks) seenAtLast(now time.Duration, within limits) []complaint {
	var mates []mate
	var want []string
	for _, m := range c.live.core {
		want = append(want, m.name)
	}
	slices.Sort(want)
	for _, m := range c.live.core {
		l := m.alive()
		if l == nil {
			continue
		}
		for _, b := range c.live.core {
			if m != b && !c.w.net.Reach(m.host.Index(), b.host.Index()) {
				return nil
			}
		}
		alive := []string{}
		for _, n := range l.node.Nodes().Nodes {
			if n.State == "alive" && !n.Revoked && !c.liar(string(n.ID)) {
				alive = append(alive, string(n.ID))
			}
		}
		slices.Sort(alive)
		mates = append(mates, mate{name: m.name, alive: alive})
	}
	text := strangers(mates, want)
	if c.live.late.overdue("members", text == "", now, c.live.since, within.members) {
		return []complaint{complain("same-members-at-last", "after %s %s", within.members, text)}
	}
	return nil
}

func (c *checks) liar(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.liars[name]
}

// seatedAtLast: the voters are there, and as many as there should be.
func (c *checks) seatedAtLast(now time.Duration, o *order.Order, within limits) []complaint {
	can, there := 0, 0
	for _, m := range c.live.core {
		v := m.view()
		if v == nil || v.Me() == nil {
			continue
		}
		if !v.Me().NoVote && v.Me().Role != member.Operator {
			can++
		}
		if o.Electorate.Has(v.Self) {
			there++
		}
	}
	want := min(c.w.scenario.World.Voters.Count, founders, can)
	so := there >= want || (o.Rollout != nil && !o.Rollout.Status.Final())
	if c.live.late.overdue("voters", so || len(c.seats(&o.Electorate)) < quorumOf(len(o.Electorate.Voters)), now, c.live.since, within.voters) {
		return []complaint{complain("voters-at-last", "%d voters are there after %s, %d could be", there, within.voters, want)}
	}
	return nil
}

// founders is how many voters a swarm has by itself.
const founders = 4
