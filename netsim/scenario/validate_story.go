package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

func (c *checker) story() {
	var last time.Duration
	invited := map[string]bool{}
	for i := range c.s.Story {
		step, path := &c.s.Story[i], fmt.Sprintf("story[%d]", i)
		if step.At != nil {
			c.inTime(path+".at", *step.At)
			if *step.At < last {
				c.bad(path+".at", "%s is before the step above it, at %s: a story goes forward", strict.FormatDuration(*step.At), strict.FormatDuration(last))
			}
			last = max(last, *step.At)
		}
		if step.At != nil && step.After != nil {
			c.bad(path+".after", "at and after: a step waits for one of them")
		}
		if step.By != "" && c.kinds[step.By] != Operators {
			c.bad(path+".by", "no operator %q", step.By)
		}
		if key, _ := step.Action(); key == "" {
			c.one(path, setKeys(step, "at", "after", "by"), "ship, publish, pause, resume, renew, rollback, halt, clear, leave, return, revoke, label, invite, genesis")
			continue
		}
		c.step(path, step, invited)
	}
	for i := range c.s.Fleet {
		if g := &c.s.Fleet[i]; g.Late && !invited[g.Name] {
			c.bad(fmt.Sprintf("fleet[%d].late", i), "group %s is late and no step invites it", g.Name)
		}
	}
}

// one complains about none or several actions.
func (c *checker) one(path string, keys []string, choice string) {
	if len(keys) == 0 {
		c.bad(path, "nothing happens here: want one of %s", choice)
		return
	}
	c.bad(path+"."+keys[1], "%s: one thing at a time", strings.Join(keys, " and "))
}

func (c *checker) inTime(path string, t time.Duration) {
	if t >= c.s.Duration {
		c.bad(path, "%s is not before the end of the run, at %s", strict.FormatDuration(t), strict.FormatDuration(c.s.Duration))
	}
}

// step checks what one action alone makes impossible.
func (c *checker) step(path string, step *Step, invited map[string]bool) {
	for key, reason := range map[string]*string{"pause": step.Pause, "resume": step.Resume, "renew": step.Renew, "halt": step.Halt, "clear": step.Clear} {
		if reason != nil {
			c.text(path+"."+key, *reason, maxReason)
		}
	}
	for key, of := range map[string]struct {
		*Pick
		kind string
	}{"leave": {step.Leave, Operators}, "return": {step.Return, Operators}, "revoke": {step.Revoke, Robots}} {
		if of.Pick != nil {
			c.need(path+"."+key, *of.Pick)
			c.fixed(path+"."+key, *of.Pick, of.kind)
		}
	}
	switch {
	case step.Ship != nil:
		c.ship(path+".ship", step.Ship)
	case step.Publish != nil && *step.Publish == "":
		c.bad(path+".publish", "publish which release?")
	case step.Rollback != nil:
		c.text(path+".rollback.reason", step.Rollback.Reason, maxReason)
	case step.Label != nil:
		c.need(path+".label.pick", step.Label.Pick)
		c.fixed(path+".label.pick", step.Label.Pick, Robots)
		if len(step.Label.Set) == 0 {
			c.bad(path+".label", "set which labels?")
		}
		c.labels(path+".label.set", step.Label.Set, true)
	case step.Invite != nil:
		c.invite(path+".invite", step.Invite, invited)
	}
}

func (c *checker) invite(path string, in *Invite, invited map[string]bool) {
	if len(in.Groups) == 0 {
		c.bad(path, "invite which groups?")
	}
	for i, name := range in.Groups {
		gp := fmt.Sprintf("%s.groups[%d]", path, i)
		at := slices.IndexFunc(c.s.Fleet, func(g Group) bool { return g.Name == name })
		switch {
		case at < 0:
			c.bad(gp, "no group %q", name)
		case !c.s.Fleet[at].Late:
			c.bad(gp, "group %s is there from the start: make it late", name)
		case invited[name]:
			c.bad(gp, "group %s is invited twice", name)
		}
		invited[name] = true
	}
}

// minPlanRate is the lowest limit that a plan may set, in bytes per second.
const minPlanRate = 4 << 10

// ship checks a plan by the rules of plans.
func (c *checker) ship(path string, p *Ship) {
	switch first, _ := c.first(p.Version); {
	case p.Version == "":
		c.bad(path+".version", "ship which release?")
	case c.refs[p.Version] && first:
		c.bad(path+".version", "%s is what robots join with: ship a later one", p.Version)
	}
	c.waves(path+".waves", p.Waves)
	for _, s := range []struct {
		key string
		Share
	}{{"canary", p.Canary}, {"batch", p.Batch.Share}} {
		if s.Share%1000 != 0 {
			c.bad(path+"."+s.key, "a plan counts in per mille: at most one decimal")
		}
	}
	if p.Batch == (Amount{}) || p.Batch.Majority {
		c.bad(path+".batch", "want a share or a number above 0, or nothing could ever switch")
	}
	c.seconds(path, p)
	if p.HealthyDeadline <= p.MinHealthy {
		c.bad(path+".healthy_deadline", "healthy_deadline %s must exceed min_healthy %s", strict.FormatDuration(p.HealthyDeadline), strict.FormatDuration(p.MinHealthy))
	}
	if p.SilenceDeadline <= p.HealthyDeadline {
		c.bad(path+".silence_deadline", "silence_deadline %s must exceed healthy_deadline %s, or a robot that is going back would count as lost", strict.FormatDuration(p.SilenceDeadline), strict.FormatDuration(p.HealthyDeadline))
	}
	if len(p.Floors) > 8 {
		c.bad(path+".floors", "%d floors: at most 8", len(p.Floors))
	}
	for i, f := range p.Floors {
		if !manifest.ValidName(f.Label) || f.Value == "" || len(f.Value) > 64 {
			c.bad(fmt.Sprintf("%s.floors[%d]", path, i), "want a label, a value and min_available")
		}
	}
	if p.MaxRate > 0 && p.MaxRate < minPlanRate {
		c.bad(path+".max_rate", "want 0 for none, or at least 4KiB")
	}
	for i, name := range p.OnlyWhen {
		if !slices.Contains([]string{"charging", "still", "idle"}, name) || slices.Contains(p.OnlyWhen[:i], name) {
			c.bad(fmt.Sprintf("%s.only_when[%d]", path, i), "want charging, still or idle, each once")
		}
	}
	c.text(path+".waived", p.Waived, maxReason)
	c.text(path+".reason", p.Reason, maxReason)
	if p.DespiteQuarantine && p.Reason == "" {
		c.bad(path+".despite_quarantine", "despite_quarantine needs a reason")
	}
}

// first reports whether ref is the first release of its component.
func (c *checker) first(ref Ref) (first, found bool) {
	component, _ := ref.Split()
	for i := range c.s.Releases {
		if r := &c.s.Releases[i]; r.Component == component {
			return r.Ref() == ref, true
		}
	}
	return false, false
}

func (c *checker) waves(path string, waves []Share) {
	n := len(waves)
	if n == 0 || n > 16 || waves[n-1] != Whole {
		c.bad(path, "want 1 to 16 rising shares, the last 100%%")
		return
	}
	for i, w := range waves {
		if w == 0 || (i > 0 && w <= waves[i-1]) {
			c.bad(fmt.Sprintf("%s[%d]", path, i), "waves rise from above 0%% to 100%%")
			return
		}
		if w%1000 != 0 {
			c.bad(fmt.Sprintf("%s[%d]", path, i), "a plan counts in per mille: at most one decimal")
		}
	}
}

// seconds checks that the plan's times are what a plan can say.
func (c *checker) seconds(path string, p *Ship) {
	for _, t := range []struct {
		key string
		d   *time.Duration
	}{{"soak", &p.Soak}, {"wave_soak", p.WaveSoak}, {"final_soak", p.FinalSoak}, {"exposure", &p.Exposure}, {"min_healthy", &p.MinHealthy},
		{"healthy_deadline", &p.HealthyDeadline}, {"silence_deadline", &p.SilenceDeadline}, {"install_deadline", &p.InstallDeadline},
		{"expires", &p.Expires}, {"lease", &p.Lease}} {
		if t.d != nil && *t.d%time.Second != 0 {
			c.bad(path+"."+t.key, "a plan counts in whole seconds")
		}
	}
}
