package rollout

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// Limit is how many of n robots may fail: one more fails the gate.
func (g *Gate) Limit(n int) int {
	limit := int(g.MaxFailures)
	if g.MaxFailuresPermille > 0 {
		limit = min(limit, n*int(g.MaxFailuresPermille)/1000)
	}
	return limit
}

// gate is a stage with the robots that it judges.
type gate struct {
	Gate
	name   string
	cohort member.Set
	canary bool
}

// gateOf is the gate of a stage; the stage must have one: canary, wave or soak.
func (r *Rollout) gateOf(stage order.Stage, wave uint8) gate {
	g := gate{name: stageName(stage, wave), cohort: r.cohortOf(stage, wave), canary: stage == order.Canary}
	switch stage {
	case order.Canary:
		g.Gate = r.Plan.CanaryGate
	case order.Wave:
		g.Gate = r.Plan.WaveGate
	default:
		g.Gate = r.Plan.SoakGate
	}
	return g
}

// stageName is "canary" or "wave 2", for people.
func stageName(stage order.Stage, wave uint8) string {
	if stage == order.Wave {
		return fmt.Sprintf("wave %d", wave)
	}
	return stage.String()
}

// gates are those that judge now: of the open stage, and of every stage before,
// for a robot may fail late.
func (r *Rollout) gates() []gate {
	var out []gate
	for stage, wave := r.after(order.HIL, 0); stage < r.Stage || (stage == r.Stage && wave <= r.Wave && stage < order.Done); stage, wave = r.after(stage, wave) {
		out = append(out, r.gateOf(stage, wave))
	}
	return out
}

// judge stops the rollout if a gate has failed, whether it runs or is held.
// Apply calls it after each observe and advance. It reports whether it did.
func (s *State) judge() bool {
	r := s.Rollout
	if r.unfinished() != nil {
		return false
	}
	for _, g := range r.gates() {
		bad := minus(s.those(intersect(g.cohort, r.Opened), failed, lost), r.Excused)
		if bad.Count() <= g.Limit(g.cohort.Count()) {
			continue
		}
		why := s.failure(g, bad)
		if g.OnFail == Revert {
			if s.mayRevert() {
				s.rollOff(why)
				return true
			}
			why += "; the whole swarm goes back when a second robot says it failed, or the operator says so"
		}
		if r.Held != ByGate {
			s.hold(ByGate, why)
			return true
		}
	}
	return false
}

// mayRevert reports whether the evidence is enough to send every robot back that
// has been in a batch. While only the open stage has been touched (and the bench),
// one failure is, or a silence. After that it takes the signed word of two robots,
// so that no single one can undo the work of all.
func (s *State) mayRevert() bool {
	r := s.Rollout
	touched := minus(r.Opened, r.Bench)
	if subset(touched, r.cohort()) {
		return true
	}
	return s.those(touched, failed).Count() >= min(2, touched.Count())
}

// mayPass says what a stage still waits for; "" if nothing.
//
// Failures within the limit pass. A robot that committed and then fell silent can
// not fail a gate, but counts as if it had when the gate asks whether it may
// pass. One that left after its commit is not waited for, unless all did; nor is one
// that left on its trial, unless nobody kept the release: an image that shuts robots
// down in good order looks like dusk.
func (s *State) mayPass(g gate) string {
	r := s.Rollout
	bad := minus(s.those(g.cohort, failed, lost), r.Excused)
	good := s.those(intersect(g.cohort, r.Opened), committed, silent)
	var quiet, soaked, short member.Set
	sum := s.exposure(good)
	for _, i := range members(good) {
		at, _ := r.record(i)
		rec := &r.Records[at]
		switch {
		case rec.healthy() >= g.SoakSeconds:
			soaked = soaked.With(int(i))
		case r.Excused.Has(int(i)) || rec.Leaving:
		case s.standing(i) == silent:
			quiet = quiet.With(int(i))
		default:
			short = short.With(int(i))
		}
	}
	missing := r.unproven(g.cohort, soaked)
	switch {
	case planted.Is("skip-gate") && g.canary:
	case bad.Count()+quiet.Count() > g.Limit(g.cohort.Count()):
		return fmt.Sprintf("%s: waiting to hear from %s", g.name, robots(quiet))
	case short.Count() > 0:
		return fmt.Sprintf("%s: %s not healthy for %d s yet", g.name, robots(short), g.SoakSeconds)
	case g.canary && missing != "":
		return fmt.Sprintf("%s: no robot of variant %s has run it for %d s", g.name, missing, g.SoakSeconds)
	case good.Count() > 0 && soaked.Count() == 0 && !subset(good, r.Excused):
		return fmt.Sprintf("%s: all %d that committed have left before %d s", g.name, good.Count(), g.SoakSeconds)
	case good.Count() == 0 && len(s.leftOnTrial(g)) > 0:
		return fmt.Sprintf("%s: nobody has kept it yet, and %s left on trial", g.name, robots(s.leftOnTrial(g)))
	case sum < g.ExposureSeconds && !subset(g.cohort, r.Excused):
		return fmt.Sprintf("%s: %d of %d robot-seconds", g.name, sum, g.ExposureSeconds)
	}
	return ""
}

// exposure is how many seconds these robots have been healthy on the release together.
// All of them have a record.
func (s *State) exposure(robots member.Set) uint64 {
	var sum uint64
	for _, i := range members(robots) {
		at, _ := s.Rollout.record(i)
		sum += uint64(s.Rollout.Records[at].healthy())
	}
	return sum
}

// unproven is a variant of the cohort without a robot in soaked, unless all its
// robots are excused; "" if there is none.
func (r *Rollout) unproven(cohort, soaked member.Set) string {
	for v, st := range r.Extract.Table {
		var of member.Set
		for _, i := range members(cohort) {
			if r.Extract.stratum(i).Variant == st.Variant {
				of = of.With(int(i))
			}
		}
		if len(intersect(of, soaked)) == 0 && !subset(norm(of), r.Excused) {
			return r.Extract.Table[v].Variant
		}
	}
	return ""
}

// lacksEvidence reports whether the open stage lacks evidence that its deferred robots
// could bring.
func (s *State) lacksEvidence() bool {
	r := s.Rollout
	g := r.gateOf(r.Stage, r.Wave)
	good := s.those(intersect(g.cohort, r.Opened), committed, silent)
	return s.exposure(good) < g.ExposureSeconds || (g.canary && r.unproven(g.cohort, good) != "")
}

// leftOnTrial are robots of a gate's cohort that said goodbye while they tried the
// release, and are not excused.
func (s *State) leftOnTrial(g gate) member.Set {
	var out member.Set
	for _, i := range members(minus(intersect(g.cohort, s.Rollout.Opened), s.Rollout.Excused)) {
		at, found := s.Rollout.record(i)
		if rec := s.Rollout.Records; found && rec[at].Leaving && rec[at].Phase == member.Trial && s.standing(i) == deferred {
			out = out.With(int(i))
		}
	}
	return norm(out)
}
