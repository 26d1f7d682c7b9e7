package netsim

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// SeriesSchema is the schema of a Series as JSON.
const SeriesSchema = "starling.netsim.runs/v1"

// A Series is one scenario with many seeds.
type Series struct {
	Schema   string `json:"schema"`
	Scenario string `json:"scenario"`
	Failed   int    `json:"failed"`
	// UpperBound is the share of all seeds that go wrong, at most, with 95 % confidence.
	UpperBound float64   `json:"upper_bound_95"`
	Runs       []*Report `json:"runs"`
}

// NewSeries sums reports of one scenario up; there is one at least.
func NewSeries(reports []*Report) *Series {
	s := &Series{Schema: SeriesSchema, Scenario: reports[0].Scenario, Runs: reports}
	for _, r := range reports {
		if !r.OK() {
			s.Failed++
		}
	}
	s.UpperBound = UpperBound(len(reports), s.Failed)
	return s
}

func (s *Series) text(b *strings.Builder) {
	fmt.Fprintf(b, "%d runs, %d went wrong: with 95 %% confidence at most %.2f %% of seeds do\n", len(s.Runs), s.Failed, 100*s.UpperBound)
	for _, f := range s.Spread() {
		fmt.Fprintf(b, "  %-14s on every robot in %d of %d runs; last robot after p50 %s, p90 %s, worst %s\n", f.Release, f.Runs, len(s.Runs), clock(f.P50), clock(f.P90), clock(f.Worst))
	}
	for _, m := range s.missed() {
		fmt.Fprintf(b, "  did not happen in %d of %d runs: %s\n", m.runs, len(s.Runs), m.what)
	}
	worst := 0
	for _, r := range s.Runs {
		worst = max(worst, r.OutOfService)
	}
	fmt.Fprintf(b, "  at most %d robots out of service at once in any run\n", worst)
}

// A miss is something that the scenario asks for and that did not happen in some runs.
type miss struct {
	what string
	runs int
}

// missed are all misses, the most frequent first.
func (s *Series) missed() (list []miss) {
	for _, r := range s.Runs {
		for _, what := range slices.Concat(r.Untold, r.Idle) {
			i := slices.IndexFunc(list, func(m miss) bool { return m.what == what })
			if i < 0 {
				i, list = len(list), append(list, miss{what: what})
			}
			list[i].runs++
		}
	}
	slices.SortStableFunc(list, func(a, b miss) int { return b.runs - a.runs })
	return list
}

// A Finish is when the last robot had a release, over the runs in which it came to
// that; in seconds since the rollout started.
type Finish struct {
	Release         string
	Runs            int
	P50, P90, Worst float64
}

// Spread is one Finish for each release that was rolled out and completed at least once.
func (s *Series) Spread() (list []Finish) {
	took := map[string][]float64{}
	var names []string
	for _, r := range s.Runs {
		for _, c := range r.Completion {
			if c.Last == nil || c.Shipped == nil {
				continue
			}
			if took[c.Release] == nil {
				names = append(names, c.Release)
			}
			took[c.Release] = append(took[c.Release], *c.Last-*c.Shipped)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		t := took[name]
		slices.Sort(t)
		at := func(share int) float64 { return t[(share*len(t)+99)/100-1] }
		list = append(list, Finish{name, len(t), at(50), at(90), t[len(t)-1]})
	}
	return list
}

// UpperBound is the one-sided 95 % upper bound of the share of runs that fail, after
// failed of runs did (Clopper and Pearson 1934); with none it is about 3/runs.
func UpperBound(runs, failed int) float64 {
	if runs == 0 || failed >= runs {
		return 1
	}
	const alpha = 0.05
	low, high := 0.0, 1.0
	for range 60 { // P(X <= failed | p) falls with p
		p := (low + high) / 2
		if atMost(failed, runs, p) > alpha {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// atMost is the chance of at most k failures in n runs that fail with chance p.
func atMost(k, n int, p float64) float64 {
	if p <= 0 {
		return 1
	}
	if p >= 1 {
		return 0
	}
	sum := 0.0
	for i := 0; i <= k; i++ { // in logarithms: (1-p)^n alone may be too small for a float
		choose, _ := math.Lgamma(float64(n + 1))
		a, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(choose - a - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}
