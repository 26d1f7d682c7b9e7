package netsim

import (
	"maps"
	"slices"
	"strings"
)

// A Completion is how a release came to the robots that it is for.
type Completion struct {
	Release string `json:"release"`
	For     int    `json:"for"`    // robots that it has a variant for, without revoked ones
	Robots  int    `json:"robots"` // of them that have committed it in the end
	// Shipped is when its rollout started; nil for what robots join with.
	Shipped *float64 `json:"shipped"`
	// Fetched is when the last of them had the whole image; nil if that never was.
	Fetched *float64 `json:"fetched"`
	// P50, P90 and Last are when half, nine in ten, and all of them had committed it; nil
	// if that never was.
	P50  *float64 `json:"p50"`
	P90  *float64 `json:"p90"`
	Last *float64 `json:"last"`
}

// A CurvePoint is how many robots have a release committed, from a time on.
type CurvePoint struct {
	At      float64 `json:"at"`
	Release string  `json:"release"`
	Robots  int     `json:"robots"`
}

// goals are the robots that each release is for.
func (w *World) goals() map[string]map[string]bool {
	goals := map[string]map[string]bool{}
	for _, rel := range w.built() {
		set := map[string]bool{}
		for _, r := range w.allRobots() {
			if rel.fits(r.model) && !w.watch.isRevoked(r.name) {
				set[r.name] = true
			}
		}
		goals[string(rel.spec.Ref())] = set
	}
	return goals
}

// complete fills in Curve, Completion and Completed from Switches, and from when each
// robot had each release's image, by release and robot.
func (r *Report) complete(goals map[string]map[string]bool, whole map[string]map[string]float64) {
	r.Curve, r.Completion = []CurvePoint{}, []Completion{}
	has := map[string]string{}              // robot and component: what it has committed
	on := map[string]int{}                  // release: how many of its robots have it
	reached := map[string]map[int]float64{} // release, robots: when there were so many first
	count := func(at float64, release, robot string, by int) {
		if !goals[release][robot] {
			return
		}
		on[release] += by
		r.Curve = append(r.Curve, CurvePoint{at, release, on[release]})
		if reached[release] == nil {
			reached[release] = map[int]float64{}
		}
		if _, was := reached[release][on[release]]; !was {
			reached[release][on[release]] = at
		}
	}
	for _, s := range r.Switches {
		payload := s.Robot + " " + component(s.Release)
		before := has[payload]
		if s.Did == Activated || before == s.Release {
			continue
		}
		has[payload] = s.Release
		if before != "" {
			count(s.At, before, s.Robot, -1)
		}
		count(s.At, s.Release, s.Robot, +1)
	}
	for _, release := range slices.Sorted(maps.Keys(goals)) {
		n := len(goals[release])
		c := Completion{Release: release, For: n, Robots: on[release]}
		when := func(robots int) *float64 {
			if at, ok := reached[release][robots]; ok && n > 0 {
				return &at
			}
			return nil
		}
		c.P50, c.P90, c.Last = when((n+1)/2), when((9*n+9)/10), when(n)
		c.Fetched = lastOf(goals[release], whole[release])
		if x := r.rolloutOf(release); x != nil {
			at := x.began()
			c.Shipped = &at
		}
		if c.Last != nil {
			r.Completed[release] = *c.Last
		}
		r.Completion = append(r.Completion, c)
	}
}

// lastOf is the latest of these times; nil if some robot has none.
func lastOf(robots map[string]bool, at map[string]float64) *float64 {
	var last *float64
	for robot := range robots {
		t, ok := at[robot]
		if !ok {
			return nil
		}
		if last == nil || t > *last {
			last = &t
		}
	}
	return last
}

// component is that of a release by its name; it need only tell them apart.
func component(release string) string {
	c, _, named := strings.Cut(release, "/")
	if !named {
		return ""
	}
	return c
}
