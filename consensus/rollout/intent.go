package rollout

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// maxIntentReason bounds Intent.Reason.
const maxIntentReason = 200

// openIntent verifies an intent and that each key that signed it is used with a
// new counter. It returns those keys for count.
func (s *State) openIntent(data []byte) (*Intent, []envelope.Key, error) {
	var in Intent
	e, err := open(data, envelope.Intent, s.Swarm, s.Roles.Plan, IntentFormat, &in)
	if err != nil {
		return nil, nil, err
	}
	if in.Format != IntentFormat || in.Swarm != s.Swarm || len(in.Reason) > maxIntentReason || in.Counter == 0 {
		return nil, nil, fmt.Errorf("%w: intent of format %d for swarm %q, counter %d", ErrDecision, in.Format, in.Swarm, in.Counter)
	}
	var keys []envelope.Key
	for _, sig := range e.Signatures {
		if !slices.Contains(s.Roles.Plan.Keys, sig.Key) {
			continue
		}
		if at, found := s.counter(sig.Key); found && in.Counter == s.Counters[at].Value {
			return nil, nil, fmt.Errorf("%w: counter %d of key %s: %w", ErrReplay, in.Counter, sig.Key.Short(), ErrSeen)
		} else if found && in.Counter < s.Counters[at].Value {
			return nil, nil, fmt.Errorf("%w: counter %d, key %s has used %d", ErrReplay, in.Counter, sig.Key.Short(), s.Counters[at].Value)
		}
		keys = append(keys, sig.Key)
	}
	return &in, keys, nil
}

func (s *State) counter(k envelope.Key) (int, bool) {
	return slices.BinarySearchFunc(s.Counters, k, func(c order.Counter, k envelope.Key) int { return bytes.Compare(c.Key[:], k[:]) })
}

// count records that keys have used a counter. When the table is full, keys that
// may not sign any more fall out: whatever they signed is refused without it.
func (s *State) count(keys []envelope.Key, value uint64) error {
	for _, k := range keys {
		at, found := s.counter(k)
		if found {
			s.Counters[at].Value = value
			continue
		}
		if len(s.Counters) >= order.MaxCounters {
			s.Counters = slices.DeleteFunc(s.Counters, func(c order.Counter) bool { return !slices.Contains(s.Roles.Plan.Keys, c.Key) })
			at, _ = s.counter(k)
		}
		if len(s.Counters) >= order.MaxCounters {
			return fmt.Errorf("%w: %d operators' keys are all that a swarm can count", ErrFull, order.MaxCounters)
		}
		s.Counters = slices.Insert(s.Counters, at, order.Counter{Key: k, Value: value})
	}
	return nil
}

// intent carries out an operator's word on the rollout that it names. A word that
// asks for what is already so is accepted: its counter counts.
func (s *State) intent(data []byte) error {
	in, keys, err := s.openIntent(data)
	if err != nil {
		return err
	}
	if in.Rollout != s.Rollouts || (s.Rollout == nil && in.Verb != VerbRollback) {
		return fmt.Errorf("%w: rollout %d, the last one is %d", ErrNoRollout, in.Rollout, s.Rollouts)
	}
	switch in.Verb {
	case VerbPause:
		err = s.pause(in)
	case VerbResume:
		err = s.resume()
	case VerbRollback:
		err = s.rollback(in)
	case VerbRenew:
		err = s.Rollout.unfinished()
	default:
		err = fmt.Errorf("%w: verb %q", ErrDecision, in.Verb)
	}
	if err != nil {
		return err
	}
	s.renewLease()
	return s.count(keys, in.Counter)
}

// renewLease notes that the operator is there.
func (s *State) renewLease() {
	if r := s.Rollout; r != nil && r.Plan.LeaseSeconds > 0 {
		r.LeaseUntil = s.Time + int64(r.Plan.LeaseSeconds)
	}
}

// unfinished says why nothing can be paused, resumed or renewed any more.
func (r *Rollout) unfinished() error {
	if r.Status.Final() || r.Status == order.RollingOff {
		return fmt.Errorf("%w: rollout %d is %s", ErrNoRollout, r.ID, r.Status)
	}
	return nil
}

// pause holds a rollout in the operator's name. One held by its gate or by a stall
// stays so: that matters more to whoever looks.
func (s *State) pause(in *Intent) error {
	r := s.Rollout
	if err := r.unfinished(); err != nil {
		return err
	}
	known := r.Held == ByGate || r.Held == ByReport || r.Held == ByStall || (r.Held == ByOperator && in.Reason == "")
	if !known {
		s.hold(ByOperator, because("paused by the operator", in.Reason))
	}
	return nil
}

// resume lets a rollout go on. The operator has seen what stood in the way, so
// robots of the cohorts so far that failed, fell silent or could not switch are
// excused from every gate; a stage that has passed and waits is left. To resume
// what runs is to insist, too: it excuses whoever is waited for.
func (s *State) resume() error {
	r := s.Rollout
	if err := r.unfinished(); err != nil {
		return err
	}
	for _, i := range members(r.Opened) {
		if st := s.standing(i); st == failed || st == lost || st == silent || (st == deferred && !r.Open.Has(int(i))) {
			r.Excused = union(r.Excused, setOf(i))
		}
	}
	passed := r.Held == ByPass
	r.BatchAt, r.StageAt = s.Clock, s.Clock // the open batch gets its time again, and the stage
	r.Status, r.Held, r.Reason = order.Running, Nobody, ""
	if passed {
		s.enter(r.after(r.Stage, r.Wave))
	}
	return nil
}
