package rollout

import (
	"fmt"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// RetrySeconds is how long a stage that lacks evidence waits, after its last
// batch opened, before it tries its deferred robots again.
const RetrySeconds = 600

// advance does whatever the state itself says is due: judge the gates, close the
// batch, open the next, enter the next stage, end. If nothing is due it returns
// ErrNotYet with what it waits for.
func (s *State) advance() error {
	r := s.Rollout
	if r == nil || r.Status.Final() {
		return fmt.Errorf("%w: nothing is rolling out", ErrNoRollout)
	}
	moved := s.judge()
	if r.Status == order.RollingOff {
		return s.finishRollback(moved)
	}
	for why := ""; ; moved = true {
		if why = s.step(); why != "" {
			if !moved {
				return fmt.Errorf("%w: %s", ErrNotYet, why)
			}
			return nil
		}
		if r.Status.Final() {
			return nil
		}
	}
}

// step does one thing that is due, or says what it waits for. Each step opens a
// batch, enters a stage or changes the status, so that steps end.
func (s *State) step() (wait string) {
	r := s.Rollout
	s.settle()
	switch {
	case s.expired():
		s.expire()
		return ""
	case r.Status == order.Held:
		return r.Reason
	case s.Time > r.LeaseUntil && r.LeaseUntil > 0 && r.Plan.OnOperatorLost == Hold:
		s.holdByLease("no word of the operator for the length of the lease; resume to go on")
		return ""
	}
	if r.Stage == order.Verify {
		s.enter(r.after(r.Stage, r.Wave))
		return ""
	}
	if open := s.unsettled(); len(open) > 0 {
		return fmt.Sprintf("%s: %s of the open batch on the way", stageName(r.Stage, r.Wave), robots(open))
	}
	if why := s.stalled(); why != "" {
		r.Open = nil // its robots had their time: resume excuses them
		s.hold(ByStall, why)
		return ""
	}
	if batch, why := s.nextBatch(); len(batch) > 0 {
		s.openBatch(batch)
		return ""
	} else if why != "" {
		return why
	}
	if len(r.Open) > 0 {
		r.Open = nil
		return ""
	}
	return s.pass()
}

// settle keeps Deferred true: robots of closed or closing batches that could not
// switch, less those that did after all.
func (s *State) settle() {
	r := s.Rollout
	r.Deferred = s.those(r.Opened, deferred)
	if len(s.unsettled()) > 0 {
		r.Deferred = minus(r.Deferred, r.Open)
	}
}

// nextBatch chooses the batch to open now. If there is none, why says what it
// waits for; "" if the stage needs no more.
func (s *State) nextBatch() (batch member.Set, why string) {
	r := s.Rollout
	if r.Stage == order.Soak || s.Time > r.Plan.Expires {
		return nil, ""
	}
	candidates := minus(r.cohort(), r.Opened)
	if len(candidates) == 0 && (r.Stage == order.Canary || r.Stage == order.Wave) && s.Clock-r.BatchAt >= RetrySeconds && s.lacksEvidence() {
		candidates = s.retry()
	}
	if len(candidates) == 0 {
		return nil, ""
	}
	flying := s.flying()
	if batch = r.cut(candidates, flying, &s.Electorate); len(batch) == 0 {
		why = fmt.Sprintf("%s: %s of an earlier batch on the way", stageName(r.Stage, r.Wave), robots(flying))
	}
	return batch, why
}

// retry are the deferred robots of the stage that have not left.
func (s *State) retry() member.Set {
	r := s.Rollout
	var out member.Set
	for _, i := range members(minus(intersect(r.Deferred, r.cohort()), r.Excused)) {
		if at, found := r.record(i); !found || !r.Records[at].Leaving {
			out = out.With(int(i))
		}
	}
	return norm(out)
}

// openBatch lets the robots of a batch arm. What they deferred before is forgotten.
func (s *State) openBatch(batch member.Set) {
	r := s.Rollout
	r.Open, r.Opened, r.Deferred = batch, union(r.Opened, batch), minus(r.Deferred, batch)
	r.BatchAt = s.Clock
	if r.Batch < 1<<16-1 {
		r.Batch++
	}
	for _, i := range members(batch) {
		if at, found := r.record(i); found && r.Records[at].Result == member.Deferred {
			r.Records[at].Result, r.Records[at].Phase = member.Unknown, member.Idle
		}
	}
}

// pass leaves the open stage if its gate, or its report, allows it.
func (s *State) pass() (wait string) {
	r := s.Rollout
	onPass := Advance
	switch r.Stage {
	case order.Sim, order.HIL:
		if (r.Stage == order.Sim && r.SimReport.IsZero()) || (r.Stage == order.HIL && r.HILReport.IsZero()) {
			return fmt.Sprintf("%s: waiting for a signed report that it passed", r.Stage)
		}
	default:
		g := r.gateOf(r.Stage, r.Wave)
		if wait := s.mayPass(g); wait != "" {
			return wait
		}
		onPass = g.OnPass
	}
	switch {
	case onPass == Hold:
		s.hold(ByPass, stageName(r.Stage, r.Wave)+" passed, and the plan holds here; resume to go on")
	case s.Time > r.LeaseUntil && r.LeaseUntil > 0 && r.Plan.OnOperatorLost == FinishHold && r.Stage < order.Soak:
		s.holdByLease(stageName(r.Stage, r.Wave) + " passed, but there is no word of the operator; resume to go on")
	default:
		s.enter(r.after(r.Stage, r.Wave))
	}
	return ""
}

// enter begins a stage; done ends the rollout.
func (s *State) enter(stage order.Stage, wave uint8) {
	r := s.Rollout
	r.Stage, r.Wave, r.StageAt, r.BatchAt, r.Open = stage, wave, s.Clock, s.Clock, nil
	if stage != order.Done {
		return
	}
	c := s.component(r.Plan.Component)
	c.Previous, c.Active, c.Floor = c.Active, r.Plan.Release, max(c.Floor, r.Floor)
	s.setFallbacks(c.Name, r.Fallbacks)
	s.end(order.Finished, "")
}

// hold stops new robots from starting. Those in flight finish.
func (s *State) hold(by HeldBy, why string) {
	r := s.Rollout
	r.Status, r.Held, r.Reason = order.Held, by, clip(why)
}

// rollOff sends every robot back that has the release, and bars it, unless no
// robot has met it.
func (s *State) rollOff(why string) {
	r := s.Rollout
	if len(r.Opened) > 0 {
		s.quarantine(r.Plan.Release.Digest)
	}
	r.Status, r.Held, r.Reason = order.RollingOff, Nobody, clip(why)
	r.Open, r.StageAt = nil, s.Clock
}

// finishRollback ends going back once no robot in reach has the release any more.
// Who is away goes back when it returns: the release stays quarantined.
func (s *State) finishRollback(moved bool) error {
	r := s.Rollout
	var left member.Set
	var stays member.Set // with nothing to go back to: they keep it until another release comes
	for _, rec := range r.Records {
		switching := rec.Phase == member.Armed || rec.Phase == member.Trial || rec.Phase == member.Reverting
		switch {
		case rec.Leaving:
		case rec.Running && !switching && r.Plan.From.IsZero():
			stays = stays.With(int(rec.Robot))
		case rec.Running || switching:
			left = left.With(int(rec.Robot))
		}
	}
	if len(left) > 0 && s.Clock-r.StageAt < int64(r.Plan.SilenceDeadlineSeconds) {
		if moved {
			return nil
		}
		return fmt.Errorf("%w: %s still going back", ErrNotYet, robots(left))
	}
	why := r.Reason
	if len(left) > 0 {
		why += fmt.Sprintf("; not heard of: %s", robots(left))
	}
	if len(stays) > 0 {
		why += fmt.Sprintf("; nothing to go back to: %s", robots(stays))
	}
	s.end(order.Reverted, why)
	return nil
}

// end makes the status final. Of the records only failures stay, for people.
func (s *State) end(status order.Status, why string) {
	r := s.Rollout
	r.Status, r.Held, r.Reason, r.Open = status, Nobody, clip(why), nil
	if status == order.Expired {
		return // it may still be rolled back
	}
	var kept []Record
	for _, rec := range r.Records {
		if rec.Result == member.Failed {
			kept = append(kept, rec)
		}
	}
	r.Records = kept
}
