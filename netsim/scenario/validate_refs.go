package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

func (c *checker) releases() {
	seen := map[string]bool{}
	for i := range c.s.Releases {
		r, path := &c.s.Releases[i], fmt.Sprintf("releases[%d]", i)
		if !manifest.ValidName(r.Component) {
			c.bad(path+".component", "%q is no component: want 1 to 32 of a-z 0-9 . - _", r.Component)
		}
		if !manifest.ValidVersion(r.Version) {
			c.bad(path+".version", "%q is no version: want 1 to 32 of letters, digits and . + - _, a letter or digit first", r.Version)
		}
		if c.refs[r.Ref()] {
			c.bad(path+".version", "a second release %s", r.Ref())
		}
		c.refs[r.Ref()] = true
		if !seen[r.Component] && r.Shared > 0 {
			c.bad(path+".shared", "%s is the first of its component: there is nothing to share with", r.Ref())
		}
		seen[r.Component] = true
		c.variants(path, r)
	}
}

func (c *checker) variants(path string, r *Release) {
	if m := r.Behaviour.Model; m != "" && !c.hasModel(m) {
		c.bad(path+".behaviour", "no group has model %q", m)
	}
	seen := map[string]bool{}
	for i, v := range r.Variants {
		vp := fmt.Sprintf("%s.variants[%d]", path, i)
		if !c.hasModel(v.Model) {
			c.bad(vp+".model", "no group has model %q", v.Model)
		}
		if seen[v.Model] {
			c.bad(vp+".model", "a second variant for model %q", v.Model)
		}
		seen[v.Model] = true
		if v.Behaviour != nil && v.Behaviour.Kind == FailsOn {
			c.bad(vp+".behaviour", "a variant is for one model: say crash-at-start, not fails-on")
		}
	}
}

func (c *checker) hasModel(m string) bool {
	return slices.ContainsFunc(c.s.Fleet, func(g Group) bool { return g.Model == m })
}

func (c *checker) hasGroup(name string) bool {
	return slices.ContainsFunc(c.s.Fleet, func(g Group) bool { return g.Name == name })
}

// references checks that every release and every machine that is spoken of is
// there.
func (c *checker) references() {
	strict.Each(c.s, func(path string, r *Ref) {
		if *r != "" && !c.refs[*r] {
			c.bad(path, "no release %s in releases", *r)
		}
	})
	strict.Each(c.s, func(path string, w *Condition) {
		if w.Release != "" && !c.refs[w.Release] {
			c.bad(path, "no release %s in releases", w.Release)
		}
	})
	strict.Each(c.s, func(path string, w *Word) {
		if w.Release != "" && !c.refs[w.Release] {
			c.bad(path, "no release %s in releases", w.Release)
		}
	})
	strict.Each(c.s, func(path string, p *Pick) { c.pick(path, p) })
}

// pick checks that p can be somebody.
func (c *checker) pick(path string, p *Pick) {
	if p.IsZero() {
		return
	}
	for _, t := range slices.Concat(p.Of, p.But) {
		switch {
		case t.Truth():
			if t.Key == keyRunning && !c.refs[Ref(t.Value)] {
				c.bad(path, "no release %s in releases", t.Value)
				return
			}
		case t.Value == "" && slices.Contains(staticWords, t.Key), t.Value == "" && c.kinds[t.Key] != "":
		case t.Value == "", t.Key == keyModel && !c.hasModel(t.Value), t.Key == keyGroup && !c.hasGroup(t.Value):
			c.bad(path, "nobody here is %q", t)
			return
		}
	}
	if p.Truth() {
		return
	}
	all := Pick{Of: p.Of, But: p.But}.Choose(0, func(t Term) []string { return c.s.who(c.machines, t) })
	if len(all) == 0 {
		if !c.labelled(p) {
			c.bad(path, "%q picks nobody", p.String())
		}
	} else if p.Amount != nil && p.Amount.Count > len(all) {
		c.bad(path, "%q: there are only %d", p.String(), len(all))
	}
}

// labelled reports whether p speaks of a label that the story sets later.
func (c *checker) labelled(p *Pick) bool {
	for _, step := range c.s.Story {
		if step.Label == nil {
			continue
		}
		for _, t := range p.Of {
			if v, is := step.Label.Set[t.Key]; is && v == t.Value {
				return true
			}
		}
	}
	return false
}

// need checks that somebody is picked at all.
func (c *checker) need(path string, p Pick) {
	if p.IsZero() {
		c.bad(path, "pick is missing: say which machines")
	}
}

// certain checks that p is neither a matter of truth nor of chance.
func (c *checker) certain(path string, p Pick) bool {
	switch {
	case p.Truth():
		c.bad(path, "%q is known only during the run: name machines", p.String())
	case p.Amount != nil:
		c.bad(path, "%q is left to chance: name machines", p.String())
	default:
		return true
	}
	return false
}

// fixed checks that p is certain machines of one kind.
func (c *checker) fixed(path string, p Pick, kind string) {
	if !c.certain(path, p) {
		return
	}
	for _, name := range p.Choose(0, func(t Term) []string { return c.s.who(c.machines, t) }) {
		if c.kinds[name] != kind {
			c.bad(path, "%s is no %s", name, strings.TrimSuffix(kind, "s"))
			return
		}
	}
}
