package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

// rollback sends everybody back: from an unfinished rollout to what was active
// before it; else as takeBack says. A release that any robot has met is quarantined.
func (s *State) rollback(in *Intent) error {
	r := s.Rollout
	why := because("rolled back by the operator", in.Reason)
	switch {
	case r == nil || r.Status == order.Finished || r.Status == order.Reverted:
		return s.takeBack(in, why)
	case !in.To.IsZero() && in.To != r.Plan.From:
		return fmt.Errorf("%w: rollout %d is not finished, so it goes back to %s, not to %s; after that, say it again", ErrForbidden, r.ID, r.Plan.From, in.To)
	case r.Status == order.RollingOff:
		return nil
	}
	s.rollOff(why)
	return nil
}

// takeBack changes what is active, after the last rollout has ended: to the release
// before, or to a fallback that the active one lists. A rollback that names no
// release is about the last rollout; one that does is about the component that could
// go back to it, whichever rollout brought what is active there: the last one may
// have failed, or be another component's.
func (s *State) takeBack(in *Intent, why string) error {
	r, to := s.Rollout, in.To
	c := s.listing(to)
	if c == nil && r != nil {
		c = s.component(r.Plan.Component)
	}
	if c == nil {
		return fmt.Errorf("%w: name the release to go back to", ErrNoRollout)
	}
	last := r != nil && r.Status == order.Finished && c.Name == r.Plan.Component // it brought what is active
	switch {
	case !last && (to.IsZero() || to == c.Active):
		return nil // so already
	case to.IsZero():
		to = c.Previous
	}
	switch {
	case to.IsZero():
		return fmt.Errorf("%w: nothing ran before %s; name a fallback", ErrForbidden, c.Active)
	case to != c.Previous && !slices.Contains(s.fallbacks(c.Name), to):
		return fmt.Errorf("%w: %s lists no fallback %s", ErrForbidden, c.Active, to)
	case to.Counter < c.Floor:
		return fmt.Errorf("%w: %s is below the security floor %d", ErrForbidden, to, c.Floor)
	case slices.Contains(s.Quarantine, to.Digest):
		return fmt.Errorf("%w: %s is quarantined itself", ErrForbidden, to)
	}
	was := c.Active
	s.quarantine(was.Digest)
	c.Active, c.Previous = to, manifest.Ref{}
	s.setFallbacks(c.Name, nil)
	switch {
	case r == nil:
	case last:
		r.Status, r.Reason = order.Reverted, why
	default:
		r.Reason = clip(fmt.Sprintf("%s %s was %s", c.Name, was.Version, why))
	}
	return nil
}

// listing is the component that runs to or could go back to it, or nil. A release is
// of one component only.
func (s *State) listing(to manifest.Ref) *order.Component {
	if to.IsZero() {
		return nil
	}
	for i := range s.Components {
		if c := &s.Components[i]; to == c.Active || to == c.Previous || slices.Contains(s.fallbacks(c.Name), to) {
			return c
		}
	}
	return nil
}

// fallbacks are those of a component's active release.
func (s *State) fallbacks(component string) []manifest.Ref {
	if i, found := s.fallbackEntry(component); found {
		return s.Fallbacks[i].Releases
	}
	return nil
}

// setFallbacks replaces them; none removes the entry.
func (s *State) setFallbacks(component string, to []manifest.Ref) {
	i, found := s.fallbackEntry(component)
	switch {
	case len(to) == 0 && found:
		s.Fallbacks = slices.Delete(s.Fallbacks, i, i+1)
	case len(to) == 0:
	case found:
		s.Fallbacks[i].Releases = to
	default:
		s.Fallbacks = slices.Insert(s.Fallbacks, i, Fallbacks{Component: component, Releases: to})
	}
}

func (s *State) fallbackEntry(component string) (int, bool) {
	return slices.BinarySearchFunc(s.Fallbacks, component, func(f Fallbacks, name string) int { return strings.Compare(f.Component, name) })
}
