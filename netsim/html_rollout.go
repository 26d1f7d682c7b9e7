package netsim

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
)

// ganttRows is how many robots the time line of a rollout shows.
const ganttRows = 40

// curvePlot is how many robots have each release.
func curvePlot(r *Report) template.HTML {
	top := max(r.Robots, 1)
	d := newDrawing(230, r.Virtual)
	const low, high = 190.0, 12.0
	y := func(v float64) float64 { return low - (low-high)*v/float64(top) }
	d.counts(top, low, y)
	d.times(low)
	for i, c := range r.Completion {
		spots := []spot{{0, 0}}
		for _, p := range r.Curve {
			if p.Release == c.Release {
				spots = append(spots, spot{p.At, float64(p.Robots)})
			}
		}
		d.curve(spots, true, y, series(i), c.Release)
	}
	d.text(plotLeft, low+34, "start", "tick", "robots that have committed each release")
	return d.done("How many robots have committed each release, over time")
}

// series is the colour of the i-th thing.
func series(i int) string { return fmt.Sprintf("c%d", i%6) }

// rolloutPlot is who of a rollout's robots did what when: canaries first.
func rolloutPlot(r *Report, x *RolloutResult) template.HTML {
	rows := slices.Clone(x.Canaries)
	for _, name := range x.Touched {
		if !slices.Contains(rows, name) {
			rows = append(rows, name)
		}
	}
	left := max(len(rows)-ganttRows, 0)
	rows = rows[:len(rows)-left]
	from, to := x.began(), min(r.Virtual, x.ended()+0.05*r.Virtual)
	d := newDrawing(rowHigh*float64(len(rows)+1)+44, to-from)
	stages(d, x, from)
	for i, name := range rows {
		y := rowHigh * float64(i+1)
		label := name
		if slices.Contains(x.Canaries, name) {
			label = "◆ " + name
		}
		d.row(y, label)
		for _, s := range spans(r, x, name) {
			if s.to > from {
				d.rect(d.x(s.from-from), y+3, d.x(s.to-from)-d.x(s.from-from), rowHigh-7, s.did, fmt.Sprintf("%s %s at %s: %s", name, s.did, clock(s.from), s.text))
			}
		}
	}
	low := rowHigh * float64(len(rows)+1)
	d.times(low)
	note := fmt.Sprintf("since it started at %s; ◆ canary", clock(from))
	if left > 0 {
		note += fmt.Sprintf("; %d more robots not shown", left)
	}
	d.text(plotLeft, low+34, "start", "tick", note)
	return d.done("What each robot did in the rollout of " + x.Release)
}

// stages draws the stages of a rollout as its first row.
func stages(d *drawing, x *RolloutResult, from float64) {
	d.row(0, "stage")
	for i := 0; i < len(x.Steps); i++ {
		s, end := x.Steps[i], d.to
		j := i
		for j+1 < len(x.Steps) && x.Steps[j+1].Status == s.Status && x.Steps[j+1].Stage == s.Stage {
			j++
		}
		if j+1 < len(x.Steps) {
			end = x.Steps[j+1].At - from
		}
		i = j
		class := map[string]string{"running": "stage", "done": "committed", "held": "trial"}[s.Status]
		if class == "" {
			class = "back"
		}
		title := s.Stage
		if s.Status != "running" {
			title = s.Status
		}
		x0, x1 := d.x(s.At-from), d.x(end)
		d.rect(x0, 2, x1-x0-1, rowHigh-5, class, fmt.Sprintf("%s, %s from %s%s", s.Stage, s.Status, clock(s.At), because(s.Reason)))
		if x1-x0 > 7*float64(len(title)) {
			d.text(x0+4, rowHigh-6, "start", "on", title)
		}
	}
}

// A span is what a robot was about for a while.
type span struct {
	from, to float64
	did      string // class: trial, committed or back
	text     string
}

// spans are those of one robot with a rollout's release.
func spans(r *Report, x *RolloutResult, robot string) (list []span) {
	close := func(at float64) {
		if n := len(list); n > 0 && list[n-1].to == 0 {
			list[n-1].to = at
		}
	}
	for _, s := range r.Switches {
		if s.Robot != robot || s.At < x.began() || component(s.Release) != component(x.Release) {
			continue
		}
		close(s.At)
		switch {
		case s.Did == WentBack && s.Release != x.Release:
			list = append(list, span{from: s.At, did: "back", text: "went back to " + s.Release})
		case s.Release != x.Release:
			return list // a later rollout
		case s.Did == Activated:
			list = append(list, span{from: s.At, did: "trial", text: "on trial"})
		case s.Did == Committed:
			list = append(list, span{from: s.At, did: "committed", text: "committed"})
		}
	}
	close(r.Virtual)
	return list
}

// rulePlot is who led and who voted when.
func rulePlot(r *Report) template.HTML {
	var names []string
	for _, e := range r.Voters {
		for _, v := range e.Voters {
			if !slices.Contains(names, v) {
				names = append(names, v)
			}
		}
	}
	for _, l := range r.Leaders {
		if l.Leader != "" && !slices.Contains(names, l.Leader) {
			names = append(names, l.Leader)
		}
	}
	low := rowHigh * float64(len(names))
	d := newDrawing(low+44, r.Virtual)
	for i, name := range names {
		y := rowHigh * float64(i)
		d.row(y, name)
		for j, e := range r.Voters {
			if slices.Contains(e.Voters, name) {
				end := r.Virtual
				if j+1 < len(r.Voters) {
					end = r.Voters[j+1].From
				}
				d.rect(d.x(e.From), y+6, d.x(end)-d.x(e.From), 5, "voter", name+" votes from "+clock(e.From))
			}
		}
		for j, l := range r.Leaders {
			if l.Leader == name {
				end := r.Virtual
				if j+1 < len(r.Leaders) {
					end = r.Leaders[j+1].From
				}
				d.rect(d.x(l.From), y+2, d.x(end)-d.x(l.From), rowHigh-6, "leader", name+" leads from "+clock(l.From))
			}
		}
	}
	d.times(low)
	d.text(plotLeft, low+34, "start", "tick", "thin: votes; thick: leads")
	return d.done("Who voted and who led: " + strings.Join(names, ", "))
}
