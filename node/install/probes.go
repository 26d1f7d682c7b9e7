package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/node/update"
)

// Probes asks all watches of one payload, and folds their answers into one: well
// when every probe was well last time it was asked, failed when one has failed
// FailAfter times in a row. In between it says nothing: silence is not health.
type Probes struct {
	watches []Watch
	// results is sent by Run, unbuffered, and never closed.
	results chan update.Probe
}

// NewProbes checks the watches. Without any the payload is well as long as it runs.
func NewProbes(watches []Watch) (*Probes, error) {
	p := &Probes{watches: append([]Watch(nil), watches...), results: make(chan update.Probe)}
	var errs []error
	seen := map[string]bool{}
	for i := range p.watches {
		w := &p.watches[i]
		errs = append(errs, w.fill())
		if seen[w.Name] {
			errs = append(errs, fmt.Errorf("install: two probes are called %q", w.Name))
		}
		seen[w.Name] = true
	}
	return p, errors.Join(errs...)
}

// Results carries the folded answers, at each round, while Run runs.
func (p *Probes) Results() <-chan update.Probe { return p.results }

// answer is one probe's, counted.
type answer struct {
	watch  int
	well   bool
	failed string // the reason, when FailAfter was reached
}

// Run asks until ctx ends. Call it anew for each start of the payload: the time to
// come up counts from here.
func (p *Probes) Run(ctx context.Context) error {
	if len(p.watches) == 0 {
		return p.always(ctx)
	}
	answers := make(chan answer) // sent by each follow, read by fold
	g, ctx := errgroup.WithContext(ctx)
	for i := range p.watches {
		g.Go(func() error { return p.follow(ctx, i, answers) })
	}
	g.Go(func() error { return p.fold(ctx, answers) })
	return g.Wait()
}

// always is well without asking.
func (p *Probes) always(ctx context.Context) error {
	tick := time.NewTicker(DefaultProbeEvery)
	defer tick.Stop()
	for p.tell(ctx, update.Probe{OK: true}) {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// follow asks one probe again and again.
func (p *Probes) follow(ctx context.Context, i int, out chan<- answer) error {
	w := &p.watches[i]
	begin := time.Now()
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	failures, up := 0, false
	for {
		err := w.ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a := answer{watch: i, well: err == nil}
		switch {
		case err == nil:
			failures, up = 0, true
		case !up && time.Since(begin) < w.StartAfter:
		default:
			if failures++; failures >= w.FailAfter {
				a.failed = fmt.Sprintf("probe %s: %v", w.Name, err)
				failures = w.FailAfter // stays failed until it is well
			}
		}
		select {
		case out <- a:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// fold makes one verdict of the probes' last answers.
func (p *Probes) fold(ctx context.Context, in <-chan answer) error {
	well := make([]bool, len(p.watches)) // by watch; what it said last
	for {
		var a answer
		select {
		case <-ctx.Done():
			return nil
		case a = <-in:
		}
		well[a.watch] = a.well
		r := update.Probe{OK: true, Reason: a.failed}
		for _, w := range well {
			r.OK = r.OK && w
		}
		if (r.OK || a.failed != "") && !p.tell(ctx, r) {
			return nil
		}
	}
}

func (p *Probes) tell(ctx context.Context, r update.Probe) bool {
	select {
	case p.results <- r:
		return true
	case <-ctx.Done():
		return false
	}
}
