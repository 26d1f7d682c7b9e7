package scenario

import (
	"slices"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// forget takes machines that are not there any more out of every pick, and what
// was about them alone out of the scenario.
func (s *Scenario) forget() {
	here := map[string]bool{}
	for _, m := range s.Machines() {
		here[m.Name] = true
	}
	for i := range s.Fleet {
		here[keyModel+"="+s.Fleet[i].Model], here[keyGroup+"="+s.Fleet[i].Name] = true, true
	}
	gone := func(t Term) bool {
		if t.Value == "" {
			return !here[t.Key] && !slices.Contains(staticWords, t.Key) && !t.Truth()
		}
		return (t.Key == keyModel || t.Key == keyGroup) && !here[t.String()]
	}
	emptied := func(v any) (empty bool) {
		strict.Each(v, func(_ string, p *Pick) {
			if p.IsZero() {
				return
			}
			p.Of, p.But = slices.DeleteFunc(p.Of, gone), slices.DeleteFunc(p.But, gone)
			empty = empty || len(p.Of) == 0
		})
		return empty
	}
	s.Faults = slices.DeleteFunc(s.Faults, func(f Fault) bool { return emptied(&f) })
	s.Story = slices.DeleteFunc(s.Story, func(st Step) bool { return emptied(&st) || !s.operates(st.By) })
	s.World.Links = slices.DeleteFunc(s.World.Links, func(l Link) bool { return emptied(&l) })
	if emptied(&s.World.Voters) {
		s.World.Voters.Prefer = nil
	}
	if emptied(&s.Expect) {
		s.Expect.Untouched = nil
	}
}

func (s *Scenario) operates(name string) bool {
	return name == "" || slices.ContainsFunc(s.Operators, func(o Operator) bool { return o.Name == name })
}

// A magnitude is one number of a scenario that may be smaller.
type magnitude struct {
	value int64
	set   func(int64)
	least int64 // below which it is not tried
	total *int64
}

func (m *magnitude) count() { *m.total += m.value }

// magnitudes calls do for each size, share, amount, time and whole number of
// releases, story and faults; starts are not among them. Times count in
// milliseconds.
func (s *Scenario) magnitudes(do func(*magnitude), total *int64) {
	share := func(_ string, v *Share) {
		do(&magnitude{int64(*v), func(n int64) { *v = Share(n) / 1000 * 1000 }, int64(Percent), total})
	}
	amount := func(_ string, v *Amount) {
		do(&magnitude{int64(v.Count), func(n int64) { v.Count = int(n) }, 1, total})
		share("", &v.Share)
	}
	bytes := func(_ string, v *Bytes) {
		do(&magnitude{int64(*v), func(n int64) { *v = Bytes(n) }, 64 << 10, total})
	}
	span := func(v *time.Duration) {
		do(&magnitude{int64(*v / time.Millisecond), func(n int64) { *v = (time.Duration(n) * time.Millisecond).Truncate(time.Second) }, 1000, total})
	}
	for i := range s.Releases {
		strict.Each(&s.Releases[i], bytes)
		strict.Each(&s.Releases[i], share)
	}
	for i := range s.Story {
		if p := s.Story[i].Ship; p != nil {
			for _, d := range []*time.Duration{&p.Soak, p.WaveSoak, p.FinalSoak, &p.Exposure} {
				if d != nil {
					span(d)
				}
			}
		}
	}
	for i := range s.Faults {
		f := &s.Faults[i]
		span(&f.For)
		span(&f.Spread)
		if p := f.Pick; p != nil && p.Amount != nil {
			amount("", p.Amount)
		}
		strict.Each(f, share)
		strict.Each(f, bytes)
		if f.Every > 0 && f.Times != 1 {
			do(&magnitude{int64(f.Times), func(n int64) { f.Times = int(n) }, 1, total})
		}
	}
}

// lesser tries each magnitude at half of what it is.
func (s *Scenario) lesser(try func(func(*Scenario))) {
	var unused int64
	n := 0
	s.magnitudes(func(*magnitude) { n++ }, &unused)
	for want := range n {
		try(func(c *Scenario) {
			at := 0
			c.magnitudes(func(m *magnitude) {
				if at == want && m.value/2 >= m.least {
					m.set(m.value / 2)
				}
				at++
			}, &unused)
		})
	}
}
