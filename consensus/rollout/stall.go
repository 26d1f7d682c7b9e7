package rollout

import (
	"fmt"

	"github.com/starling-swarm/starling/consensus/order"
)

// stallTries is how many full tries a stage waits for nothing before it holds. A try is
// the time that a robot has to arm, and then to be heard of.
const stallTries = 3

// StallSeconds is how long a stage may lack evidence that nobody is bringing.
func (p *Plan) StallSeconds() int64 {
	return stallTries * (int64(p.InstallDeadlineSeconds) + int64(p.SilenceDeadlineSeconds))
}

// stalled says why the open stage holds: its gate lacks something, nobody who is there
// can bring it, and that has been so for StallSeconds. It is "" for a stage that waits
// for time alone, for a batch, or for a robot that said that it leaves: that one is
// switched on again some day, and the rollout goes on.
//
// Without it a stage whose only canary is out of reach, or lies, would stay open until
// the plan expires, and nobody would be told.
func (s *State) stalled() string {
	r := s.Rollout
	if r.Stage < order.Canary || r.Stage > order.Soak || len(minus(r.cohort(), r.Opened)) > 0 {
		return ""
	}
	g := r.gateOf(r.Stage, r.Wave)
	lacks := s.mayPass(g)
	if lacks == "" {
		return ""
	}
	since, idle := s.quietSince(g)
	if !idle || s.Clock-since < r.Plan.StallSeconds() {
		return ""
	}
	who := "nobody is left who could bring it"
	if away := minus(s.those(g.cohort, deferred, silent), r.Excused); len(away) > 0 {
		who = robots(away) + " could not switch or fell silent"
	}
	return fmt.Sprintf("%s; nothing has moved for %d s: %s; resume to go on without, or take it back", lacks, s.Clock-since, who)
}

// quietSince is the Clock at which the last robot of a gate's cohort stopped bringing
// evidence; idle is false if one still may.
func (s *State) quietSince(g gate) (since int64, idle bool) {
	r := s.Rollout
	since = r.StageAt
	short := s.exposure(s.those(g.cohort, committed, silent)) < g.ExposureSeconds
	for _, i := range members(g.cohort) {
		at, found := r.record(i)
		if !found {
			continue
		}
		rec, st := &r.Records[at], s.standing(i)
		switch {
		case st == failed || st == lost || r.Excused.Has(int(i)):
		case rec.Leaving, st == waiting, st == inFlight:
			return 0, false
		case st == committed && (short || rec.healthy() < g.SoakSeconds):
			return 0, false
		case st == committed:
			since = max(since, rec.ArmedAt+int64(g.SoakSeconds))
		case st == silent:
			since = max(since, rec.SeenAt)
		}
	}
	return since, true
}
