package netsim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

type Options struct {
	// Seed is used instead of the scenario's, unless 0.
	Seed uint64
	// Dir is an empty directory for the state of all machines, best on a RAM disk.
	Dir string
	// Log takes what the nodes log; nil discards.
	Log *slog.Logger
	// Trace records everything that happens, every packet too, so that the first
	// difference of two runs can be found; nil is nobody. Report.Digest is the same
	// with it and without.
	Trace *exact.Writer
	// Said hears each note as it is made; nil is nobody.
	Said func(Note)
	// Beat hears how far the run is, every few virtual seconds; nil is nobody.
	Beat func(Beat)
	// Plan is shipped instead of the scenario's own knobs, where the story ships its
	// release; nil is none. See Rehearsal.
	Plan *rollout.Plan
	// Files holds what a scenario names besides itself: traces of movement. Nil is
	// enough for one that names nothing.
	Files fs.FS
}

const (
	lookEvery = time.Second
	// Garbage is collected when the network has carried so much, for garbage comes of
	// work, or at the latest after so much virtual time. What the runtime knows of its
	// heap would be a better measure, but it differs a little from run to run, and when
	// a collection happens must not.
	quietAfter = 15_000 // events of the network
	quietEvery = 3 * time.Minute
)

var routings = map[string]fabric.Routing{"none": fabric.None, "mesh": fabric.Mesh, "star": fabric.Star}

func Run(ctx context.Context, s *scenario.Scenario, o Options) (*Report, error) {
	if o.Seed == 0 {
		o.Seed = s.Seed
	}
	o = o.withDefaults()
	w, err := newWorld(s, o)
	if err != nil {
		return nil, err
	}
	return w.run(ctx, o)
}

// withDefaults fills in who listens: nobody.
func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// newWorld is a world before anything happens in it.
func newWorld(s *scenario.Scenario, o Options) (*World, error) {
	if list := append(Unsupported(s), Missing(s)...); len(list) > 0 {
		return nil, fmt.Errorf("%s: %s", s.Name, strings.Join(list, "; "))
	}
	if s.Seed != o.Seed {
		s = s.Clone()
		s.Seed = o.Seed // it decides places and ways too
	}
	clocks, err := windClocks(s)
	if err != nil {
		return nil, err
	}
	w := &World{
		scenario: s, clocks: clocks, seed: o.Seed, swarm: "netsim", dir: o.Dir, log: o.Log, trace: exact.NewWriter(nil), events: o.Trace,
		byName: map[string]*machine{}, counters: map[string]uint64{}, watch: newWatch(), given: o.Plan, populated: make(chan struct{}), tolled: map[int]toll{},
	}
	w.truth, w.checks = newTruth(w), newChecks(w)
	w.owner = w.draw("owner").key()
	if w.moves, err = newMoves(s, o.Files); err != nil {
		return nil, err
	}
	time.Sleep(time.Until(Start))
	c := fabric.Config{Seed: w.draw("network").number(), Routing: routings[s.World.Routing], Hub: s.World.Hub}
	if o.Trace != nil {
		c.Trace = func(e fabric.Event) { o.Trace.Event("%v", e) }
	}
	if w.net, err = fabric.New(c); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, err
	}
	return w, w.insertDisks()
}

// run plays the scenario to its end.
func (w *World) run(ctx context.Context, o Options) (*Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	netDone := make(chan error, 1)
	go func() { netDone <- w.net.Run(ctx) }()
	err := w.play(ctx, o)
	w.sample()
	behind := w.behind() // asks the nodes why, so before they stop
	w.stop()
	cancel()
	if err := errors.Join(err, <-netDone); err != nil {
		return nil, err
	}
	return w.report(behind), nil
}

func (w *World) play(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2)
	told := make(chan struct{}) // closed when the story is over
	go func() {
		defer close(told)
		if err := w.populate(ctx); err != nil {
			failed <- fmt.Errorf("start the swarm: %w", err)
			return
		}
		close(w.populated)
		if err := w.story(ctx); err != nil && ctx.Err() == nil {
			failed <- err
		}
	}()
	go func() {
		if err := w.trouble(ctx); err != nil && ctx.Err() == nil {
			failed <- err
		}
	}()
	go w.drive(ctx)
	said := 0
	for last, carried := Start, uint64(0); ; {
		w.look()
		for _, n := range w.truth.since(said) {
			said++
			if o.Said != nil {
				o.Said(n)
			}
		}
		over := false
		select {
		case err := <-failed:
			return err
		case <-told:
			over = w.settled()
		default:
		}
		if over || time.Since(Start) >= w.scenario.Duration {
			return nil
		}
		if time.Since(Start)%sampleEvery < lookEvery {
			w.sample()
			if o.Beat != nil {
				o.Beat(w.beat())
			}
		}
		if n := w.net.Happened(); n-carried >= quietAfter || time.Since(last) >= quietEvery {
			last, carried = time.Now(), n
			exact.Quiet()
		}
		time.Sleep(lookEvery)
	}
}

func (w *World) settled() bool {
	o := w.watch.order()
	return o != nil && !w.troubled() && (o.Rollout == nil || o.Rollout.Status.Final() || w.holds()) && len(w.unmet()) == 0
}
