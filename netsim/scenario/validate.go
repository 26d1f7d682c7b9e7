package scenario

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// Bounds of a scenario's lists. What people write is far below; a timeline may
// come near the last.
const (
	maxGroups      = 100
	maxReleases    = 100
	maxSteps       = 1000
	maxFaults      = 5000
	maxOccurrences = 5000
	maxReason      = 200
)

// A checker collects what is wrong with one scenario.
type checker struct {
	s        *Scenario
	doc      *strict.Document // nil for a scenario made in Go
	problems []*strict.Problem
	machines []Machine
	kinds    map[string]string // name of a machine -> its kind
	refs     map[Ref]bool
}

func (c *checker) bad(path, format string, args ...any) {
	c.problems = append(c.problems, c.doc.At(path, fmt.Sprintf(format, args...)))
}

// validate reports everything, with places in doc if there is one.
func (s *Scenario) validate(doc *strict.Document) error {
	c := &checker{s: s, doc: doc, kinds: map[string]string{}, refs: map[Ref]bool{}}
	strict.Check(s, func(path, message string) { c.bad(path, "%s", message) })
	c.head()
	if !c.sizes() {
		return c.report() // the rest would only repeat it, at length
	}
	c.machines = s.Machines()
	c.fleet()
	c.names()
	c.releases()
	c.references()
	c.world()
	c.story()
	c.faults()
	c.expect()
	return c.report()
}

// report is all problems in the order of the file, or of the paths without one.
func (c *checker) report() error {
	slices.SortStableFunc(c.problems, func(a, b *strict.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return wrap(strict.Join(c.problems))
}

func (c *checker) head() {
	if c.s.Name == "" {
		c.bad("name", "name is missing: 1 to 32 of a-z 0-9 . - _")
	} else if !manifest.ValidName(c.s.Name) {
		c.bad("name", "%q is no name: want 1 to 32 of a-z 0-9 . - _", c.s.Name)
	}
	if strings.TrimSpace(c.s.About) == "" {
		c.bad("about", "about is missing: one sentence that says what this is about")
	}
	c.text("about", c.s.About, 300)
}

// text refuses what does not fit one line of a terminal.
func (c *checker) text(path, s string, limit int) {
	if len(s) > limit || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		c.bad(path, "want one line of at most %d bytes", limit)
	}
}

// sizes bounds the lists before anything loops over their products, and says
// whether there is anything to loop over.
func (c *checker) sizes() bool {
	before := len(c.problems)
	total := min(max(c.s.Base.Count, 0), maxMachines+1) + len(c.s.Operators)
	for i := range c.s.Fleet {
		total += min(max(c.s.Fleet[i].Count, 0), maxMachines+1)
	}
	if total > maxMachines {
		c.bad("fleet", "%d machines: at most %d", total, maxMachines)
	}
	for _, l := range []struct {
		path    string
		n, most int
	}{{"fleet", len(c.s.Fleet), maxGroups}, {"releases", len(c.s.Releases), maxReleases}, {"story", len(c.s.Story), maxSteps}, {"faults", len(c.s.Faults), maxFaults}} {
		if l.n > l.most {
			c.bad(l.path, "%d %s: at most %d", l.n, l.path, l.most)
		}
	}
	if len(c.s.Fleet) == 0 {
		c.bad("fleet", "fleet is missing: at least one group of robots")
	}
	if len(c.s.Releases) == 0 {
		c.bad("releases", "releases is missing: robots join with the first of each component")
	}
	if n := len(c.s.Operators); n < 1 || n > 2 {
		c.bad("operators", "%d operators: want 1 or 2", n)
	}
	return len(c.problems) == before
}

// names checks that every machine has a name of its own that a pick can say.
func (c *checker) names() {
	for i, o := range c.s.Operators {
		path := fmt.Sprintf("operators[%d].name", i)
		c.name(path, o.Name)
		if reserved(o.Name) && (o.Name != Operators || len(c.s.Operators) > 1) {
			c.bad(path, "%q means something else in a pick: choose another name", o.Name)
		}
	}
	for _, m := range c.machines {
		if c.kinds[m.Name] != "" {
			path := "operators"
			if m.Kind == Robots {
				path = fmt.Sprintf("fleet[%d].name", m.Group)
			}
			c.bad(path, "two machines are called %q", m.Name)
		}
		c.kinds[m.Name] = m.Kind
	}
}

func (c *checker) name(path, name string) {
	if !manifest.ValidName(name) || name[0] < 'a' {
		c.bad(path, "%q is no name: want 1 to 32 of a-z 0-9 . - _, and a letter first", name)
	}
}

func (c *checker) fleet() {
	seen, here := map[string]bool{}, 0
	for i := range c.s.Fleet {
		g, path := &c.s.Fleet[i], fmt.Sprintf("fleet[%d]", i)
		c.name(path+".name", g.Name)
		if seen[g.Name] {
			c.bad(path+".name", "a second group %q", g.Name)
		}
		seen[g.Name] = true
		if reserved(g.Name) {
			c.bad(path+".name", "%q means something else in a pick: choose another name", g.Name)
		} else if len(g.Robot(g.Count-1)) > 32 {
			c.bad(path+".name", "%q is too long for its robots: %q has more than 32 letters", g.Name, g.Robot(g.Count-1))
		}
		if !manifest.ValidName(g.Model) {
			c.bad(path+".model", "%q is no model: want 1 to 32 of a-z 0-9 . - _", g.Model)
		}
		c.labels(path+".labels", g.Labels, false)
		c.place(path+".place", &g.Place)
		c.mobility(path+".mobility", &g.Mobility)
		if !g.Late {
			here += g.Count
		}
	}
	if here == 0 && !slices.ContainsFunc(c.s.Fleet, func(g Group) bool { return g.Count < 1 }) { // which is told already
		c.bad("fleet", "every group is late: nobody is there at the start")
	}
	c.place("base.place", &c.s.Base.Place)
}

// labels checks keys and values; an empty value is allowed where it takes a label
// away.
func (c *checker) labels(path string, labels map[string]string, remove bool) {
	for _, key := range sortedKeys(labels) {
		switch value := labels[key]; {
		case slices.Contains([]string{keyModel, keyGroup, keyPhase, keyRunning}, key):
			c.bad(path+"."+key, "label %q has a meaning of its own", key)
		case !manifest.ValidName(key):
			c.bad(path+"."+key, "label %q: want 1 to 32 of a-z 0-9 . - _", key)
		case !valuePattern.MatchString(value) && (value != "" || !remove):
			c.bad(path+"."+key, "label %s=%q: want 1 to 64 of letters, digits and . _ / + : @ -", key, value)
		}
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (c *checker) place(path string, p *Place) {
	if keys := setKeys(p); len(keys) > 1 {
		c.bad(path, "%s: a group stands in one way", strings.Join(keys, " and "))
	}
}

func (c *checker) mobility(path string, m *Mobility) {
	if keys := setKeys(m); len(keys) > 1 {
		c.bad(path, "%s: a group moves in one way", strings.Join(keys, " and "))
	}
	for i := 1; i < len(m.Waypoints); i++ {
		if m.Waypoints[i].At <= m.Waypoints[i-1].At {
			c.bad(fmt.Sprintf("%s.waypoints[%d].at", path, i), "waypoints follow each other: %s is not after %s", strict.FormatDuration(m.Waypoints[i].At), strict.FormatDuration(m.Waypoints[i-1].At))
		}
	}
	if a := c.s.World.Area; m.RandomWaypoint != nil && (a.X <= 0 || a.Y <= 0) {
		c.bad(path+".random_waypoint", "random waypoints need world.area, the far corner from [0, 0]")
	}
	if p := m.Patrol; p != nil && (len(p.Points) < 2 || len(slices.Compact(slices.Clone(p.Points))) < 2) {
		c.bad(path+".patrol", "a patrol goes along at least 2 points that differ")
	}
	if m.Trace != "" && !fs.ValidPath(m.Trace) {
		c.bad(path+".trace", "%q: want a file beside the scenario, such as walk.csv", m.Trace)
	}
}

func (c *checker) world() {
	w := &c.s.World
	if w.Area.X < 0 || w.Area.Y < 0 || w.Area.Z != 0 {
		c.bad("world.area", "the area is a rectangle from [0, 0] to [x, y], in metres")
	}
	switch {
	case w.Routing == "star" && w.Hub == "":
		c.bad("world.hub", "a star needs a machine in its middle: set hub")
	case w.Routing == "star" && c.kinds[w.Hub] == "":
		c.bad("world.hub", "no machine is called %q", w.Hub)
	case w.Routing != "star" && w.Hub != "":
		c.bad("world.hub", "a hub is for routing star; this is %s", w.Routing)
	}
	if p := w.Voters.Prefer; p != nil {
		c.certain("world.voters.prefer", *p)
	}
	for i := range w.Links {
		l, path := &w.Links[i], fmt.Sprintf("world.links[%d]", i)
		c.need(path+".from", l.From)
		c.need(path+".to", l.To)
		if len(setKeys(l, "from", "to", "one_way")) == 0 {
			c.bad(path, "this link changes nothing: set latency, jitter, rate, queue, loss or mtu")
		}
		for _, p := range []Pick{l.From, l.To} {
			if p.Truth() || p.Amount != nil {
				c.bad(path, "a link lies between the same machines all the time: pick by name, kind or label, not %q", p.String())
			}
		}
	}
}
