package rollout

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// maxLabelBytes bounds a label's value in a stratum, as in a roster.
const maxLabelBytes = 64

// NewExtract makes the extract that plan needs of roster r, named by ref, for
// release rel, which the trust metadata with the digest trust lists. Both must be
// those of the newest order, or the start is refused. Its errors wrap ErrImpossible: no robot has a variant, or there
// are more kinds of robots than MaxStrata. Where labels alone make too many kinds,
// role, site and then model are left out.
func NewExtract(plan *Plan, rel *manifest.Release, r *member.Roster, ref order.RosterRef, trust manifest.Digest) (Extract, error) {
	x := Extract{Roster: ref, Trust: trust, Floors: make([]member.Set, len(plan.Floors))}
	robots := r.Robots()
	if err := x.stratify(rel, robots); err != nil {
		return Extract{}, err
	}
	fits := false
	for _, m := range robots {
		x.Robots = x.Robots.With(int(m.Index))
		x.Keys = append(x.Keys, m.Key[:]...)
		for f, floor := range plan.Floors {
			if m.Labels[floor.Label] == floor.Value {
				x.Floors[f] = x.Floors[f].With(int(m.Index))
			}
		}
		st := x.stratum(m.Index)
		fits = fits || (st.Variant != "" && !st.Bench)
	}
	if !fits {
		return Extract{}, fmt.Errorf("%w: no robot of the roster has a variant of %s %s", ErrImpossible, rel.Component, rel.Version)
	}
	return x, nil
}

// stratify fills Strata and Table with the finest division that fits.
func (x *Extract) stratify(rel *manifest.Release, robots []member.Member) error {
	all := make([]Stratum, len(robots))
	for i, m := range robots {
		all[i] = Stratum{Model: m.Labels["model"], Site: m.Labels["site"], Role: m.Labels["role"], Bench: m.Labels["role"] == "hil"}
		if v := rel.For(m.Labels); v != nil {
			all[i].Variant = v.Name
		}
	}
	for _, coarsen := range []func(*Stratum){func(*Stratum) {}, func(s *Stratum) { s.Role = "" }, func(s *Stratum) { s.Site = "" }, func(s *Stratum) { s.Model = "" }} {
		for i := range all {
			coarsen(&all[i])
		}
		table := slices.Clone(all)
		slices.SortFunc(table, compareStrata)
		table = slices.Compact(table)
		if len(table) > MaxStrata {
			continue
		}
		x.Table, x.Strata = table, make([]byte, len(all))
		for i := range all {
			at, _ := slices.BinarySearchFunc(table, all[i], compareStrata)
			x.Strata[i] = byte(at)
		}
		return nil
	}
	return fmt.Errorf("%w: more than %d kinds of robots", ErrImpossible, MaxStrata)
}

func compareStrata(a, b Stratum) int {
	bench := func(s Stratum) string {
		if s.Bench {
			return "1"
		}
		return ""
	}
	return slices.Compare([]string{a.Variant, a.Model, a.Site, a.Role, bench(a)}, []string{b.Variant, b.Model, b.Site, b.Role, bench(b)})
}

// check reports the first thing that makes x unusable for the plan. Whether it is
// what the roster says, voters check: Apply has no roster.
func (x *Extract) check(p *Plan, rel *manifest.Release, s *State) error {
	if x.Roster != s.Roster {
		return fmt.Errorf("%w: the extract is of roster %d, current is %d; start anew", ErrStale, x.Roster.Epoch, s.Roster.Epoch)
	}
	if x.Trust != s.Trust.Digest {
		return fmt.Errorf("%w: the extract is of trust metadata %s, current is %s; start anew", ErrStale, x.Trust.Short(), s.Trust.Digest.Short())
	}
	if len(x.Floors) != len(p.Floors) {
		return fmt.Errorf("%w: %d floors for a plan with %d", ErrDecision, len(x.Floors), len(p.Floors))
	}
	for _, st := range x.Table {
		if st.Variant != "" && !slices.ContainsFunc(rel.Variants, func(v manifest.Variant) bool { return v.Name == st.Variant }) {
			return fmt.Errorf("%w: %s has no variant %q", ErrDecision, p.Release, st.Variant)
		}
	}
	return x.wellFormed()
}

// wellFormed checks what can be checked of x alone.
func (x *Extract) wellFormed() error {
	n := x.Robots.Count()
	if !normal(x.Robots) || n == 0 || len(x.Keys) != n*len(envelope.Key{}) || len(x.Strata) != n {
		return fmt.Errorf("%w: extract of %d robots with %d bytes of keys and %d strata", ErrDecision, n, len(x.Keys), len(x.Strata))
	}
	for i, st := range x.Table {
		if len(st.Variant) > maxLabelBytes || len(st.Model) > maxLabelBytes || len(st.Site) > maxLabelBytes || len(st.Role) > maxLabelBytes ||
			(i > 0 && compareStrata(x.Table[i-1], st) >= 0) || i >= MaxStrata {
			return fmt.Errorf("%w: extract: stratum %d is out of order, too long or too many", ErrDecision, i)
		}
	}
	for _, at := range x.Strata {
		if int(at) >= len(x.Table) {
			return fmt.Errorf("%w: extract: stratum %d of %d", ErrDecision, at, len(x.Table))
		}
	}
	seen := make(map[envelope.Key]bool, n)
	for k := range slices.Chunk(x.Keys, len(envelope.Key{})) {
		if key := envelope.Key(k); key.IsZero() || seen[key] {
			return fmt.Errorf("%w: extract: key %s is zero or stands twice", ErrDecision, key.Short())
		} else {
			seen[key] = true
		}
	}
	for _, f := range x.Floors {
		if !normal(f) || !subset(f, x.Robots) {
			return fmt.Errorf("%w: extract: a floor covers robots that are not there", ErrDecision)
		}
	}
	return nil
}
