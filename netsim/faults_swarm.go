package netsim

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// race lets operators speak at the same instant. Each says its word once: the second
// is told what became of it, and does not try again.
func (w *World) race(ctx context.Context, f *scenario.Fault, _ []string) (func(), error) {
	all := clone(w, &w.operators)
	for i := range f.Race {
		for _, err := all[i].on(); err != nil; _, err = all[i].on() {
			if err := sleepUntil(ctx, time.Now().Add(tick)); err != nil {
				return nil, err
			}
		}
	}
	var told sync.WaitGroup
	for i, word := range f.Race {
		s := stepOf(word, all[i].name)
		told.Go(func() {
			if err := w.act(ctx, s); err != nil {
				w.truth.note(s.By, "step-failed", "%s %s: %v", word.Verb, word.Release, err)
			} else {
				w.truth.note(s.By, "step", "%s %s", word.Verb, word.Release)
			}
		})
	}
	told.Wait()
	return nil, ctx.Err()
}

// stepOf is what an operator does to say a word.
func stepOf(word scenario.Word, by string) *scenario.Step {
	s, why := &scenario.Step{By: by}, "a race"
	switch word.Verb {
	case "ship":
		s.Ship = &scenario.Ship{Version: word.Release}
		strict.Fill(s.Ship)
	case "publish":
		s.Publish = &word.Release
	case "pause":
		s.Pause = &why
	case "resume":
		s.Resume = &why
	case "renew":
		s.Renew = &why
	case "rollback":
		s.Rollback = &scenario.Rollback{Reason: why}
	}
	return s
}

// moveVoters makes the swarm swap voters for others. There is no command for that:
// a seat goes to another when nobody has heard its holder for long enough. So one voter
// after the other, none of them leading, is dead until it has lost its seat, and then
// comes back without one. Its payload goes on meanwhile.
func (w *World) moveVoters(ctx context.Context, f *scenario.Fault, _ []string) (func(), error) {
	r := rand.New(rand.NewPCG(w.draw("move-voters", f.Draw).number(), 0))
	var moved []string
	for range f.MoveVoters.Count {
		lead := w.leaders()
		seats := slices.DeleteFunc(w.voters(), func(n string) bool {
			m := w.machineNamed(n)
			return slices.Contains(lead, n) || slices.Contains(moved, n) || m == nil || m.alive() == nil
		})
		if len(seats) == 0 {
			w.truth.note("netsim", "voters", "nobody has a seat to give away")
			return nil, nil
		}
		m := w.machineNamed(seats[r.IntN(len(seats))])
		moved = append(moved, m.name)
		w.truth.note(m.name, "voters", "is to lose its seat")
		m.crash() // without a goodbye, which would let the others wait for longer
		for slices.Contains(w.voters(), m.name) {
			if err := sleepUntil(ctx, time.Now().Add(tick)); err != nil {
				return nil, err
			}
		}
		w.boot(ctx, m)
	}
	return nil, nil
}
