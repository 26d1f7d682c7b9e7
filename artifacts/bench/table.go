package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// median of values; NaN if one of them is.
func median(values []float64) float64 {
	s := slices.Clone(values)
	slices.Sort(s) // NaN first
	if len(s) == 0 || math.IsNaN(s[0]) {
		return math.NaN()
	}
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// medians of each figure of several runs.
func medians(runs []result) result {
	of := func(field func(result) float64) float64 {
		var v []float64
		for _, r := range runs {
			v = append(v, field(r))
		}
		return median(v)
	}
	return result{
		seconds:    of(func(r result) float64 { return r.seconds }),
		ratio:      of(func(r result) float64 { return r.ratio }),
		seedTimes:  of(func(r result) float64 { return r.seedTimes }),
		duplicates: of(func(r result) float64 { return r.duplicates }),
		wire:       of(func(r result) float64 { return r.wire }),
		cpuPerGiB:  of(func(r result) float64 { return r.cpuPerGiB }),
		peakRSS:    of(func(r result) float64 { return r.peakRSS }),
	}
}

// number prints v with so many decimals, or a dash for what is not known.
func number(v float64, decimals int) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

// A table is rows of cells under a head, for people.
type table struct{ rows [][]string }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		fmt.Fprintln(tw, "  "+strings.Join(r, "\t"))
	}
	return tw.Flush()
}

// load is the machine's load of the last minute, by the kernel's count.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
