package rollout

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/starling-swarm/starling/gossip/member"
)

// errNotOurs marks a report that says nothing of this rollout.
var errNotOurs = errors.New("not about this rollout")

// observe merges signed health reports into the records. One that is not signed by
// its robot refuses the whole decision: an honest leader verified them all. One
// that is old, or not about a robot of this rollout, is skipped; if all are, the
// decision is ErrOldNews. A failure beyond a gate's limit stops the rollout at
// once, without waiting for an advance.
func (s *State) observe(reports [][]byte) error {
	r := s.Rollout
	if r == nil || r.Status.Final() {
		return fmt.Errorf("%w: nothing is rolling out", ErrNoRollout)
	}
	total := 0
	for _, data := range reports {
		total += len(data)
	}
	if len(reports) > MaxObserved || total > MaxObservedBytes {
		return fmt.Errorf("%w: %d reports of %d bytes, the limits are %d and %d", ErrDecision, len(reports), total, MaxObserved, MaxObservedBytes)
	}
	merged := 0
	for i, data := range reports {
		h, _, err := member.OpenHealth(data, s.Swarm, r.Extract.Key)
		if err != nil {
			return fmt.Errorf("report %d of %d: %w", i+1, len(reports), err)
		}
		if s.concerns(h) == nil {
			s.merge(h)
			merged++
		}
	}
	if merged == 0 {
		return fmt.Errorf("%w: %d reports, all of them old or of robots that are in no batch", ErrOldNews, len(reports))
	}
	s.judge()
	return nil
}

// concerns returns nil if h is a newer word of a robot that was in a batch, given
// since the rollout started.
func (s *State) concerns(h *member.Health) error {
	r := s.Rollout
	if h.Component != r.Plan.Component || !r.Opened.Has(int(h.Robot)) {
		return errNotOurs
	}
	if h.Generation < s.Generation || (h.Generation == s.Generation && h.Order < r.Start) {
		return errNotOurs
	}
	if at, found := r.record(h.Robot); found && h.Sequence <= r.Records[at].Sequence {
		return errNotOurs
	}
	return nil
}

// Lacks reports whether h, verified, is evidence that the state should have had: a
// failure that it does not count, or a sign of life of a robot that it counts as
// lost. A voter that holds such a report does not sign an order until the leader
// has had it observed: so a leader can neither hide a failure nor invent one.
func (s *State) Lacks(h *member.Health) bool {
	r := s.Rollout
	if r == nil || r.Status.Final() || s.concerns(h) != nil {
		return false
	}
	st := s.standing(h.Robot)
	fails := h.Result == member.Failed && h.Release == r.Plan.Release.Digest
	return st == lost || (fails && st != failed)
}

// heals reports whether s has observed what an older state lacked: see Lacks. A voter
// that holds it never signs the order of that state. If what was observed does not
// change the order, nobody would ever sign one again: it takes a checkpoint.
func (s *State) heals(older *State) bool {
	if !s.live() || !older.live() || s.Rollout.ID != older.Rollout.ID {
		return false
	}
	opened := older.Rollout.Opened
	return len(minus(s.those(opened, failed), older.those(opened, failed))) > 0 ||
		len(minus(older.those(opened, lost), s.those(opened, lost))) > 0
}

// merge takes a report that concerns the rollout into the robot's record.
func (s *State) merge(h *member.Health) {
	r := s.Rollout
	rec := s.merged(h)
	if at, found := r.record(h.Robot); found {
		r.Records[at] = rec
	} else {
		r.Records = slices.Insert(r.Records, at, rec)
	}
}

// merged is what the record of h's robot is to become. It changes nothing.
func (s *State) merged(h *member.Health) Record {
	r := s.Rollout
	was := Record{Robot: h.Robot, Boot: uint16(h.Boot)}
	if at, found := r.record(h.Robot); found {
		was = r.Records[at]
	}
	rec := was
	about := h.Release == r.Plan.Release.Digest
	rec.Sequence, rec.Leaving, rec.SeenAt = h.Sequence, h.Leaving, s.Clock
	rec.Running = h.Running == r.Plan.Release.Digest
	rec.Phase = member.Idle
	if about {
		rec.Phase = h.Phase
	}
	if rec.Phase != was.Phase && (rec.Phase == member.Armed || rec.Phase == member.Trial) {
		rec.ArmedAt = s.Clock
	}
	rec.mergeHealthy(h)
	s.mergeResult(&rec, &was, h, about)
	return rec
}

// mergeHealthy counts seconds that the committed release was healthy. In one boot
// the newest number holds, also if it is lower: a failed probe starts it anew.
func (rec *Record) mergeHealthy(h *member.Health) {
	if b := uint16(h.Boot); b != rec.Boot {
		rec.Boot = b
		rec.Before, rec.Healthy = satAdd(rec.Before, rec.Healthy), 0
	}
	if rec.committed() {
		rec.Healthy = h.Healthy
	} else {
		rec.Before, rec.Healthy = 0, 0
	}
}

// committed reports whether the robot runs the release for good.
func (rec *Record) committed() bool {
	return rec.Running && (rec.Phase < member.Armed || rec.Phase == member.Committed)
}

// healthy is how many seconds the release has been healthy since its commit.
func (rec *Record) healthy() uint32 { return satAdd(rec.Before, rec.Healthy) }

func satAdd(a, b uint32) uint32 {
	if a > math.MaxUint32-b {
		return math.MaxUint32
	}
	return a + b
}

// mergeResult keeps the newest result; Failed stays. A robot fails by saying so, by
// going back unasked, and by being back: it had the release and has it no more.
func (s *State) mergeResult(rec, was *Record, h *member.Health, about bool) {
	had := was.Running
	unasked := s.Rollout.unfinished() == nil
	why := ""
	switch {
	case was.Result == member.Failed:
		return
	case about && h.Result == member.Failed:
		why = "failed"
	case unasked && about && (h.Phase == member.Reverting || h.Phase == member.Reverted):
		why = "went back"
	case unasked && had && !rec.Running:
		why = "does not run the release any more"
	case about:
		rec.Result = h.Result
		return
	default:
		rec.Result = member.Unknown
		return
	}
	rec.Result = member.Failed
	if h.Reason != "" {
		why = plain(h.Reason)
	}
	if reasons := countFunc(s.Rollout.Records, func(o Record) bool { return o.Reason != "" }); reasons < MaxReasons {
		rec.Reason = why
	}
}

func countFunc[T any](list []T, f func(T) bool) int {
	n := 0
	for _, x := range list {
		if f(x) {
			n++
		}
	}
	return n
}
