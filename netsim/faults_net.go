package netsim

import (
	"context"
	"slices"
	"sort"

	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// apply lays faults over the network and returns what lifts them all.
func (w *World) apply(faults ...fabric.Fault) (func(), error) {
	var lifts []func()
	lift := func() {
		for _, l := range lifts {
			l()
		}
	}
	for _, f := range faults {
		l, err := w.net.Apply(f)
		if err != nil {
			lift()
			return nil, err
		}
		lifts = append(lifts, l)
	}
	return lift, nil
}

// over lays what kind gives for the links of the picked machines over the network;
// if nobody is there, nothing.
func (w *World) over(f *scenario.Fault, e scenario.Ends, names []string, kind func(fabric.Links) fabric.Fault) (func(), error) {
	var to []string // empty is every host, also one that comes later
	if e.To != nil {
		if to = w.here(e.To, f.Draw); len(to) == 0 {
			return w.apply()
		}
	}
	switch {
	case len(names) == 0:
		return w.apply()
	case f.Pick.String() == scenario.All:
		names = nil
	}
	if e.Direction == "in" {
		names, to = to, names
	}
	return w.apply(kind(fabric.Links{From: names, To: to, Both: e.Direction == "both"}))
}

// here are those of a pick that are there.
func (w *World) here(p *scenario.Pick, draw uint64) []string {
	return slices.DeleteFunc(w.pick(p, draw), func(n string) bool { return w.machineNamed(n) == nil })
}

func (w *World) clog(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.Clog.Ends, names, func(l fabric.Links) fabric.Fault { return fabric.Clog{On: l} })
}

func (w *World) lossy(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.Loss.Ends, names, func(l fabric.Links) fabric.Fault {
		if f.Loss.Burst <= 1 {
			return fabric.Loss{On: l, Share: f.Loss.Rate.Float()}
		}
		return fabric.Loss{On: l, Burst: burst(f.Loss.Rate.Float(), f.Loss.Burst)}
	})
}

// burst loses rate of the packets, length in a row on average. If so much loss cannot
// be had in bursts so short, they are longer.
func burst(rate float64, length int) fabric.Burst {
	b := fabric.Burst{End: 1 / float64(length), Share: 1}
	if b.Begin = b.End * rate / (1 - rate); b.Begin > 1 {
		b.Begin, b.End = 1, (1-rate)/rate
	}
	return b
}

func (w *World) throttle(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.Bandwidth.Ends, names, func(l fabric.Links) fabric.Fault {
		return fabric.Bandwidth{On: l, Factor: f.Bandwidth.Factor.Float()}
	})
}

func (w *World) delay(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.Delay.Ends, names, func(l fabric.Links) fabric.Fault {
		// The scenario names the most that jitter adds, the network draws around a mean.
		return fabric.Delay{On: l, Add: f.Delay.Add, Jitter: f.Delay.Jitter / 2}
	})
}

func (w *World) duplicate(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.Duplicate.Ends, names, func(l fabric.Links) fabric.Fault {
		return fabric.Duplicate{On: l, Share: f.Duplicate.Rate.Float()}
	})
}

func (w *World) reorder(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.Reorder.Ends, names, func(l fabric.Links) fabric.Fault {
		return fabric.Reorder{On: l, Share: f.Reorder.Rate.Float(), By: f.Reorder.By}
	})
}

func (w *World) garble(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.Garble.Ends, names, func(l fabric.Links) fabric.Fault {
		return fabric.Corrupt{On: l, Share: f.Garble.Rate.Float()}
	})
}

func (w *World) mtu(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	return w.over(f, f.MTU.Ends, names, func(l fabric.Links) fabric.Fault { return fabric.MTU{On: l, Bytes: int(f.MTU.Bytes)} })
}

// partition cuts the network into groups.
func (w *World) partition(_ context.Context, f *scenario.Fault, _ []string) (func(), error) {
	groups := w.groups(f)
	if len(groups) == 0 {
		return w.apply()
	}
	w.truth.note("netsim", "groups", "%v", groups)
	if !f.Partition.OneWay {
		return w.apply(fabric.Partition{Groups: groups})
	}
	// Nothing passes from a group to a later one. The network cuts one group off from
	// all others; to cut a group from the later ones only, the earlier ones join it.
	var cuts []fabric.Fault
	var first []string
	for _, g := range groups {
		first = append(first, g...)
		cuts = append(cuts, fabric.Partition{Groups: [][]string{slices.Clone(first)}, OneWay: true})
	}
	return w.apply(cuts...)
}

// groups are the parts of a partition, as machines stand now. None is empty, and
// nobody is in two: the first counts. Who is in none is in one more.
func (w *World) groups(f *scenario.Fault) [][]string {
	p := f.Partition
	var list [][]string
	switch {
	case len(p.X) > 0:
		list = w.strips(p.X, func(at fabric.Point) float64 { return at.X })
	case len(p.Y) > 0:
		list = w.strips(p.Y, func(at fabric.Point) float64 { return at.Y })
	case p.Circle != nil:
		list = [][]string{w.inside(p.Circle)}
	}
	for i := range p.Groups {
		list = append(list, w.here(&p.Groups[i], f.Draw))
	}
	seen := map[string]bool{}
	var out [][]string
	for _, g := range list {
		g = slices.DeleteFunc(g, func(n string) bool { return seen[n] })
		for _, n := range g {
			seen[n] = true
		}
		if len(g) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// strips cuts all machines along lines, which rise. Who stands on a line is below it.
func (w *World) strips(cuts []float64, along func(fabric.Point) float64) [][]string {
	list := make([][]string, len(cuts)+1)
	for _, m := range w.machines() {
		i := sort.SearchFloat64s(cuts, along(m.host.Position()))
		list[i] = append(list[i], m.name)
	}
	return list
}

// inside are the machines in a circle on the map, whatever their height.
func (w *World) inside(c *scenario.Circle) (names []string) {
	for _, m := range w.machines() {
		at := scenario.Point(m.host.Position())
		if (scenario.Point{X: at.X, Y: at.Y}).Distance(scenario.Point{X: c.Center.X, Y: c.Center.Y}) <= c.Radius {
			names = append(names, m.name)
		}
	}
	return names
}
