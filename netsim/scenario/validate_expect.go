package scenario

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

func (c *checker) expect() {
	e := &c.s.Expect
	known := func(name string) bool {
		return slices.ContainsFunc(Invariants(), func(i Invariant) bool { return i.Name == name })
	}
	for i, name := range e.Safety {
		path := fmt.Sprintf("expect.safety[%d]", i)
		switch {
		case (name == "all" || name == "none") && len(e.Safety) > 1:
			c.bad(path, "%s stands alone", name)
		case name != "all" && name != "none" && !known(name):
			c.bad(path, "no invariant %q; there is all, none%s", name, invariantNames())
		}
	}
	for i, name := range e.Except {
		path := fmt.Sprintf("expect.except[%d]", i)
		if !known(name) {
			c.bad(path, "no invariant %q; there is all, none%s", name, invariantNames())
		} else if !slices.Equal(e.Safety, []string{"all"}) {
			c.bad(path, "except belongs to safety: all")
		}
	}
	if e.ConvergeWithin > c.s.Duration {
		c.bad("expect.converge_within", "%s is after the end of the run, at %s", strict.FormatDuration(e.ConvergeWithin), strict.FormatDuration(c.s.Duration))
	}
	seen := map[string]bool{}
	for i, r := range e.Active {
		path := fmt.Sprintf("expect.active[%d]", i)
		component, _ := r.Split()
		if r == "" || seen[component] {
			c.bad(path, "one release of each component can be active")
		}
		if slices.Contains(e.Reverted, r) {
			c.bad(path, "%s cannot be active and reverted", r)
		}
		seen[component] = true
	}
	for i, r := range e.Reverted {
		path := fmt.Sprintf("expect.reverted[%d]", i)
		if first, _ := c.first(r); first || r == "" {
			c.bad(path, "%q: only a release that went out can come back", string(r))
		}
	}
	if p := e.Untouched; p != nil {
		c.certain("expect.untouched", *p)
	}
	c.text("expect.holds", e.Holds, maxReason)
	c.text("expect.says", e.Says, maxReason)
}

// invariantNames is what a complaint about a name lists.
func invariantNames() (list string) {
	for _, i := range Invariants() {
		list += ", " + i.Name
	}
	return list
}
