package rollout

import (
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// batchSize is how many of n robots may switch at once.
func (p *Plan) batchSize(n int) int {
	size := n
	if p.BatchPermille > 0 {
		size = n * int(p.BatchPermille) / 1000
	}
	if p.BatchMax > 0 {
		size = min(size, int(p.BatchMax))
	}
	if planted.Is("batch-plus-one") {
		size++
	}
	return max(size, 1)
}

// cut chooses the next batch from candidates, while the robots in flying are
// switching. A batch is as large as the plan and every floor allow, those in
// flight counted. Robots that do not vote come first; a voter goes alone, and not
// while another voter is in flight. It returns nil if nobody may go now.
func (r *Rollout) cut(candidates, flying member.Set, e *order.Electorate) member.Set {
	room := r.Plan.batchSize(r.all().Count()) - flying.Count()
	batch, away := member.Set(nil), flying.Clone()
	voter := -1
	for _, i := range candidates.All() {
		if batch.Count() >= room {
			break
		}
		switch {
		case flying.Has(i) || !r.floorsAllow(away, i):
		case e.Has(member.Index(i)) && !planted.Is("voters-together"):
			if voter < 0 {
				voter = i
			}
		default:
			batch, away = batch.With(i), away.With(i)
		}
	}
	if len(batch) == 0 && voter >= 0 && room > 0 && !votersIn(flying, e) {
		batch = batch.With(voter)
	}
	return norm(batch)
}

// floorsAllow reports whether robot i may switch while those in away do.
func (r *Rollout) floorsAllow(away member.Set, i int) bool {
	for f, covered := range r.Extract.Floors {
		if covered.Has(i) && covered.Count()-intersect(away, covered).Count() <= int(r.Plan.Floors[f].MinAvailable) {
			return false
		}
	}
	return true
}

// votersIn reports whether one of the robots votes.
func votersIn(robots member.Set, e *order.Electorate) bool {
	for _, v := range e.Voters {
		if robots.Has(int(v.Member)) {
			return true
		}
	}
	return false
}

// all are the robots of all cohorts: those that the release is for, without the
// bench.
func (r *Rollout) all() member.Set {
	var all member.Set
	for _, c := range r.Cohorts {
		all = union(all, c)
	}
	return all
}

// cohortOf are the robots of a stage; nil for a stage that switches none.
func (r *Rollout) cohortOf(stage order.Stage, wave uint8) member.Set {
	switch stage {
	case order.HIL:
		return r.Bench
	case order.Canary:
		return r.Cohorts[0]
	case order.Wave:
		return r.Cohorts[wave]
	case order.Soak:
		return r.all()
	}
	return nil
}

// cohort are the robots of the stage that is open.
func (r *Rollout) cohort() member.Set { return r.cohortOf(r.Stage, r.Wave) }

// after is the next stage that the plan wants and that has robots.
func (r *Rollout) after(stage order.Stage, wave uint8) (order.Stage, uint8) {
	for {
		switch {
		case stage == order.Wave && int(wave) < len(r.Plan.Waves):
			wave++
		case stage == order.Canary:
			stage, wave = order.Wave, 1
		case stage >= order.Soak:
			return order.Done, wave
		default:
			stage++
		}
		switch {
		case stage == order.Sim && r.Plan.Sim, stage == order.HIL && r.Plan.HIL, stage >= order.Soak,
			(stage == order.Canary || stage == order.Wave) && len(r.cohortOf(stage, wave)) > 0:
			return stage, wave
		}
	}
}

// fetch are the robots that may fetch the release now.
func (r *Rollout) fetch() member.Set {
	if r.Status != order.Running && r.Status != order.Held {
		return nil
	}
	set := union(r.Opened, r.cohort())
	switch r.Plan.Prefetch {
	case FetchNext:
		stage, wave := r.after(r.Stage, r.Wave)
		for stage < order.Soak && len(r.cohortOf(stage, wave)) == 0 {
			stage, wave = r.after(stage, wave)
		}
		if stage < order.Soak {
			set = union(set, r.cohortOf(stage, wave))
		}
	case FetchAll:
		set = union(set, r.all())
		if r.Plan.HIL {
			set = union(set, r.Bench)
		}
	}
	return set
}
