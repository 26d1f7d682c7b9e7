package netsim

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
)

const (
	faultRows = 30 // faults that the page shows
	mapFrames = 12 // maps that the page shows
)

// faultPlot is what went wrong when, as it was.
func faultPlot(r *Report) template.HTML {
	list := r.Faults[:min(len(r.Faults), faultRows)]
	low := rowHigh * float64(len(list))
	d := newDrawing(low+44, r.Virtual)
	for i, f := range list {
		y := rowHigh * float64(i)
		d.row(y, f.Text)
		d.rect(d.x(f.From), y+3, d.x(f.To)-d.x(f.From), rowHigh-7, "back", fmt.Sprintf("%s, %s to %s", f.Text, clock(f.From), clock(f.To)))
	}
	d.times(low)
	if n := len(r.Faults) - len(list); n > 0 {
		d.text(plotLeft, low+34, "start", "tick", fmt.Sprintf("and %d more faults", n))
	}
	return d.done("Faults over time")
}

// splitPlot compares the largest group of machines that reached each other with how many
// members each voter believed alive.
func splitPlot(r *Report) template.HTML {
	top := max(r.Nodes, 1)
	d := newDrawing(230, r.Virtual)
	const low, high = 190.0, 12.0
	y := func(v float64) float64 { return low - (low-high)*v/float64(top) }
	d.counts(top, low, y)
	d.times(low)
	var together []spot
	seen := map[string][]spot{}
	for _, s := range r.Samples {
		together = append(together, spot{s.At, float64(s.Largest)})
		for name, n := range s.Seen {
			seen[name] = append(seen[name], spot{s.At, float64(n)})
		}
	}
	for i, name := range slices.Sorted(maps.Keys(seen)) {
		d.curve(seen[name], true, y, series(i), name+" sees alive")
	}
	d.curve(together, true, y, "truth", "nodes on the largest island, as it was")
	d.text(plotLeft, low+34, "start", "tick", "dashed: nodes that reached each other, at most, as it was; lines: members alive, as each voter saw them")
	return d.done("Nodes that reached each other, and members as voters saw them")
}

// voterNames are the voters that splitPlot draws, in the order of their colours.
func voterNames(r *Report) []string {
	names := map[string]bool{}
	for _, s := range r.Samples {
		for name := range s.Seen {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// trafficClasses are in the order of their colours.
var trafficClasses = []string{"bulk", "control", "gossip"}

// trafficPlot is what all machines sent, by class.
func trafficPlot(r *Report) template.HTML {
	rates, top := map[string][]spot{}, 0.0
	for i := 1; i < len(r.Samples); i++ {
		a, b := r.Samples[i-1], r.Samples[i]
		if b.At <= a.At {
			continue
		}
		for _, c := range trafficClasses {
			rate := 8 * float64(b.Bytes[c]-a.Bytes[c]) / (b.At - a.At)
			rates[c] = append(rates[c], spot{b.At, rate})
			top = max(top, rate)
		}
	}
	top = niceTop(top)
	d := newDrawing(230, r.Virtual)
	const low, high = 190.0, 12.0
	y := func(v float64) float64 { return low - (low-high)*math.Sqrt(v/top) } // small classes matter too
	for _, share := range []float64{0, 0.01, 0.1, 0.25, 0.5, 1} {
		d.line(plotLeft, y(share*top), plotWide-plotRight, y(share*top), "grid")
		d.text(plotLeft-8, y(share*top)+4, "end", "tick", bits(share*top))
	}
	d.times(low)
	for i, c := range trafficClasses {
		d.curve(rates[c], false, y, series(i), c)
	}
	d.text(plotLeft, low+34, "start", "tick", "bits per second of all machines together; the scale is that of square roots")
	return d.done("Traffic by class over time")
}

// bits prints a rate.
func bits(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g Mbit/s", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3g kbit/s", v/1e3)
	}
	return fmt.Sprintf("%.0f bit/s", v)
}

// frames are pictures of the swarm at some moments; none if everybody stands in one
// place.
func frames(r *Report) (list []template.HTML) {
	var with []Sample
	low, high := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for _, s := range r.Samples {
		if len(s.Places) == 0 {
			continue
		}
		with = append(with, s)
		for _, p := range s.Places {
			for i := range 2 {
				low[i], high[i] = min(low[i], p[i]), max(high[i], p[i])
			}
		}
	}
	size := max(high[0]-low[0], high[1]-low[1])
	if len(with) == 0 || size <= 0 {
		return nil
	}
	for i := range min(len(with), mapFrames) {
		s := with[i*len(with)/min(len(with), mapFrames)]
		list = append(list, frame(r, s, low, size))
	}
	return list
}

// frame is one map: machines by island, the operators' and bases as squares.
func frame(r *Report, s Sample, low [2]float64, size float64) template.HTML {
	d := newDrawing(200, 1)
	const edge = 10.0
	for i, p := range s.Places {
		x, y := edge+180*(p[0]-low[0])/size, 190-180*(p[1]-low[1])/size
		class, name := "off", ""
		if i < len(s.Island) && s.Island[i] > 0 {
			class = series(s.Island[i] - 1)
		}
		if i < len(r.Machines) {
			name = r.Machines[i].Name
			if r.Machines[i].Model == "" {
				d.rect(x-4, y-4, 8, 8, "dot "+class, name)
				continue
			}
		}
		d.circle(x, y, 3.5, "dot "+class, name)
	}
	return template.HTML(fmt.Sprintf(`<figure><svg viewBox="0 0 200 200" role="img" aria-label="map at %s">%s</svg><figcaption>%s, islands: %d</figcaption></figure>`,
		word(clock(s.At)), d.b.String(), word(clock(s.At)), s.Islands)) // every word in it went through word
}
