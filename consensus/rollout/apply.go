package rollout

import (
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

// maxTime is the end of year 9999: a time above it is no time.
const maxTime = 253402300799

// ApplyLog decodes a log entry and applies it. Bytes that are no decision are an
// entry like any other that does not hold: they move Index and nothing else. A
// format above that of the swarm's level is such bytes, for every build alike.
func (s *State) ApplyLog(index uint64, data []byte) error {
	d, err := DecodeDecision(data)
	if err == nil {
		return s.Apply(index, d)
	}
	if err := s.mayApply(index); err != nil {
		return err
	}
	s.Index = index
	return fmt.Errorf("%w: %w", ErrDecision, err)
}

// mayApply refuses an index that is not next, and a level that this build does not
// know. It changes nothing.
func (s *State) mayApply(index uint64) error {
	if index <= s.Index {
		return fmt.Errorf("%w: %d, the state is at %d", ErrApplied, index, s.Index)
	}
	if s.Level > order.Level {
		return fmt.Errorf("%w: the swarm is at feature level %d, this build knows %d", ErrTooNew, s.Level, order.Level)
	}
	return nil
}

// Apply carries out the decision at a log index. It is total and deterministic: a
// decision that does not hold returns the reason and changes Index, Time and Clock
// only. It keeps parts of d.
//
// Two errors change not even those: ErrApplied, and ErrTooNew, after which the
// replica must stop, for the others go on with what it cannot follow.
//
// What became due by the time alone is done with every decision, and undone if an
// earlier leader's time was wrong: see lapse.
func (s *State) Apply(index uint64, d *Decision) error {
	if err := s.mayApply(index); err != nil {
		return err
	}
	before := *s
	s.Index = index
	if err := d.form(); err != nil {
		return err
	}
	s.stamp(d.Time)
	next := s.Clone()
	next.unlapse()
	if err := next.apply(d); errors.Is(err, ErrTooNew) {
		*s = before
		return err
	} else if err != nil {
		return err
	}
	next.lapse()
	next.noteOrder(s, d.Kind)
	*s = *next
	return nil
}

// stamp takes a leader's time. Time follows it forward, and back as well when it is
// further back than honest clocks differ: then an earlier leader was wrong, and
// without a way back no honest voter could ever sign again. Clock, which deadlines
// of robots run on, only gains, MaxGapSeconds at most.
func (s *State) stamp(t int64) {
	switch {
	case t > s.Time:
		s.Clock += min(t-s.Time, s.gap())
	case t >= s.Time-MaxAheadSeconds:
		return
	}
	s.Time = t
}

// apply changes s, a copy, even where it then returns an error.
func (s *State) apply(d *Decision) error {
	switch d.Kind {
	case KindStart:
		return s.start(d.Start)
	case KindIntent:
		return s.intent(d.Intent)
	case KindObserve:
		return s.observe(d.Observe)
	case KindAdvance:
		return s.advance()
	case KindPublish:
		return s.publish(d.Publish)
	case KindSetVoters:
		return s.setVoters(d.SetVoters)
	case KindLevel:
		return s.raiseLevel(d.Level, d.Observe)
	case KindCheckpoint:
		return nil
	case KindReport:
		return s.report(d.Report)
	}
	return fmt.Errorf("%w: %s", ErrDecision, d.Kind)
}

// form checks that just the field of its kind is set.
func (d *Decision) form() error {
	if d == nil || d.Format != DecisionFormat || d.Time < 0 || d.Time > maxTime {
		return fmt.Errorf("%w: no format or time", ErrDecision)
	}
	var got Kind
	set := 0
	for _, f := range []struct {
		is   bool
		kind Kind
	}{
		{d.Start != nil, KindStart}, {len(d.Intent) > 0, KindIntent}, {len(d.Observe) > 0 && d.Kind != KindLevel, KindObserve}, {len(d.Publish) > 0, KindPublish},
		{d.SetVoters != nil, KindSetVoters}, {d.Level != 0, KindLevel}, {len(d.Report) > 0, KindReport},
	} {
		if f.is {
			got, set = f.kind, set+1
		}
	}
	bare := d.Kind == KindAdvance || d.Kind == KindCheckpoint
	if (bare && set != 0) || (!bare && (set != 1 || got != d.Kind)) {
		return fmt.Errorf("%w: %s carries what it should not, or not what it should", ErrDecision, d.Kind)
	}
	return nil
}

// content is the digest of the order without the numbers that change with every
// order.
func (s *State) content() manifest.Digest {
	o := s.Order()
	o.Index, o.Time, o.Parent = 0, 0, manifest.Digest{}
	return o.Digest()
}

// noteOrder gives the order of s a new index if it differs from that of before, or
// if the time of that one turned out to be wrong: no voter signs it.
func (s *State) noteOrder(before *State, k Kind) {
	if k != KindCheckpoint && s.OrderTime <= s.Time && s.content() == before.content() {
		return
	}
	s.OrderIndex, s.OrderTime = s.Index, s.Time
	if !s.Successor.IsZero() {
		s.Parent, s.Successor = s.Successor, manifest.Digest{}
	}
	if s.Electorate.Version != before.Electorate.Version {
		s.Successor = s.Order().Digest()
	}
}

// fits reports whether the order stays within order.MaxBytes whatever comes of
// the rollout: a failure must never be refused for want of room.
func (s *State) fits() error {
	o := s.Order()
	o.Quarantine = make([]manifest.Digest, order.MaxQuarantine)
	if o.Rollout != nil {
		full := make(manifest.Bitmap, maxSetBytes)
		o.Rollout.Open, o.Rollout.Opened, o.Rollout.Fetch = full, full, full
		o.Rollout.Reason = string(make([]byte, order.MaxReasonBytes))
	}
	if n := len(o.Encode()); n > order.MaxBytes {
		return fmt.Errorf("%w: the order could grow to %d bytes, the limit is %d: use fewer components or shorter versions", ErrFull, n, order.MaxBytes)
	}
	return nil
}
