package netsim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"sort"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

// The cohorts of a plan, computed again from the roster as the words of the design
// have it, by the slowest and plainest way: a twin of package rollout's.

// applicant is one robot that a release is for.
type applicant struct {
	member  *member.Member
	variant string
	votes   bool
	rank    [sha256.Size]byte
}

// applicants are the robots of a roster that a release has a variant for, without the
// bench, ranked by SHA-256 of the plan, its seed and their key.
func applicants(p *rollout.Plan, plan manifest.Digest, rel *manifest.Release, r *member.Roster, votes func(member.Index) bool) []applicant {
	var list []applicant
	for i := range r.Members {
		m := &r.Members[i]
		v := rel.For(m.Labels)
		if m.Revoked || m.Role != member.Robot || v == nil || m.Labels["role"] == "hil" {
			continue
		}
		list = append(list, applicant{m, v.Name, votes(m.Index), sha256.Sum256(slices.Concat(plan[:], p.Seed[:], m.Key[:]))})
	}
	sort.Slice(list, func(i, j int) bool { return bytes.Compare(list[i].rank[:], list[j].rank[:]) < 0 })
	return list
}

// shares are the canaries of each variant: total by largest remainder, one at least.
func shares(total int, list []applicant) map[string]int {
	robots := map[string]int{}
	for _, a := range list {
		robots[a.variant]++
	}
	var names []string
	for v := range robots {
		names = append(names, v)
	}
	sort.Strings(names)
	seats, left := map[string]int{}, total
	for _, v := range names {
		seats[v] = total * robots[v] / len(list)
		left -= seats[v]
	}
	rest := func(v string) int { return total * robots[v] % len(list) }
	byRest := slices.Clone(names)
	sort.SliceStable(byRest, func(i, j int) bool { return rest(byRest[i]) > rest(byRest[j]) })
	for i := range left {
		seats[byRest[i]]++
	}
	for _, v := range names {
		seats[v] = max(seats[v], 1)
	}
	return seats
}

// draft is the canaries, then each wave.
func draft(p *rollout.Plan, list []applicant) []member.Set {
	up := func(n int, permille uint16) int { return (n*int(permille) + 999) / 1000 }
	var canaries member.Set
	if (p.CanaryMin > 0 || p.CanaryPermille > 0) && len(list) > 0 {
		total := min(max(int(p.CanaryMin), up(len(list), p.CanaryPermille)), len(list))
		seats := shares(total, list)
		voters := 0
		var names []string
		for v := range seats {
			names = append(names, v)
		}
		sort.Strings(names)
		for _, v := range names {
			taken := 0
			for _, voting := range []bool{false, true} {
				for _, a := range list {
					if a.variant != v || a.votes != voting || taken == seats[v] || (voting && taken > 0 && voters > 0) {
						continue
					}
					canaries = canaries.With(int(a.member.Index))
					taken++
					if voting {
						voters++
					}
				}
			}
		}
	}
	out := []member.Set{canaries}
	rest := slices.DeleteFunc(slices.Clone(list), func(a applicant) bool { return canaries.Has(int(a.member.Index)) })
	from := 0
	for _, share := range p.Waves {
		var wave member.Set
		to := up(len(rest), share)
		for _, a := range rest[from:to] {
			wave = wave.With(int(a.member.Index))
		}
		out, from = append(out, wave), to
	}
	return out
}

// strays are robots of a rollout's open batches that are of no cohort up to its stage;
// empty if there are none.
func strays(r *order.Rollout, cohorts []member.Set) string {
	last := -1
	switch r.Stage {
	case order.Canary:
		last = 0
	case order.Wave:
		last = int(r.Wave)
	case order.Soak, order.Done:
		last = len(cohorts) - 1
	case order.HIL:
		return "" // the bench is in no cohort
	}
	var allowed member.Set
	for i := 0; i <= last && i < len(cohorts); i++ {
		allowed = allowed.Union(cohorts[i])
	}
	if out := r.Opened.Minus(allowed); out.Count() > 0 {
		return fmt.Sprintf("rollout %d has opened %v in %s, which are not of its cohorts", r.ID, out.All(), stageOf(r))
	}
	return ""
}
