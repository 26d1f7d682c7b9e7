package rollout

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// candidate is a robot on its way into a cohort.
type candidate struct {
	robot   member.Index
	variant string
	voter   bool
	rank    manifest.Digest
}

// cohorts splits the robots that have a variant into the canaries and one set for
// each wave, and those of the bench apart. The choice is nobody's: robots are
// ranked by SHA-256 of the plan, its seed and their key.
func cohorts(p *Plan, plan manifest.Digest, x *Extract, e *order.Electorate) (sets []member.Set, bench member.Set) {
	var field []candidate
	for _, n := range x.Robots.All() {
		i := member.Index(n)
		switch st := x.stratum(i); {
		case st.Variant == "":
		case st.Bench:
			bench = bench.With(n)
		default:
			field = append(field, candidate{i, st.Variant, e.Has(i), rank(plan, p.Seed, x.Key(i))})
		}
	}
	slices.SortFunc(field, func(a, b candidate) int {
		return cmp.Or(bytes.Compare(a.rank[:], b.rank[:]), cmp.Compare(a.robot, b.robot))
	})
	canaries := pickCanaries(p, field)
	sets = append(sets, canaries)
	field = slices.DeleteFunc(field, func(c candidate) bool { return canaries.Has(int(c.robot)) })
	from := 0
	for _, share := range p.Waves {
		to := ceilPermille(len(field), share)
		var wave member.Set
		for _, c := range field[from:to] {
			wave = wave.With(int(c.robot))
		}
		sets, from = append(sets, norm(wave)), to
	}
	return sets, norm(bench)
}

func rank(plan manifest.Digest, seed [16]byte, key [32]byte) manifest.Digest {
	if planted.Is("other-cohorts") {
		return manifest.Sum(key[:])
	}
	return manifest.Sum(slices.Concat(plan[:], seed[:], key[:]))
}

// ceilPermille is n × share / 1000, rounded up.
func ceilPermille(n int, share uint16) int { return (n*int(share) + 999) / 1000 }

// pickCanaries takes the canaries from a ranked field, as many of each variant as
// quotas says. Robots that do not vote come first. At most one voter is a canary,
// unless a variant has nobody else.
func pickCanaries(p *Plan, field []candidate) member.Set {
	var canaries member.Set
	voters := 0
	for _, q := range quotas(p, field) {
		taken := 0
		for _, c := range field {
			if c.variant == q.variant && !c.voter && taken < q.seats {
				canaries, taken = canaries.With(int(c.robot)), taken+1
			}
		}
		for _, c := range field {
			if c.variant == q.variant && c.voter && taken < q.seats && (taken == 0 || voters == 0) {
				canaries, taken, voters = canaries.With(int(c.robot)), taken+1, voters+1
			}
		}
	}
	return norm(canaries)
}

// quota is how many canaries a variant gives.
type quota struct {
	variant             string
	robots, seats, rest int
}

// quotas shares the canaries over the variants by largest remainder, at least one
// for each even above the total. Variants are in order of name.
func quotas(p *Plan, field []candidate) []quota {
	if p.CanaryMin == 0 && p.CanaryPermille == 0 || len(field) == 0 {
		return nil
	}
	var out []quota
	for _, c := range field {
		i, found := slices.BinarySearchFunc(out, c.variant, func(q quota, v string) int { return cmp.Compare(q.variant, v) })
		if !found {
			out = slices.Insert(out, i, quota{variant: c.variant})
		}
		out[i].robots++
	}
	total := min(max(int(p.CanaryMin), ceilPermille(len(field), p.CanaryPermille)), len(field))
	left := total
	for i := range out {
		out[i].seats, out[i].rest = total*out[i].robots/len(field), total*out[i].robots%len(field)
		left -= out[i].seats
	}
	byRest := make([]int, len(out))
	for i := range byRest {
		byRest[i] = i
	}
	slices.SortStableFunc(byRest, func(a, b int) int { return cmp.Compare(out[b].rest, out[a].rest) })
	for _, i := range byRest[:left] {
		out[i].seats++
	}
	for i := range out {
		out[i].seats = max(out[i].seats, 1)
	}
	return out
}
