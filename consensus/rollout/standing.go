package rollout

import (
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/gossip/member"
)

// A standing is how one robot of a batch stands, in the light of its record, the
// plan's deadlines and State.Clock.
type standing uint8

const (
	waiting   standing = iota // has not armed
	inFlight                  // armed, on trial or going back
	committed                 // runs the release for good, and was heard of lately
	silent                    // committed, not heard of since: nobody knows
	deferred                  // cannot switch now: busy, off, full or out of reach
	failed                    // said so, or is back on the old release
	lost                      // not heard of since it armed, or never came out of its trial
)

// standing judges robot i. Silence means something only after a robot has armed.
// A robot that said it is leaving is missed by nobody.
func (s *State) standing(i member.Index) standing {
	r := s.Rollout
	at, found := r.record(i)
	if !found {
		return s.notArmed(i)
	}
	rec := &r.Records[at]
	quiet := s.Clock-rec.SeenAt >= int64(r.Plan.SilenceDeadlineSeconds) && !rec.Leaving
	since := s.Clock - rec.ArmedAt
	switch {
	case rec.Result == member.Failed:
		return failed
	case rec.committed() && quiet:
		return silent
	case rec.committed():
		return committed
	case rec.Leaving || rec.Result == member.Deferred:
		return deferred
	case rec.Phase == member.Armed && quiet:
		return lost
	case rec.Phase == member.Armed && since >= int64(r.Plan.InstallDeadlineSeconds):
		return deferred // it asks, but its gate or the voters do not let it
	case rec.Phase == member.Armed:
		return inFlight
	case rec.Phase == member.Trial || rec.Phase == member.Reverting:
		// Its own watchdog ends a trial before the silence deadline, heard or not.
		if since >= int64(r.Plan.SilenceDeadlineSeconds) {
			return lost
		}
		return inFlight
	}
	return s.notArmed(i)
}

// notArmed is waiting until the install deadline of the open batch, then deferred.
func (s *State) notArmed(i member.Index) standing {
	r := s.Rollout
	if r.Open.Has(int(i)) && (s.Clock-r.BatchAt < int64(r.Plan.InstallDeadlineSeconds) || planted.Is("wait-for-all")) {
		return waiting
	}
	return deferred
}

// flying are the robots that are switching, of whatever batch.
func (s *State) flying() member.Set {
	return s.those(s.Rollout.Opened, inFlight)
}

// those are the robots of a set that stand so.
func (s *State) those(set member.Set, want ...standing) member.Set {
	var out member.Set
	for _, i := range members(set) {
		st := s.standing(i)
		for _, w := range want {
			if st == w {
				out = out.With(int(i))
			}
		}
	}
	return norm(out)
}

// unsettled are the robots of the open batch that keep it open.
func (s *State) unsettled() member.Set { return s.those(s.Rollout.Open, waiting, inFlight) }
