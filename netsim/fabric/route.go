package fabric

import (
	"math"
	"slices"
	"time"
)

// hopPenalty is the share of a route's worth that each hop takes, beside what it
// loses: of two routes that lose alike, the shorter one needs less air. It is that of
// batman-adv, 30 of 255.
const hopPenalty = 30.0 / 255

// A graph is who hears whom, as a mesh's routing protocol has learned it.
type graph struct {
	version uint64    // of the network then
	next    [][]hop   // by host: who hears it, by index
	trees   [][]*Host // by host: for each other one, who comes before it on the way there; nil until asked for
}

// A hop leads to a host that hears another. Its cost is -ln of its worth, the share of
// packets that pass times what the penalty leaves, so that costs add up as worths
// multiply: the way with the least cost is the one that B.A.T.M.A.N. IV takes by its
// transmit quality.
type hop struct {
	to   *Host
	cost float64
}

// route lists the hosts from a to b, both included; it is empty if there is no
// way. It holds until the returned time, unless the network changes before.
func (n *Net) route(a, b *Host, now time.Duration) (hops []*Host, until time.Duration) {
	if n.cfg.Routing != Mesh || n.direct(a, b) {
		return n.fixed(a, b), never
	}
	old := n.graph != nil && n.graph.version != n.version
	if until = n.changed + n.cfg.RouteLag; old && now < until {
		return n.graph.way(a, b), until
	}
	if n.graph == nil || old {
		n.graph = n.learn()
	}
	return n.graph.way(a, b), never
}

// fixed is the way that needs no learning.
func (n *Net) fixed(a, b *Host) []*Host {
	hub := n.named[n.cfg.Hub]
	switch {
	case n.cfg.Routing == Star && hub == nil && a != b:
		return nil
	case n.cfg.Routing == Star && a != hub && b != hub && a != b:
		return []*Host{a, hub, b}
	}
	return []*Host{a, b}
}

// direct reports whether one hop is the best way from a to b: it loses less than a
// second hop would cost.
func (n *Net) direct(a, b *Host) bool {
	lost, ok := signal(a, b)
	return a == b || ok && lost <= hopPenalty && !n.blocked(a, b)
}

// learn asks every host whom it hears.
func (n *Net) learn() *graph {
	g := &graph{version: n.version, next: make([][]hop, len(n.hosts)), trees: make([][]*Host, len(n.hosts))}
	for i, a := range n.hosts {
		for _, b := range n.hosts {
			far, ok := signal(a, b)
			if !ok || a == b || n.blocked(a, b) {
				continue
			}
			near := 1 - (a.radio.Loss+b.radio.Loss)/2
			g.next[i] = append(g.next[i], hop{b, -math.Log((1 - far) * near * (1 - hopPenalty))})
		}
	}
	return g
}

// way is the best way from a to b.
func (g *graph) way(a, b *Host) []*Host {
	if max(a.index, b.index) >= len(g.trees) {
		return nil // nobody has heard of it yet
	}
	if g.trees[a.index] == nil {
		g.trees[a.index] = grow(a, g.next)
	}
	prev := g.trees[a.index]
	if prev[b.index] == nil {
		return nil
	}
	out := []*Host{b}
	for h := b; h != a; {
		h = prev[h.index]
		out = append(out, h)
	}
	slices.Reverse(out)
	return out
}

// grow searches the best ways from a to all (Dijkstra 1959); ties go to the host that
// was reached first, by lower index.
func grow(a *Host, next [][]hop) (prev []*Host) {
	prev = make([]*Host, len(next))
	cost := make([]float64, len(next))
	for i := range cost {
		cost[i] = math.Inf(1)
	}
	var todo frontier
	todo.push(reached{0, a, a})
	for len(todo) > 0 {
		r := todo.pop()
		if prev[r.at.index] != nil {
			continue // by a better way before
		}
		prev[r.at.index] = r.from
		if r.at != a && !r.at.wired {
			continue // without power it relays nothing
		}
		for _, h := range next[r.at.index] {
			if c := r.cost + h.cost; prev[h.to.index] == nil && c < cost[h.to.index] {
				cost[h.to.index] = c
				todo.push(reached{c, h.to, r.at})
			}
		}
	}
	return prev
}

// blocked reports whether a fault cuts the hop from a to b.
func (n *Net) blocked(a, b *Host) bool {
	for _, f := range n.faults {
		if f.fault.cuts() && f.covers(a.index, b.index) {
			return true
		}
	}
	return false
}

// Reach reports whether packets from host a come to host b as things are now: both
// have power, there is a way, and no partition, clog or total loss lies on it. It
// knows the truth at once, also where a mesh has yet to find it out. Hosts are named
// by their index; one that does not exist is never reached.
func (n *Net) Reach(a, b int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if min(a, b) < 0 || max(a, b) >= len(n.hosts) {
		return false
	}
	return n.reaches(n.hosts[a], n.hosts[b])
}

func (n *Net) reaches(a, b *Host) bool {
	if n.cfg.Routing != Mesh || n.direct(a, b) {
		return n.open(a, b, n.fixed(a, b))
	}
	if n.truth == nil || n.truth.version != n.version {
		n.truth = n.learn()
	}
	return n.open(a, b, n.truth.way(a, b))
}

// open reports whether anything gets from a to b over these hops.
func (n *Net) open(a, b *Host, hops []*Host) bool {
	if !a.wired || !b.wired {
		return false
	}
	p := n.sketch(a, b, hops)
	return p.ok && p.clog == nil && p.meanLoss() < 1
}

// Islands lists the groups of hosts that reach each other in both directions,
// directly or over one another, whatever the routing would do for them. Hosts without
// power are in none. Groups and their members are ordered by index.
func (n *Net) Islands() [][]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out [][]int
	seen := make([]bool, len(n.hosts))
	for i, h := range n.hosts {
		if seen[i] || !h.wired {
			continue
		}
		seen[i] = true
		island := []int{i}
		for k := 0; k < len(island); k++ {
			a := n.hosts[island[k]]
			for j, b := range n.hosts {
				if !seen[j] && n.open(a, b, n.fixed(a, b)) && n.open(b, a, n.fixed(b, a)) {
					seen[j] = true
					island = append(island, j)
				}
			}
		}
		slices.Sort(island)
		out = append(out, island)
	}
	return out
}
