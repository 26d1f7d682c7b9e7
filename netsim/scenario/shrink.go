package scenario

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// A Measure says how large a scenario is. Measures are compared field by field, the
// first that differs decides; all are whole and never below 0, so that a way down
// ends.
type Measure struct {
	Faults    int
	Steps     int // of the story
	Releases  int
	Machines  int
	Duration  time.Duration
	Magnitude int64 // sizes, shares, amounts and times, each in its unit, added up
	Text      int   // bytes of the canonical form
}

// Measure is how large s is.
func (s *Scenario) Measure() Measure {
	m := Measure{Faults: len(s.Faults), Steps: len(s.Story), Releases: len(s.Releases), Machines: s.Base.Count + len(s.Operators),
		Duration: s.Duration, Text: len(s.Print())}
	for i := range s.Fleet {
		m.Machines += s.Fleet[i].Count
	}
	s.magnitudes(func(m *magnitude) { m.count() }, &m.Magnitude)
	return m
}

// Compare is below 0 if m is smaller than o.
func (m Measure) Compare(o Measure) int {
	return cmp.Or(cmp.Compare(m.Faults, o.Faults), cmp.Compare(m.Steps, o.Steps), cmp.Compare(m.Releases, o.Releases),
		cmp.Compare(m.Machines, o.Machines), cmp.Compare(m.Duration, o.Duration), cmp.Compare(m.Magnitude, o.Magnitude), cmp.Compare(m.Text, o.Text))
}

// Smaller yields scenarios that are s with something taken away, the boldest first:
// halves, quarters and so on of the faults down to single ones (ddmin: Zeller and
// Hildebrandt, 2002), steps and releases, robots, time, sizes, and what is optional.
// Each is valid and smaller than s by Measure, so that taking the first one that
// still fails, again and again, ends. s must be valid.
func (s *Scenario) Smaller() iter.Seq[*Scenario] {
	return s.down(s.fewerFaults, s.fewerSteps, s.fewerMachines, s.shorter, s.lesser, s.barer)
}

// Easier yields those of Smaller in which what is expected should come as it does in s,
// or sooner: with fewer faults or robots, or smaller sizes. The story, the time, the
// world and what is expected stay, for without them anything fails to come.
func (s *Scenario) Easier() iter.Seq[*Scenario] {
	return s.down(s.fewerFaults, s.fewerMachines, s.lesser)
}

// down yields the scenarios that moves make of s, in their order.
func (s *Scenario) down(all ...func(func(func(*Scenario)))) iter.Seq[*Scenario] {
	return func(yield func(*Scenario) bool) {
		size, seen, on := s.Measure(), map[string]bool{}, true
		try := func(change func(*Scenario)) {
			if !on {
				return
			}
			c := s.Clone()
			change(c)
			c = c.Clone() // empty lists become nil
			text := string(c.Print())
			if seen[text] || c.Measure().Compare(size) >= 0 || c.Validate() != nil {
				return
			}
			seen[text] = true
			on = yield(c)
		}
		for _, moves := range all {
			if moves(try); !on {
				return
			}
		}
	}
}

// fewerFaults tries each part of the list alone, then all without one part.
func (s *Scenario) fewerFaults(try func(func(*Scenario))) {
	total := len(s.Faults)
	if total == 0 {
		return
	}
	try(func(c *Scenario) { c.Faults = nil })
	for parts := 2; ; parts = min(2*parts, total) {
		for i := range parts {
			from, to := total*i/parts, total*(i+1)/parts
			if parts <= total/2 || parts == 2 {
				try(func(c *Scenario) { c.Faults = c.Faults[from:to] })
			}
			try(func(c *Scenario) { c.Faults = slices.Delete(c.Faults, from, to) })
		}
		if parts >= total {
			return
		}
	}
}

// fewerSteps tries to end the story earlier, and to leave out single steps and
// releases.
func (s *Scenario) fewerSteps(try func(func(*Scenario))) {
	if n := len(s.Story); n > 1 {
		try(func(c *Scenario) { c.Story = c.Story[:n/2] })
	}
	for i := len(s.Story) - 1; i >= 0; i-- {
		try(func(c *Scenario) {
			if in := c.Story[i].Invite; in != nil { // who is not invited is not there
				c.Fleet = slices.DeleteFunc(c.Fleet, func(g Group) bool { return slices.Contains(in.Groups, g.Name) })
			}
			c.Story = slices.Delete(c.Story, i, i+1)
			c.forget()
		})
	}
	for i := len(s.Releases) - 1; i >= 0; i-- {
		try(func(c *Scenario) { c.Releases = slices.Delete(c.Releases, i, i+1) })
	}
}

// fewerMachines tries without whole groups, with half of a group, and with one
// robot less.
func (s *Scenario) fewerMachines(try func(func(*Scenario))) {
	for i := range s.Fleet {
		try(func(c *Scenario) {
			name := c.Fleet[i].Name
			c.Fleet = slices.Delete(c.Fleet, i, i+1)
			for j := range c.Story {
				if in := c.Story[j].Invite; in != nil {
					in.Groups = slices.DeleteFunc(in.Groups, func(g string) bool { return g == name })
				}
			}
			c.Story = slices.DeleteFunc(c.Story, func(st Step) bool { return st.Invite != nil && len(st.Invite.Groups) == 0 })
			c.forget()
		})
	}
	for _, less := range []func(int) int{func(n int) int { return n / 2 }, func(n int) int { return n - 1 }} {
		for i := range s.Fleet {
			if n := less(s.Fleet[i].Count); n > 0 {
				try(func(c *Scenario) { c.Fleet[i].Count = n; c.forget() })
			}
		}
		try(func(c *Scenario) { c.Base.Count = max(0, less(c.Base.Count)); c.forget() })
	}
	if n := len(s.Operators) - 1; n > 0 {
		try(func(c *Scenario) { c.Operators = c.Operators[:n]; c.forget() })
	}
}

// shorter tries to end the run earlier, dropping what would come later.
func (s *Scenario) shorter(try func(func(*Scenario))) {
	for _, d := range []time.Duration{s.Duration / 2, s.Duration * 3 / 4, s.Duration * 9 / 10} {
		if d = d.Round(time.Second); d < time.Second {
			continue
		}
		try(func(c *Scenario) {
			c.Duration = d
			c.Expect.ConvergeWithin = min(c.Expect.ConvergeWithin, d)
			c.Story = slices.DeleteFunc(c.Story, func(st Step) bool { return st.At != nil && *st.At >= d })
			c.Faults = slices.DeleteFunc(c.Faults, func(f Fault) bool {
				return (f.At != nil && *f.At >= d) || (f.From != nil && *f.From >= d) || (f.Every > 0 && f.first() >= d)
			})
		})
	}
}

// barer tries without single parts that need not be there, and less of them: what
// groups have besides robots, links, and what is expected.
func (s *Scenario) barer(try func(func(*Scenario))) {
	for i := range s.Fleet {
		try(func(c *Scenario) { c.Fleet[i].Mobility = Mobility{} })
		try(func(c *Scenario) { c.Fleet[i].Place = Place{} })
		try(func(c *Scenario) { c.Fleet[i].Labels = nil })
		try(func(c *Scenario) { c.Fleet[i].Device = Device{}; strict.Fill(&c.Fleet[i].Device) })
		try(func(c *Scenario) { c.Fleet[i].Radio, c.Fleet[i].Range = "lan", 0 })
	}
	for i := len(s.World.Links) - 1; i >= 0; i-- {
		try(func(c *Scenario) { c.World.Links = slices.Delete(c.World.Links, i, i+1) })
	}
	try(func(c *Scenario) { c.World = World{}; strict.Fill(&c.World) })
	try(func(c *Scenario) { c.World.Profile = "lan" })
	try(func(c *Scenario) { c.World.Routing, c.World.Hub = "mesh", "" })
	try(func(c *Scenario) { c.World.Area = Point{} })
	try(func(c *Scenario) { c.World.Voters = Voters{}; strict.Fill(&c.World.Voters) })
	try(func(c *Scenario) { c.Base = Base{Count: c.Base.Count}; strict.Fill(&c.Base) })
	for i := range s.Operators {
		try(func(c *Scenario) { c.Operators[i] = Operator{Name: c.Operators[i].Name}; strict.Fill(&c.Operators[i]) })
	}
	if len(s.Operators) == 1 {
		try(func(c *Scenario) { c.Operators[0].Name = Operators; c.forget() })
	}
	for i := range s.Releases {
		try(func(c *Scenario) { c.Releases[i].Variants = nil })
		try(func(c *Scenario) { c.Releases[i].Behaviour = Behaviour{Kind: OK} })
	}
	for i := range s.Story {
		try(func(c *Scenario) {
			if p := c.Story[i].Ship; p != nil {
				*p = Ship{Version: p.Version}
				strict.Fill(p)
			}
		})
	}
	for _, key := range setKeys(&s.Expect, "safety") {
		try(func(c *Scenario) { fieldByKey(&c.Expect, key).SetZero() })
	}
	for i := range s.Faults {
		try(func(c *Scenario) { c.Faults[i].Jitter, c.Faults[i].Spread = 0, 0 })
	}
}
