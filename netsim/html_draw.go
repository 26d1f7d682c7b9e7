package netsim

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// The size of a plot, in units of its own; a browser scales it.
const (
	plotWide  = 760.0
	plotLeft  = 118.0 // room for names of rows
	plotRight = 14.0
	rowHigh   = 18.0
)

// A drawing is an SVG picture. Colours are classes of the page's style, so that they
// follow a light or dark screen; every word in it is escaped.
type drawing struct {
	b    strings.Builder
	high float64
	to   float64 // seconds at the right edge; the left edge is 0
}

func newDrawing(high, to float64) *drawing { return &drawing{high: high, to: max(to, 1)} }

// x is where a time is.
func (d *drawing) x(at float64) float64 {
	return plotLeft + (plotWide-plotLeft-plotRight)*min(max(at, 0), d.to)/d.to
}

// rect is a box with a title, which a browser shows when one points at it.
func (d *drawing) rect(x, y, wide, high float64, class, title string) {
	fmt.Fprintf(&d.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s">`, x, y, max(wide, 1), high, class)
	d.title(title)
	d.b.WriteString("</rect>")
}

func (d *drawing) circle(x, y, r float64, class, title string) {
	fmt.Fprintf(&d.b, `<circle cx="%.1f" cy="%.1f" r="%.1f" class="%s">`, x, y, r, class)
	d.title(title)
	d.b.WriteString("</circle>")
}

func (d *drawing) title(text string) {
	if text != "" {
		d.b.WriteString("<title>" + word(text) + "</title>")
	}
}

// text is a word; anchor is start, middle or end.
func (d *drawing) text(x, y float64, anchor, class, text string) {
	fmt.Fprintf(&d.b, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, word(text))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(&d.b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`, x1, y1, x2, y2, class)
}

// A spot is a value at a time, in seconds.
type spot struct{ at, value float64 }

// curve joins spots: by steps, or by straight lines. y says where a value is.
func (d *drawing) curve(spots []spot, steps bool, y func(float64) float64, class, title string) {
	if len(spots) == 0 {
		return
	}
	var path strings.Builder
	for i, s := range spots {
		switch {
		case i == 0:
			fmt.Fprintf(&path, "M%.1f %.1f", d.x(s.at), y(s.value))
		case steps:
			fmt.Fprintf(&path, "H%.1fV%.1f", d.x(s.at), y(s.value))
		default:
			fmt.Fprintf(&path, "L%.1f %.1f", d.x(s.at), y(s.value))
		}
	}
	if steps {
		fmt.Fprintf(&path, "H%.1f", d.x(d.to))
	}
	fmt.Fprintf(&d.b, `<path d="%s" class="curve %s">`, path.String(), class)
	d.title(title)
	d.b.WriteString("</path>")
}

// row names a row of a time line.
func (d *drawing) row(y float64, name string) {
	d.text(plotLeft-8, y+rowHigh-6, "end", "name", cut(name, 17))
	d.line(plotLeft, y+rowHigh-1, plotWide-plotRight, y+rowHigh-1, "grid")
}

// times draws the axis of time below y.
func (d *drawing) times(y float64) {
	step := niceStep(d.to)
	for at := 0.0; at <= d.to*1.001; at += step {
		d.line(d.x(at), 0, d.x(at), y, "grid")
		d.text(d.x(at), y+14, "middle", "tick", tickWord(at, step))
	}
}

// counts draws the axis of a number of things from 0 to top, from low up.
func (d *drawing) counts(top int, low float64, y func(float64) float64) {
	for n := 0; n <= top; n += max((top+3)/4, 1) {
		d.line(plotLeft, y(float64(n)), plotWide-plotRight, y(float64(n)), "grid")
		d.text(plotLeft-8, y(float64(n))+4, "end", "tick", fmt.Sprint(n))
	}
	d.line(plotLeft, low, plotWide-plotRight, low, "axis")
}

// done is the whole picture; about is what it shows, for those who cannot see it.
func (d *drawing) done(about string) template.HTML {
	return template.HTML(fmt.Sprintf(`<div class="plot"><svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">%s</svg></div>`,
		plotWide, d.high, word(about), d.b.String())) // every word in it went through word
}

// word escapes text, and drops what no page may hold.
func word(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
}

// cut shortens a name to n letters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// niceStep is a step of time with at most eight of them to the end.
func niceStep(to float64) float64 {
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 4 * 3600, 6 * 3600, 12 * 3600, 86400} {
		if to/s <= 8 {
			return s
		}
	}
	return 86400 * math.Ceil(to/86400/8)
}

// tickWord prints a time on an axis in the unit of its steps.
func tickWord(at, step float64) string {
	switch {
	case at == 0:
		return "0"
	case step < 60:
		return fmt.Sprintf("%.0f s", at)
	case step < 3600:
		return fmt.Sprintf("%.0f min", at/60)
	}
	return fmt.Sprintf("%.0f h", at/3600)
}

// niceTop is a round number at or above v.
func niceTop(v float64) float64 {
	if v <= 0 {
		return 1
	}
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 5, 10} {
		if v <= m*scale {
			return m * scale
		}
	}
	return 10 * scale
}
