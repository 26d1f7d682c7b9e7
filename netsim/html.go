package netsim

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"

	"github.com/starling-swarm/starling/netsim/scenario"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock": clock, "since": clockOf, "series": series, "nothing": orNothing,
	"percent": func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	"mib":     func(b uint64) string { return fmt.Sprintf("%.1f MiB", float64(b)/(1<<20)) },
	"curve":   curvePlot, "gantt": rolloutPlot, "rule": rulePlot, "faults": faultPlot, "split": splitPlot, "traffic": trafficPlot,
	"frames": frames, "strip": stripPlot, "voters": voterNames,
}).Parse(pageSource))

// A page is what the template shows.
type page struct {
	Scenario *scenario.Scenario
	Series   *Series
	Run      *Report // shown in detail: the first that went wrong, else the first; nil if all died
	Classes  []string
	Talkers  []talker
}

// A talker is a machine that sent much.
type talker struct {
	Machine
	Sum uint64
}

// shownTalkers is how many machines the page lists by what they sent.
const shownTalkers = 10

// HTML writes one self-contained page about runs of a scenario, for a browser without a
// network: no script, no font, no picture from elsewhere.
func HTML(out io.Writer, s *scenario.Scenario, reports []*Report) error {
	p := page{Scenario: s, Series: NewSeries(reports), Classes: trafficClasses}
	for _, r := range reports {
		if r.Died == "" && (p.Run == nil || p.Run.OK() && !r.OK()) {
			p.Run = r
		}
	}
	if p.Run != nil {
		p.Talkers = talkers(p.Run)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return err
	}
	_, err := out.Write(bytes.ToValidUTF8(b.Bytes(), []byte("\uFFFD"))) // a text may be any bytes
	return err
}

func talkers(r *Report) (list []talker) {
	for _, m := range r.Machines {
		t := talker{Machine: m}
		for _, class := range slices.Sorted(maps.Keys(m.Sent)) {
			t.Sum += m.Sent[class]
		}
		list = append(list, t)
	}
	slices.SortStableFunc(list, func(a, b talker) int {
		switch {
		case a.Sum > b.Sum:
			return -1
		case a.Sum < b.Sum:
			return 1
		}
		return 0
	})
	return list[:min(len(list), shownTalkers)]
}

// stripPlot is a dot for each run: when the last robot had the release.
func stripPlot(s *Series) template.HTML {
	spread := s.Spread()
	worst := 0.0
	for _, f := range spread {
		worst = max(worst, f.Worst)
	}
	low := rowHigh * float64(len(spread)) * 2
	d := newDrawing(low+44, worst*1.05)
	for i, f := range spread {
		y := 2 * rowHigh * float64(i)
		d.row(y, f.Release)
		for n, r := range s.Runs {
			for _, c := range r.Completion {
				if c.Release != f.Release || c.Last == nil || c.Shipped == nil {
					continue
				}
				class := "dot c0"
				if !r.OK() {
					class = "dot back"
				}
				took := *c.Last - *c.Shipped
				d.circle(d.x(took), y+6+float64(n%5)*4, 3, class, fmt.Sprintf("seed %d: %s", r.Seed, clock(took)))
			}
		}
	}
	d.times(low)
	d.text(plotLeft, low+34, "start", "tick", "a dot for each run: when the last robot had the release, after it was shipped; red: the run went wrong")
	return d.done("How long each run took")
}
