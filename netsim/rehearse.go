package netsim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// RehearsalJudges is what a rehearsal says of itself, wherever its result is shown.
const RehearsalJudges = "it judges the plan and the network, not the release's own code"

// ErrRehearsal is wrapped when a plan, a release and a swarm do not go together.
var ErrRehearsal = errors.New("netsim: rehearsal")

// before names the release that robots run before the plan's, if the plan was made for
// a swarm that runs none.
const before = "before"

// Rehearsal is a scenario in which the swarm of s gets release r, for Options.Plan to
// ship: with the image sizes that r has for the swarm's models, and the world, the
// robots and the faults of s. What s tells of its own releases of that component is
// told of r: its first one is what the plan starts from, any other is r. Its other
// rollouts of that component are left out. r behaves well, since nothing of it runs.
//
// How much of an image robots have already is what s says of the release that r
// stands for, and nothing if it has none: the worst case. It returns
// an error wrapping ErrRehearsal if no robot of s could run r.
func Rehearsal(s *scenario.Scenario, p *rollout.Plan, r *manifest.Release) (*scenario.Scenario, error) {
	c := s.Clone()
	from := scenario.Release{Component: p.Component, Version: p.From.Version}
	if from.Version == "" {
		from.Version = before
	}
	to := scenario.Release{Component: p.Component, Version: r.Version, Behaviour: scenario.Behaviour{Kind: scenario.OK}}
	if from.Version == to.Version {
		return nil, fmt.Errorf("%w: the plan goes from %s to itself", ErrRehearsal, to.Ref())
	}
	variants, largest, err := variantsFor(c, r)
	if err != nil {
		return nil, err
	}
	to.Variants, to.Size = variants, largest
	from.Size, from.Behaviour = largest, to.Behaviour
	c.Releases, to.Shared = others(c.Releases, p.Component)
	c.Releases = append(c.Releases, from, to)
	rename(c, s, p.Component, from.Ref(), to.Ref())
	tell(c, p.Component, to.Ref())
	expect(c, p.Component, to.Ref())
	c.Duration = max(c.Duration, min(longEnough(p, len(c.Machines())), 30*24*time.Hour))
	c.Defaults()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRehearsal, err)
	}
	return c, nil
}

// variantsFor are the variants of r for the models of s, and the largest image.
func variantsFor(s *scenario.Scenario, r *manifest.Release) (list []scenario.Variant, largest scenario.Bytes, err error) {
	for i := range s.Fleet {
		g := &s.Fleet[i]
		v := variantFor(g, r)
		if v == nil {
			continue
		}
		size := max(scenario.Bytes(v.Bytes), 1<<10) // the least that a scenario knows
		largest = max(largest, size)
		if at := slices.IndexFunc(list, func(x scenario.Variant) bool { return x.Model == g.Model }); at >= 0 {
			list[at].Size = ptr(max(*list[at].Size, size))
			continue
		}
		list = append(list, scenario.Variant{Model: g.Model, Size: &size})
	}
	if len(list) == 0 {
		return nil, 0, fmt.Errorf("%w: %s has no variant for any group of %s: its variants want %v", ErrRehearsal, r.Version, s.Name, wants(r))
	}
	return list, largest, nil
}

// variantFor is the variant that robots of g would get; the largest, where only the
// platform tells, and the group does not say it.
func variantFor(g *scenario.Group, r *manifest.Release) (best *manifest.Variant) {
	for i := range r.Variants {
		v, fits := &r.Variants[i], true
		for k, want := range v.Match {
			has, said := g.Labels[k]
			if k == "model" {
				has, said = g.Model, true
			}
			fits = fits && (has == want || k == "platform" && !said)
		}
		if fits && (best == nil || v.Bytes > best.Bytes) {
			best = v
		}
	}
	return best
}

func wants(r *manifest.Release) (list []map[string]string) {
	for i := range r.Variants {
		list = append(list, r.Variants[i].Match)
	}
	return list
}

func ptr[T any](x T) *T { return &x }

// others are the releases of other components, and how much the last release of
// component shares with the one before it.
func others(all []scenario.Release, component string) (rest []scenario.Release, shared scenario.Share) {
	for _, r := range all {
		if r.Component == component {
			shared = r.Shared
		} else {
			rest = append(rest, r)
		}
	}
	return rest, shared
}

// rename says from and to where s names releases of the component.
func rename(c, s *scenario.Scenario, component string, from, to scenario.Ref) {
	names := map[scenario.Ref]scenario.Ref{}
	for i := range s.Releases {
		if r := &s.Releases[i]; r.Component == component {
			names[r.Ref()] = to
			if len(names) == 1 {
				names[r.Ref()] = from
			}
		}
	}
	anew := func(r *scenario.Ref) {
		if n, ok := names[*r]; ok {
			*r = n
		}
	}
	strict.Each(&c.Story, func(_ string, r *scenario.Ref) { anew(r) })
	strict.Each(&c.Faults, func(_ string, r *scenario.Ref) { anew(r) })
	strict.Each(&c.Expect, func(_ string, r *scenario.Ref) { anew(r) })
	strict.Each(c, func(_ string, x *scenario.Condition) { anew(&x.Release) })
	strict.Each(c, func(_ string, x *scenario.Word) { anew(&x.Release) })
	strict.Each(c, func(_ string, x *scenario.Pick) {
		for _, terms := range [][]scenario.Term{x.Of, x.But} {
			for i := range terms {
				if ref := scenario.Ref(terms[i].Value); terms[i].Key == "running" {
					anew(&ref)
					terms[i].Value = string(ref)
				}
			}
		}
	})
}

// tell leaves one step that ships the release, and none that publishes one of its
// component or takes it back.
func tell(c *scenario.Scenario, component string, to scenario.Ref) {
	shipped := false
	c.Story = slices.DeleteFunc(c.Story, func(st scenario.Step) bool {
		switch {
		case st.Ship != nil && of(st.Ship.Version, component):
			again := shipped
			shipped = true
			return again
		case st.Publish != nil:
			return of(*st.Publish, component)
		}
		return st.Rollback != nil
	})
	ship := scenario.Ship{Version: to}
	strict.Fill(&ship)
	for i := range c.Story {
		if st := &c.Story[i]; st.Ship != nil && of(st.Ship.Version, component) {
			st.Ship = &ship
			return
		}
	}
	c.Story = append(c.Story, scenario.Step{After: &scenario.Condition{Event: scenario.Joined}, Ship: &ship})
}

func of(name scenario.Ref, component string) bool {
	c, _ := name.Split()
	return c == component
}

// expect asks for the release on every robot, and for every promise, for a report that
// opens a stage rests on both; what else s expects of the end of its own releases is not
// asked. What s excepts from all promises stays so.
func expect(c *scenario.Scenario, component string, to scenario.Ref) {
	e := &c.Expect
	e.Safety = []string{"all"}
	e.Active = append(slices.DeleteFunc(e.Active, func(r scenario.Ref) bool { return of(r, component) }), to)
	e.Reverted, e.Holds, e.Says, e.Untouched = nil, "", "", nil
}

// longEnough is a run in which a plan that goes well is over: its soaks and exposure,
// and for each wave some time to install, twice.
func longEnough(p *rollout.Plan, robots int) time.Duration {
	canaries := max(uint64(p.CanaryMin), uint64(robots)*uint64(p.CanaryPermille)/1000, 1)
	exposure := time.Duration(p.CanaryGate.ExposureSeconds/canaries) * time.Second
	installs := time.Duration(len(p.Waves)+2) * min(time.Duration(p.InstallDeadlineSeconds)*time.Second, 10*time.Minute)
	return 2 * (patienceOf(p) + exposure + installs).Round(time.Minute)
}

// asGiven is the plan of a rehearsal for this world: the plan as it is, for the
// simulated swarm and its release. Nobody says of a simulated robot that it charges or
// stands still, so all do: what is rehearsed is what follows then.
func (w *World) asGiven(r *release) *rollout.Plan {
	p := *w.given
	p.Swarm, p.Release = w.swarm, r.Ref()
	t := p.Transfer
	t.OnlyWhen = 0
	p.Limit(t)
	life := p.Expires - p.Created
	p.Created = time.Now().Unix()
	p.Expires = p.Created + life
	return &p
}

// isGiven reports whether r stands for the release of a plan that is rehearsed.
func (w *World) isGiven(r *release) bool {
	return w.given != nil && w.given.Component == r.Component && w.given.Release.Version == r.Version
}

// vouch opens the sim and hil stages of a plan that is rehearsed, as their reports will.
func (o *operator) vouch(ctx context.Context, r *release) error {
	n, err := o.on()
	if err != nil {
		return err
	}
	for _, s := range []struct {
		wanted bool
		stage  order.Stage
	}{{o.w.given.Sim, order.Sim}, {o.w.given.HIL, order.HIL}} {
		if !s.wanted {
			continue
		}
		rep := rollout.Report{Format: rollout.ReportFormat, Stage: s.stage, Release: r.Digest(), Passed: true, By: "rehearsal", Runs: 1}
		e := rep.Seal(envelope.TrustScope(n.View().Trust.Root())).Sign(o.key)
		err := n.Propose(ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindReport, Report: e.Encode()})
		if err != nil && !errors.Is(err, rollout.ErrOldNews) {
			return fmt.Errorf("report on stage %s: %w", s.stage, err)
		}
	}
	return nil
}
