package rollout

import (
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// A StagePreview is what one stage will be for this swarm.
type StagePreview struct {
	Stage order.Stage
	Wave  uint8
	// Robots are those that switch in this stage; in soak, all.
	Robots member.Set
	// Batches are how many it takes, and Largest the robots of the largest.
	Batches, Largest int
	// Limit is how many may fail: one more fails the gate.
	Limit int
	// Soak and Exposure are what the gate asks for.
	Soak, Exposure time.Duration
	// Opens and Ends are the earliest times after the start, if every robot
	// switches at once and the trial is all that takes time.
	Opens, Ends time.Duration
}

// A Preview is a plan in the whole numbers that this swarm makes of it.
type Preview struct {
	Robots        int // that the release is for, without the bench
	NotApplicable member.Set
	Bench         member.Set
	Canaries      member.Set
	BatchSize     int
	Stages        []StagePreview // those with robots
	Earliest      time.Duration  // from start to done
	// Warnings are sentences for people: gates that can never fail, small cohorts.
	Warnings []string
}

// NewPreview says what plan would be on the robots of x with these voters. It
// returns ErrImpossible, and the preview with it, if a stage can never be
// satisfied: a floor that lets nobody switch, or a plan that ends before its last
// batch could open.
func NewPreview(plan *Plan, x Extract, e order.Electorate) (*Preview, error) {
	if err := errors.Join(plan.Check(), x.wellFormed()); err != nil {
		return nil, err
	}
	if len(x.Floors) != len(plan.Floors) {
		return nil, fmt.Errorf("%w: the extract was made for another plan", ErrDecision)
	}
	r := &Rollout{Plan: *plan, PlanDigest: plan.Seal().Digest(), Extract: x}
	r.Cohorts, r.Bench = cohorts(plan, r.PlanDigest, &x, &e)
	p := &Preview{Robots: r.all().Count(), Bench: r.Bench, Canaries: r.Cohorts[0], BatchSize: plan.batchSize(r.all().Count())}
	p.NotApplicable = minus(minus(x.Robots, r.all()), r.Bench)
	if p.Robots == 0 {
		return p, fmt.Errorf("%w: no robot has a variant of %s", ErrImpossible, plan.Release)
	}
	if err := r.reachable(); err != nil {
		return p, err
	}
	p.simulate(r, &e)
	p.warn(r)
	return p, p.possible(plan)
}

// simulate plays the rollout with robots that switch at once and stay well.
func (p *Preview) simulate(r *Rollout, e *order.Electorate) {
	trial := time.Duration(r.Plan.MinHealthySeconds) * time.Second
	at := map[member.Index]time.Duration{} // when each robot commits
	now := time.Duration(0)
	for stage, wave := r.after(order.Verify, 0); stage < order.Done; stage, wave = r.after(stage, wave) {
		if stage == order.Sim {
			continue
		}
		st := StagePreview{Stage: stage, Wave: wave, Robots: r.cohortOf(stage, wave), Opens: now}
		for left := st.Robots; stage != order.Soak && len(left) > 0; {
			batch := r.cut(left, nil, e)
			if len(batch) == 0 {
				break // no floor allows it: reachable has said so
			}
			now += trial
			for _, i := range members(batch) {
				at[i] = now
			}
			left = minus(left, batch)
			st.Batches, st.Largest = st.Batches+1, max(st.Largest, batch.Count())
		}
		if stage != order.HIL {
			g := r.gateOf(stage, wave)
			st.Limit, st.Soak, st.Exposure = g.Limit(g.cohort.Count()), time.Duration(g.SoakSeconds)*time.Second, time.Duration(g.ExposureSeconds)*time.Second
			now = passes(now, g, at)
		}
		st.Ends = now
		p.Stages = append(p.Stages, st)
	}
	p.Earliest = now
}

// passes is the earliest time from now at which every robot of the gate has soaked
// and their seconds together reach the exposure, at being when each committed.
func passes(now time.Duration, g gate, at map[member.Index]time.Duration) time.Duration {
	var sum time.Duration
	robots := members(g.cohort)
	for _, i := range robots {
		now = max(now, at[i]+time.Duration(g.SoakSeconds)*time.Second)
	}
	for _, i := range robots {
		sum += now - at[i]
	}
	if need := time.Duration(g.ExposureSeconds) * time.Second; sum < need && len(robots) > 0 {
		now += (need - sum + time.Duration(len(robots)) - 1) / time.Duration(len(robots))
	}
	return now
}

// possible refuses a plan that expires before its last batch could open.
func (p *Preview) possible(plan *Plan) error {
	life := time.Duration(plan.Expires-plan.Created) * time.Second
	var errs []error
	for _, st := range p.Stages {
		if st.Stage != order.Soak && st.Opens > life {
			errs = append(errs, fmt.Errorf("%w: %s can open %s after the start at the earliest, and the plan ends after %s: give it longer, or ask the stages before for less soak and exposure",
				ErrImpossible, stageName(st.Stage, st.Wave), st.Opens, life))
		}
	}
	return errors.Join(errs...)
}

// warn collects what an operator should know before signing.
func (p *Preview) warn(r *Rollout) {
	say := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	for _, st := range p.Stages {
		if st.Stage == order.HIL {
			continue
		}
		n, name := st.Robots.Count(), stageName(st.Stage, st.Wave)
		if st.Limit >= n {
			say("%s: its gate can never fail: %d of %d robots may", name, st.Limit, n)
		}
		if st.Stage == order.Canary {
			say("%s: no failure among %d robots shows only that the true failure rate is at most %s %%", name, n, percent(Bound(0, n)))
		}
	}
	if len(r.Cohorts[0]) == 0 {
		say("no canaries: the first wave meets the release unproven")
	}
	share := r.Plan.CanaryPermille
	if n := p.Canaries.Count(); n > max(int(r.Plan.CanaryMin), ceilPermille(p.Robots, share)) {
		say("%d canaries instead of %d: each variant gives one", n, max(int(r.Plan.CanaryMin), ceilPermille(p.Robots, share)))
	}
	if len(p.NotApplicable) > 0 {
		say("%d robots have no variant of %s and keep what they run", p.NotApplicable.Count(), r.Plan.Release.Version)
	}
	if r.Plan.HIL && len(r.Bench) == 0 {
		say("hil: no robot is labelled role=hil, so the report must come from another bench")
	}
}

// percent prints per mille as per cent.
func percent(permille int) string {
	if permille%10 == 0 {
		return fmt.Sprint(permille / 10)
	}
	return fmt.Sprintf("%d.%d", permille/10, permille%10)
}
