package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
)

// start opens a rollout, if the operator's plan and word for it hold here and now.
func (s *State) start(d *Start) error {
	in, keys, err := s.openIntent(d.Intent)
	if err != nil {
		return err
	}
	plan, env, err := OpenPlan(d.Plan, s.Swarm, s.Roles.Plan)
	if err != nil {
		return err
	}
	if in.Verb != VerbStart || in.Plan != env.Digest() {
		return fmt.Errorf("%w: the intent to %s is not for plan %s", ErrDecision, in.Verb, env.Digest().Short())
	}
	if got := d.Extract.Digest(); got != in.Extract {
		return fmt.Errorf("%w: the extract %s is not the one that the operator signed for, %s", ErrDecision, got.Short(), in.Extract.Short())
	}
	rel, err := decodeAs(d.Release, plan.Release, plan.Component)
	if err != nil {
		return err
	}
	if err := s.mayStart(plan, rel, d.From); err != nil {
		return err
	}
	if err := d.Extract.check(plan, rel, s); err != nil {
		return err
	}
	if err := s.count(keys, in.Counter); err != nil {
		return err
	}
	return s.open(plan, env.Digest(), rel, d.Extract)
}

// decodeAs parses an encoded release and checks that it is the one that ref names.
func decodeAs(data []byte, ref manifest.Ref, component string) (*manifest.Release, error) {
	if manifest.Sum(data) != ref.Digest {
		return nil, fmt.Errorf("%w: the release that came along is not %s", ErrDecision, ref)
	}
	rel, err := manifest.DecodeRelease(data)
	if err != nil {
		return nil, err
	}
	if rel.Ref() != ref || rel.Component != component {
		return nil, fmt.Errorf("%w: %s is %s %s, counter %d", ErrDecision, ref, rel.Component, rel.Version, rel.Counter)
	}
	return rel, nil
}

// mayStart says by which rule the plan cannot start now; nil if it can.
func (s *State) mayStart(p *Plan, rel *manifest.Release, from []byte) error {
	if r := s.Rollout; r != nil && !r.Status.Final() && !planted.Is("two-rollouts") {
		return fmt.Errorf("%w: rollout %d of %s %s is %s; wait for it, or roll it back", ErrBusy, r.ID, r.Plan.Component, r.Plan.Release.Version, r.Status)
	}
	if !p.Transfer.IsZero() && s.Level < TransferLevel {
		return fmt.Errorf("%w: limits for transfers need feature level %d, the swarm is at %d: plan without max-rate and only-when", ErrImpossible, TransferLevel, s.Level)
	}
	if s.Time > p.Expires {
		return fmt.Errorf("%w: %d s ago; sign a new plan", ErrExpired, s.Time-p.Expires)
	}
	var active order.Component
	if c := s.component(p.Component); c != nil {
		active = *c
	} else if len(s.Components) == order.MaxComponents {
		return fmt.Errorf("%w: %d components are all that a swarm can have", ErrFull, order.MaxComponents)
	}
	if p.From != active.Active {
		return fmt.Errorf("%w: the plan was made when %s was active, now it is %s; make a new plan", ErrStale, p.From, active.Active)
	}
	if p.Release.Counter < active.Floor {
		return fmt.Errorf("%w: %s has counter %d, below the security floor %d", ErrForbidden, p.Release, p.Release.Counter, active.Floor)
	}
	if slices.Contains(s.Quarantine, p.Release.Digest) && !p.DespiteQuarantine {
		return fmt.Errorf("%w: %s failed before and is quarantined; fix it, or plan with despite_quarantine and a reason", ErrForbidden, p.Release)
	}
	if !rel.MayReplace(p.From) {
		return fmt.Errorf("%w: %s replaces only %s, active is %s; go through one of those", ErrForbidden, p.Release, strings.Join(rel.From, ", "), p.From)
	}
	if !p.From.IsZero() && p.Release.Counter <= p.From.Counter {
		return mayGoDown(p, from)
	}
	return nil
}

// mayGoDown checks that the active release, given encoded, lists the older one of
// the plan as a fallback.
func mayGoDown(p *Plan, from []byte) error {
	if len(from) == 0 {
		return fmt.Errorf("%w: %s is not newer than %s (counter %d, %d); to go back, send the active release along", ErrForbidden, p.Release, p.From, p.Release.Counter, p.From.Counter)
	}
	old, err := decodeAs(from, p.From, p.Component)
	if err != nil {
		return err
	}
	if !old.MayFallBackTo(p.Release) {
		return fmt.Errorf("%w: %s is older than %s, which does not list it as a fallback", ErrForbidden, p.Release, p.From)
	}
	return nil
}

// open puts the rollout into the state.
func (s *State) open(p *Plan, plan manifest.Digest, rel *manifest.Release, x Extract) error {
	r := &Rollout{
		ID: s.Rollouts + 1, Plan: *p, PlanDigest: plan, Extract: x, Start: s.Index,
		StartedAt: s.Time, StageAt: s.Clock, BatchAt: s.Clock, Fallbacks: rel.Fallbacks, Floor: rel.SecurityFloor,
	}
	r.Cohorts, r.Bench = cohorts(p, plan, &x, &s.Electorate)
	if len(r.all()) == 0 {
		return fmt.Errorf("%w: no robot of the roster has a variant of %s", ErrImpossible, p.Release)
	}
	if err := r.reachable(); err != nil {
		return err
	}
	if s.component(p.Component) == nil {
		s.Components = append(s.Components, order.Component{Name: p.Component})
		slices.SortFunc(s.Components, func(a, b order.Component) int { return strings.Compare(a.Name, b.Name) })
	}
	s.Quarantine = slices.DeleteFunc(s.Quarantine, func(d manifest.Digest) bool { return d == p.Release.Digest })
	s.Rollouts, s.Rollout = r.ID, r
	s.renewLease()
	return s.fits()
}

// reachable reports the floors that would let no robot switch, ever.
func (r *Rollout) reachable() error {
	var errs []error
	for i, f := range r.Plan.Floors {
		if n := r.Extract.Floors[i].Count(); n > 0 && n <= int(f.MinAvailable) && len(intersect(r.Extract.Floors[i], r.all())) > 0 {
			errs = append(errs, fmt.Errorf("%w: the floor keeps %d robots with %s=%s in service, and there are %d: none could ever switch", ErrImpossible, f.MinAvailable, f.Label, f.Value, n))
		}
	}
	return errors.Join(errs...)
}

// component returns the component called name, or nil.
func (s *State) component(name string) *order.Component {
	for i := range s.Components {
		if s.Components[i].Name == name {
			return &s.Components[i]
		}
	}
	return nil
}

// quarantine bars a release, newest last; beyond the bound the oldest falls out.
func (s *State) quarantine(d manifest.Digest) {
	if slices.Contains(s.Quarantine, d) {
		return
	}
	s.Quarantine = append(s.Quarantine, d)
	if n := len(s.Quarantine); n > order.MaxQuarantine {
		s.Quarantine = slices.Clone(s.Quarantine[n-order.MaxQuarantine:])
	}
}
