package fabric

import (
	"slices"
	"time"
)

// goodLink is the share of packets lost by distance up to which a mesh prefers a
// hop: at a third, one hop costs more transmissions than two good ones (ETX, De
// Couto et al., MobiCom 2003, counting the acknowledgement's way back too).
const goodLink = 0.3

// A graph is who hears whom, as a mesh's routing protocol has learned it.
type graph struct {
	version uint64    // of the network then
	good    [][]*Host // by host: who hears it well, by index
	any     [][]*Host // by host: who hears it at all
	trees   []*tree   // by host; nil until asked for
}

// A tree says by host who comes before it on the way from the root; nil is nobody.
type tree struct{ good, any []*Host }

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

// direct reports whether one hop is the best way from a to b.
func (n *Net) direct(a, b *Host) bool {
	lost, ok := signal(a, b)
	return a == b || ok && lost <= goodLink && !n.blocked(a, b)
}

// learn asks every host whom it hears.
func (n *Net) learn() *graph {
	g := &graph{
		version: n.version, trees: make([]*tree, len(n.hosts)),
		good: make([][]*Host, len(n.hosts)), any: make([][]*Host, len(n.hosts)),
	}
	for i, a := range n.hosts {
		for _, b := range n.hosts {
			lost, ok := signal(a, b)
			if !ok || a == b || n.blocked(a, b) {
				continue
			}
			g.any[i] = append(g.any[i], b)
			if lost <= goodLink {
				g.good[i] = append(g.good[i], b)
			}
		}
	}
	return g
}

// way is the shortest way from a to b, of good hops if there is one.
func (g *graph) way(a, b *Host) []*Host {
	if max(a.index, b.index) >= len(g.trees) {
		return nil // nobody has heard of it yet
	}
	t := g.trees[a.index]
	if t == nil {
		t = &tree{good: grow(a, g.good), any: grow(a, g.any)}
		g.trees[a.index] = t
	}
	for _, prev := range [][]*Host{t.good, t.any} {
		if prev[b.index] == nil {
			continue
		}
		out := []*Host{b}
		for h := b; h != a; {
			h = prev[h.index]
			out = append(out, h)
		}
		slices.Reverse(out)
		return out
	}
	return nil
}

// grow searches breadth first from a; ties go to the lower index.
func grow(a *Host, next [][]*Host) (prev []*Host) {
	prev = make([]*Host, len(next))
	prev[a.index] = a
	for todo := []*Host{a}; len(todo) > 0; todo = todo[1:] {
		if todo[0] != a && !todo[0].wired {
			continue // without power it relays nothing
		}
		for _, h := range next[todo[0].index] {
			if prev[h.index] == nil {
				prev[h.index] = todo[0]
				todo = append(todo, h)
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
