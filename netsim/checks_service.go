package netsim

import (
	"fmt"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

// A shipped plan is what an operator asked for, with the roster it was made on.
type shipped struct {
	plan    *rollout.Plan
	fits    member.Set   // robots that have a variant, without the bench
	floors  []member.Set // by Plan.Floors: robots with the label
	cohorts []member.Set // canaries, then wave by wave
	voters  uint32       // the version of the electorate that cohorts was made with
}

// batchLimit is how many of the plan's robots may be switching at once.
func (p *shipped) batchLimit() int {
	limit := p.fits.Count()
	if p.plan.BatchPermille > 0 {
		limit = limit * int(p.plan.BatchPermille) / 1000
	}
	if p.plan.BatchMax > 0 && int(p.plan.BatchMax) < limit {
		limit = int(p.plan.BatchMax)
	}
	return max(limit, 1)
}

// tooMany is why so many robots may not be out of service for this plan at once;
// empty if they may. out are the robots between two releases.
func (p *shipped) tooMany(out member.Set) string {
	if n, limit := out.Count(), p.batchLimit(); n > limit {
		return fmt.Sprintf("%d robots are out of service, the plan allows %d", n, limit)
	}
	for i, floor := range p.plan.Floors {
		covered, away := p.floors[i].Count(), 0
		for _, m := range p.floors[i].All() {
			if out.Has(m) {
				away++
			}
		}
		if left := covered - away; away > 0 && left < int(floor.MinAvailable) {
			return fmt.Sprintf("%d robots with %s=%s are in service, the plan wants %d", left, floor.Label, floor.Value, floor.MinAvailable)
		}
	}
	return ""
}

// fewVoters is why so many voters may not be out of service by updates at once; empty
// if they may. One may always go: a swarm with no voter to spare updates too.
func fewVoters(e *order.Electorate, out member.Set) string {
	n, away := len(e.Voters), 0
	for _, v := range e.Voters {
		if out.Has(int(v.Member)) {
			away++
		}
	}
	if q := quorumOf(n); away > 1 && n-away < q {
		return fmt.Sprintf("%d of %d voters switch at once, %d must stay", away, n, q)
	}
	return ""
}
