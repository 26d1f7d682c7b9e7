package netsim

import (
	"time"

	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
)

// metFresh is how long ago a robot that moves may have parted from the voter that let
// it switch, or that voter may have lost its power: so long a word may be on its way
// where the air is full.
const metFresh = 5 * time.Second

// voters are the machines of the voters that a view names, but its own.
func (c *checks) voters(v *node.View) (list []*machine) {
	for _, seat := range v.Electorate.Voters {
		if seat.Member == v.Self || int(seat.Member) >= len(v.Roster.Members) {
			continue
		}
		if voter := c.w.machineNamed(string(v.Roster.Members[seat.Member].ID)); voter != nil {
			list = append(list, voter)
		}
	}
	return list
}

// reached are the voters but m itself that m and they reach each other.
func (c *checks) reached(m *machine, v *node.View) (list []*machine) {
	for _, voter := range c.voters(v) {
		if c.w.net.Reach(m.host.Index(), voter.host.Index()) && c.w.net.Reach(voter.host.Index(), m.host.Index()) {
			list = append(list, voter)
		}
	}
	return list
}

// meet notes which robots that ask for leave to switch have a voter in reach that does
// not know more than they.
func (c *checks) meet(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.w.allRobots() {
		v := r.view()
		if v == nil || v.Electorate == nil || v.Roster == nil || !c.w.asks(r) {
			continue
		}
		for _, voter := range c.reached(&r.machine, v) {
			if u := voter.view(); u == nil || !v.Pointer().Before(u.Pointer()) {
				c.met[&r.machine] = now
			}
		}
	}
}

// asks reports whether a payload of r waits for leave to switch.
func (w *World) asks(r *robot) bool {
	for _, p := range r.parts {
		if w.watch.phaseOf(p) == member.Armed.String() {
			return true
		}
	}
	return false
}
