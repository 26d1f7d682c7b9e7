package netsim

import (
	"context"
	"io/fs"
	"sync"
	"time"

	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// moveEvery is how often machines that move are put elsewhere: at walking speed half
// a metre, at the speed of a drone five, which no radio notices.
const moveEvery = 500 * time.Millisecond

// moves says where machines are. Each has a track from its scenario; a fault may send
// it on a trip away from there and back.
type moves struct {
	tracks map[string]scenario.Track // never changes

	mu    sync.Mutex
	trips map[string]*trip // guarded by mu: of machines that are not on their track
}

// A trip is a machine's way to somewhere else at a speed, and home again.
type trip struct {
	at    scenario.Point
	to    scenario.Point
	speed float64 // metres per second
	home  bool    // it follows its track again as soon as it has caught up with it
}

func newMoves(s *scenario.Scenario, files fs.FS) (*moves, error) {
	all, err := tracks(s, files)
	return &moves{tracks: all, trips: map[string]*trip{}}, err
}

// place is where a machine is now.
func (v *moves) place(name string) fabric.Point {
	v.mu.Lock()
	defer v.mu.Unlock()
	return point(v.spot(name))
}

// spot is place; the caller holds mu.
func (v *moves) spot(name string) scenario.Point {
	if t := v.trips[name]; t != nil {
		return t.at
	}
	return v.tracks[name].At(time.Since(Start))
}

// send lets a machine go away from where it is now: to a point, or by a distance.
func (v *moves) send(name string, m *scenario.Move) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := &trip{at: v.spot(name), speed: m.Speed}
	if t.to = t.at; m.By != nil {
		t.to = scenario.Point{X: t.at.X + m.By.X, Y: t.at.Y + m.By.Y, Z: t.at.Z + m.By.Z}
	} else if m.To != nil {
		t.to = *m.To
	}
	v.trips[name] = t
}

// recall lets a machine come back to its track, as fast as it went.
func (v *moves) recall(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.trips[name]; t != nil {
		t.home = true
	}
}

// step goes on by d, and reports whether the machine can be elsewhere than before.
func (v *moves) step(name string, d time.Duration) (fabric.Point, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := v.trips[name]
	if t == nil {
		return point(v.spot(name)), !v.tracks[name].Still()
	}
	if t.home {
		t.to = v.tracks[name].At(time.Since(Start))
	}
	far, way := t.at.Distance(t.to), t.speed*d.Seconds()
	if far > way {
		share := way / far
		t.at = scenario.Point{X: t.at.X + (t.to.X-t.at.X)*share, Y: t.at.Y + (t.to.Y-t.at.Y)*share, Z: t.at.Z + (t.to.Z-t.at.Z)*share}
		return point(t.at), true
	}
	if t.at = t.to; t.home {
		delete(v.trips, name)
	}
	return point(t.at), true
}

// drive moves all machines until ctx ends.
func (w *World) drive(ctx context.Context) {
	for next := time.Now(); ; {
		if next = next.Add(moveEvery); sleepUntil(ctx, next) != nil {
			return
		}
		for _, m := range w.machines() {
			if at, moved := w.moves.step(m.name, moveEvery); moved {
				m.host.Move(at)
			}
		}
	}
}

// move sends machines away, and calls them back.
func (w *World) move(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	for _, name := range names {
		w.moves.send(name, f.Move)
	}
	return func() {
		for _, name := range names {
			w.moves.recall(name)
		}
	}, nil
}
