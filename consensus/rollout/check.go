package rollout

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// check states what is true of every state, whatever was applied to it. Tests call
// it after each decision, and DecodeState before it believes a snapshot's form.
func (s *State) check() error {
	if s.Format != StateFormat || s.Clock < 1 || s.Time < 0 || s.OrderTime < 0 || s.OrderIndex > s.Index {
		return fmt.Errorf("format %d, clock %d, time %d, order of index %d at %d, index %d", s.Format, s.Clock, s.Time, s.OrderIndex, s.OrderTime, s.Index)
	}
	if s.Rollout != nil {
		if err := s.Rollout.checkForm(); err != nil {
			return err
		}
	}
	if err := s.Order().Check(); err != nil {
		return err
	}
	if len(s.Counters) > order.MaxCounters {
		return fmt.Errorf("%d counters", len(s.Counters))
	}
	for i := range s.Counters {
		if i > 0 && bytes.Compare(s.Counters[i-1].Key[:], s.Counters[i].Key[:]) >= 0 {
			return errors.New("counters out of order")
		}
	}
	for i, f := range s.Fallbacks {
		if s.component(f.Component) == nil || (i > 0 && s.Fallbacks[i-1].Component >= f.Component) || len(f.Releases) == 0 || len(f.Releases) > manifest.MaxFrom {
			return fmt.Errorf("%d fallbacks of component %q", len(f.Releases), f.Component)
		}
	}
	for i, d := range s.Quarantine {
		for _, e := range s.Quarantine[:i] {
			if d == e {
				return fmt.Errorf("%s is quarantined twice", d.Short())
			}
		}
	}
	if s.Rollout != nil {
		return s.checkRollout()
	}
	return nil
}

// checkForm checks the numbers that everything else indexes by.
func (r *Rollout) checkForm() error {
	if err := r.Plan.Check(); err != nil {
		return err
	}
	if err := r.Extract.wellFormed(); err != nil {
		return err
	}
	if len(r.Cohorts) != len(r.Plan.Waves)+1 || int(r.Wave) > len(r.Plan.Waves) || (r.Stage == order.Wave && r.Wave == 0) || len(r.Extract.Floors) != len(r.Plan.Floors) {
		return fmt.Errorf("%d cohorts for %d waves, wave %d", len(r.Cohorts), len(r.Plan.Waves), r.Wave)
	}
	for i, rec := range r.Records {
		if i > 0 && r.Records[i-1].Robot >= rec.Robot {
			return errors.New("records out of order")
		}
		if !r.Opened.Has(int(rec.Robot)) || len(rec.Reason) > member.MaxReason || !utf8.ValidString(rec.Reason) {
			return fmt.Errorf("record of robot %d, which was in no batch or says too much", rec.Robot)
		}
	}
	if !utf8.ValidString(r.Reason) {
		return errors.New("a reason that is no text")
	}
	return nil
}

// checkRollout checks what the machine promises of a rollout.
func (s *State) checkRollout() error {
	r := s.Rollout
	if s.component(r.Plan.Component) == nil || len(r.Fallbacks) > manifest.MaxFrom || r.ID != s.Rollouts {
		return fmt.Errorf("rollout %d of %d has no component", r.ID, s.Rollouts)
	}
	var seen member.Set
	for _, set := range append([]member.Set{r.Bench}, r.Cohorts...) {
		if !normal(set) || len(intersect(seen, set)) > 0 || !subset(set, r.Extract.Robots) {
			return errors.New("a robot in two cohorts, or in one and not in the roster")
		}
		seen = union(seen, set)
	}
	sets := []member.Set{r.Open, r.Opened, r.Deferred, r.Excused}
	if l := r.Lapsed; l != nil {
		if (l.Held != Nobody) != (l.Status == order.Held) || (l.Status != order.Running && l.Status != order.Held) || !utf8.ValidString(l.Reason) {
			return fmt.Errorf("before it lapsed it was %s, held by %d", l.Status, l.Held)
		}
		sets = append(sets, l.Open)
	}
	for _, set := range sets {
		if !normal(set) || !subset(set, seen) {
			return errors.New("a set of robots that are in no cohort")
		}
	}
	live := r.Status == order.Running || r.Status == order.Held
	switch {
	case !subset(r.Open, r.Opened):
		return errors.New("an open robot was not opened")
	case !subset(r.Open, r.cohort()):
		return fmt.Errorf("an open robot is not of stage %s", stageName(r.Stage, r.Wave))
	case !live && len(r.Open) > 0:
		return fmt.Errorf("a batch is open while the rollout is %s", r.Status)
	case (r.Held != Nobody) != (r.Status == order.Held):
		return fmt.Errorf("held by %d while %s", r.Held, r.Status)
	case r.Batch == 0 && len(r.Opened) > 0:
		return errors.New("robots were opened in no batch")
	case votersIn(r.Open, &s.Electorate) && r.Open.Count() > 1:
		return errors.New("a voter may switch together with others")
	}
	return nil
}
