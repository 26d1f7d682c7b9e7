package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

func (c *checker) faults() {
	total := 0
	for i := range c.s.Faults {
		f, path := &c.s.Faults[i], fmt.Sprintf("faults[%d]", i)
		a, ok := f.action()
		if !ok {
			keys := make([]string, len(faultActions))
			for i := range faultActions {
				keys[i] = faultActions[i].key
			}
			set := slices.DeleteFunc(setKeys(f), func(k string) bool { return !slices.Contains(keys, k) })
			c.one(path, set, strings.Join(keys, ", "))
			continue
		}
		before := len(c.problems)
		c.timing(path, f, a)
		c.whom(path, f, a)
		if len(c.problems) == before {
			total += c.occurrences(f)
		}
		c.faultNet(path+"."+a.key, f)
		c.faultNode(path+"."+a.key, f)
	}
	if total > maxOccurrences {
		c.bad("faults", "%d faults, when all are counted out: at most %d", total, maxOccurrences)
	}
}

// timing checks when f starts and ends.
func (c *checker) timing(path string, f *Fault, a action) {
	var starts []string
	for _, k := range setKeys(f) {
		if k == "at" || k == "from" || k == "every" || k == "when" {
			starts = append(starts, k)
		}
	}
	switch {
	case len(starts) == 0:
		c.bad(path, "when? want one of at, from, every, when")
		return
	case len(starts) > 1 && !slices.Equal(starts, []string{"from", "every"}):
		c.bad(path+"."+starts[1], "%s: a fault starts in one way", strings.Join(starts, " and "))
		return
	}
	for key, t := range map[string]*time.Duration{"at": f.At, "from": f.From} {
		if t != nil {
			c.inTime(path+"."+key, *t)
		}
	}
	if f.Every > 0 {
		c.repeats(path, f)
	} else if f.Jitter > 0 || f.Times > 0 {
		c.bad(path, "jitter and times belong to every")
	}
	switch {
	case a.does == Moment && f.For > 0:
		c.bad(path+".for", "%s happens in a moment: it takes no for", a.key)
	case a.does == Moment && f.From != nil && f.Every == 0:
		c.bad(path+".from", "%s happens in a moment: say at", a.key)
	case a.does == Lasting && f.For == 0 && (f.From == nil || f.Every > 0):
		c.bad(path, "%s lasts: say for how long, with for", a.key)
	}
}

func (c *checker) repeats(path string, f *Fault) {
	switch first := f.first(); {
	case first >= c.s.Duration:
		c.bad(path+".every", "the first would be at %s, and the run ends at %s", strict.FormatDuration(first), strict.FormatDuration(c.s.Duration))
	case f.Jitter >= f.Every:
		c.bad(path+".jitter", "jitter %s must be below every %s, or faults would overtake each other", strict.FormatDuration(f.Jitter), strict.FormatDuration(f.Every))
	case f.For > f.Every:
		c.bad(path+".for", "for %s exceeds every %s: it would begin again before it ends", strict.FormatDuration(f.For), strict.FormatDuration(f.Every))
	case (c.s.Duration-first)/f.Every >= maxOccurrences && f.Times == 0:
		c.bad(path+".every", "every %s is too often for a run of %s", strict.FormatDuration(f.Every), strict.FormatDuration(c.s.Duration))
	}
}

// whom checks who is hit.
func (c *checker) whom(path string, f *Fault, a action) {
	none := a.pick == "none" || (f.Lie != nil && f.Lie.How == LieStranger)
	switch {
	case none && f.Pick != nil:
		c.bad(path+".pick", "%s takes no pick: it is about the swarm", a.key)
	case none && f.Spread > 0:
		c.bad(path+".spread", "%s takes no spread: it hits nobody one by one", a.key)
	case !none && (f.Pick == nil || f.Pick.IsZero()):
		c.bad(path, "whom? %s needs a pick", a.key)
	case f.Spread > 0 && f.Swizzle != nil:
		c.bad(path+".spread", "a swizzle has its own gap")
	}
}

// occurrences is how many faults f is, at most, when it is counted out.
func (c *checker) occurrences(f *Fault) int {
	n := 1
	if f.Every > 0 {
		n = int((c.s.Duration-f.first())/f.Every) + 1
		if f.Times > 0 {
			n = min(n, f.Times)
		}
	}
	if f.Spread > 0 || f.Swizzle != nil {
		n *= len(c.machines)
	}
	return n
}

// faultNet checks the network's faults.
func (c *checker) faultNet(path string, f *Fault) {
	if f.Partition != nil {
		c.partition(path, f.Partition)
	}
	rates := map[string]*Share{}
	switch {
	case f.Loss != nil:
		rates["rate"] = &f.Loss.Rate
		if f.Loss.Burst > 1 && f.Loss.Rate == Whole {
			c.bad(path+".burst", "100%% loss has no bursts")
		}
	case f.Duplicate != nil:
		rates["rate"] = &f.Duplicate.Rate
	case f.Reorder != nil:
		rates["rate"] = &f.Reorder.Rate
	case f.Garble != nil:
		rates["rate"] = &f.Garble.Rate
	case f.Bandwidth != nil:
		rates["factor"] = &f.Bandwidth.Factor
		if f.Bandwidth.Factor == Whole {
			c.bad(path+".factor", "100%% of the rate is no fault")
		}
	case f.Delay != nil && f.Delay.Add == 0 && f.Delay.Jitter == 0:
		c.bad(path, "a delay of nothing: set add or jitter")
	case f.Lie != nil:
		rates["rate"] = &f.Lie.Rate
	case f.BadWrite != nil:
		rates["rate"] = &f.BadWrite.Rate
	}
	for key, r := range rates {
		if *r == 0 {
			c.bad(path+"."+key, "%s is 0%%: nothing would happen", key)
		}
	}
}

func (c *checker) partition(path string, p *Partition) {
	keys := setKeys(p, "one_way")
	if len(keys) != 1 {
		c.bad(path, "a partition is cut in one way: want one of shares, groups, x, y, circle")
		return
	}
	var sum int64
	for i, s := range p.Shares {
		if sum += int64(s); s == 0 || sum > int64(Whole) || s == Whole {
			c.bad(fmt.Sprintf("%s.shares[%d]", path, i), "shares are above 0%%, and together at most 100%%, of at least two groups")
			return
		}
	}
	for i, g := range p.Groups {
		c.need(fmt.Sprintf("%s.groups[%d]", path, i), g)
	}
	for key, cuts := range map[string][]float64{"x": p.X, "y": p.Y} {
		if !slices.IsSorted(cuts) {
			c.bad(path+"."+key, "cuts go upwards")
		}
	}
	if p.Circle != nil && p.Circle.Radius == 0 {
		c.bad(path+".circle", "a circle of radius 0 has no inside")
	}
}

// faultNode checks the faults of machines and of the swarm.
func (c *checker) faultNode(path string, f *Fault) {
	switch {
	case f.Crash != nil:
		c.failPoint(path+".step", f.Crash.Step, f.Pick)
	case f.PowerCut != nil:
		c.failPoint(path+".step", f.PowerCut.Step, f.Pick)
	case f.Clock != nil && f.Clock.Jump == 0 && f.Clock.DriftPPM == 0:
		c.bad(path, "a clock that is right: set jump or drift_ppm")
	case f.Clock != nil && f.Clock.DriftPPM == 0 && f.For > 0:
		c.bad(path, "a jump is not undone: for is about drift_ppm")
	case f.Move != nil && (f.Move.To == nil) == (f.Move.By == nil):
		c.bad(path, "move where? want one of to and by")
	case f.Behave != nil && f.Behave.As.Model != "" && !c.hasModel(f.Behave.As.Model):
		c.bad(path+".as", "no group has model %q", f.Behave.As.Model)
	case f.Behave != nil && c.noRobot(f.Pick):
		c.bad(path, "releases run on robots, and %q is no robot", f.Pick.String())
	case len(f.Race) > len(c.s.Operators):
		c.bad(path, "%d words for %d operator%s: each says one", len(f.Race), len(c.s.Operators), strings.Repeat("s", len(c.s.Operators)-1))
	}
}

// noRobot reports whether p can be no robot: what is about payloads does nothing then.
func (c *checker) noRobot(p *Pick) bool {
	if p == nil || p.IsZero() || p.Truth() || c.labelled(p) {
		return false
	}
	all := Pick{Of: p.Of, But: p.But}.Choose(0, func(t Term) []string { return c.s.who(c.machines, t) })
	return len(all) > 0 && !slices.ContainsFunc(all, func(name string) bool { return c.kinds[name] == Robots })
}

// failPoint checks a named step of an update.
func (c *checker) failPoint(path, step string, whom *Pick) {
	switch {
	case step == "":
		return
	case c.noRobot(whom):
		c.bad(path, "a step is one of a robot's update, and %q is no robot", whom.String())
		return
	}
	component, phase, _ := strings.Cut(step, "/")
	known := slices.ContainsFunc(c.s.Releases, func(r Release) bool { return r.Component == component })
	if !known || (phase != "activated" && !slices.Contains(robotPhases, phase)) {
		c.bad(path, "%q is no step: want a component, a slash, and one of activated, %s", step, strings.Join(robotPhases, ", "))
	}
}
