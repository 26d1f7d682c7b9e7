package scenario

import (
	"fmt"
	"sort"
	"time"
)

// maxKnots bounds a track; who would turn more often stands still after that.
const maxKnots = 10_000

// A Knot is where a machine is at a time.
type Knot struct {
	At time.Duration
	To Point
}

// A Track is the way of one machine through the run: straight lines at constant
// speed between knots. It stands still before the first and after the last, unless
// it goes round.
type Track struct {
	knots []Knot // at least one; At rises
	round bool   // from the last knot back to the first, which are the same place
}

// Still reports whether the machine never moves.
func (t Track) Still() bool { return len(t.knots) == 1 }

// At is where the machine is at a time.
func (t Track) At(at time.Duration) Point {
	k := t.knots
	last := k[len(k)-1].At
	if t.round && last > 0 {
		at %= last
	}
	i := sort.Search(len(k), func(i int) bool { return k[i].At > at })
	switch {
	case i == 0:
		return k[0].To
	case i == len(k):
		return k[i-1].To
	}
	a, b := k[i-1], k[i]
	return mix(a.To, b.To, float64(at-a.At)/float64(b.At-a.At))
}

// Track is the way of m. trace is what ParseTrace made of the group's trace file; it
// is not needed for groups without one.
func (s *Scenario) Track(m Machine, trace Trace) (Track, error) {
	start := s.Start(m)
	still := Track{knots: []Knot{{0, start}}}
	if m.Kind != Robots {
		return still, nil
	}
	g := &s.Fleet[m.Group]
	offset := start.minus(s.Start(Machine{Name: g.Robot(0), Kind: Robots, Group: m.Group}))
	switch mob := &g.Mobility; {
	case len(mob.Waypoints) > 0:
		t := still
		for _, w := range mob.Waypoints {
			if w.At == 0 {
				t.knots = nil
			}
			t.knots = append(t.knots, Knot{w.At, w.To.plus(offset)})
		}
		return t, nil
	case mob.Patrol != nil:
		return mob.Patrol.track(offset), nil
	case mob.RandomWaypoint != nil:
		return s.wander(mob.RandomWaypoint, m.Name, start), nil
	case mob.Trace != "":
		knots := trace[m.Name]
		if len(knots) == 0 {
			return Track{}, fmt.Errorf("%w: %s has no line for %s", ErrScenario, mob.Trace, m.Name)
		}
		return Track{knots: knots}, nil
	}
	return still, nil
}

// travel is how long a distance takes, at least the shortest time there is.
func travel(a, b Point, speed float64) time.Duration {
	return max(1, time.Duration(a.Distance(b)/speed*float64(time.Second)))
}

func (p *Patrol) track(offset Point) Track {
	t := Track{knots: []Knot{{0, p.Points[0].plus(offset)}}, round: true}
	for i := range p.Points {
		from, to := p.Points[i], p.Points[(i+1)%len(p.Points)]
		if from != to {
			t.knots = append(t.knots, Knot{t.knots[len(t.knots)-1].At + travel(from, to, p.Speed), to.plus(offset)})
		}
	}
	return t
}

// wander draws points until the end of the run.
func (s *Scenario) wander(w *RandomWaypoint, name string, at Point) Track {
	r := generator(s.Seed, "wander "+name, 0)
	t := Track{knots: []Knot{{0, at}}}
	for now := time.Duration(0); now < s.Duration && len(t.knots) < maxKnots; {
		to := Point{r.Float64() * s.World.Area.X, r.Float64() * s.World.Area.Y, at.Z}
		now += travel(at, to, w.Speed)
		t.knots = append(t.knots, Knot{now, to})
		if w.Pause > 0 {
			now += w.Pause
			t.knots = append(t.knots, Knot{now, to})
		}
		at = to
	}
	return t
}
