package scenario

import "math"

// Start is where a machine stands before anything moves.
func (s *Scenario) Start(m Machine) Point {
	switch m.Kind {
	case Operators:
		return s.Operators[m.Group].At
	case Bases:
		return s.spot(&s.Base.Place, m.Index, s.Base.Count, m.Name)
	}
	g := &s.Fleet[m.Group]
	return s.spot(&g.Place, m.Index, g.Count, m.Name)
}

// spot is the place of number i of n; where chance decides, it decides for each
// name by itself.
func (s *Scenario) spot(p *Place, i, n int, name string) Point {
	switch {
	case p.At != nil:
		return *p.At
	case p.Area != nil:
		r := generator(s.Seed, "spot "+name, 0)
		return Point{between(p.Area.From.X, p.Area.To.X, r.Float64()), between(p.Area.From.Y, p.Area.To.Y, r.Float64()),
			between(p.Area.From.Z, p.Area.To.Z, r.Float64())}
	case p.Line != nil:
		return mix(p.Line.From, p.Line.To, part(i, n))
	case p.Grid != nil:
		rows := (n + p.Grid.Columns - 1) / p.Grid.Columns
		spot := mix(p.Grid.From, p.Grid.To, part(i/p.Grid.Columns, rows))
		spot.X = between(p.Grid.From.X, p.Grid.To.X, part(i%p.Grid.Columns, min(n, p.Grid.Columns)))
		return spot
	case p.Circle != nil:
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		c := p.Circle.Center
		return Point{c.X + p.Circle.Radius*cos, c.Y + p.Circle.Radius*sin, c.Z}
	}
	return Point{}
}

// part is how far along number i of n is, from 0 to 1; alone is at the start.
func part(i, n int) float64 { return float64(i) / float64(max(1, n-1)) }

func between(a, b, at float64) float64 { return a + (b-a)*at }

// mix is the point at a part of the way from a to b.
func mix(a, b Point, at float64) Point {
	return Point{between(a.X, b.X, at), between(a.Y, b.Y, at), between(a.Z, b.Z, at)}
}

func (p Point) plus(q Point) Point  { return Point{p.X + q.X, p.Y + q.Y, p.Z + q.Z} }
func (p Point) minus(q Point) Point { return Point{p.X - q.X, p.Y - q.Y, p.Z - q.Z} }
