package netsim

import (
	"context"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// Clocks go wrong between these years: outside, a Go program's times lose their
// monotonic part.
const (
	firstYear = 1971
	lastYear  = 2150
)

// windClocks gives each machine a clock of its own, if the scenario needs that, and says
// whether it does. It comes before anybody reads the time.
func windClocks(s *scenario.Scenario) (bool, error) {
	for i := range s.Faults {
		if s.Faults[i].Clock != nil {
			return true, exact.UseClocks()
		}
	}
	return false, nil
}

// clock is what the machine takes the time to be.
func (m *machine) clock() (t time.Time) {
	exact.As(m.number, func() { t = time.Now() })
	return t
}

// wrongClock lets the clocks of machines jump, and run faster or slower until it is
// lifted. Only their wall clocks: timers and what is measured go on at the right pace.
func (w *World) wrongClock(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	c := f.Clock
	var err error
	w.each(names, func(m *machine) {
		if y := m.clock().Add(c.Jump).Year(); y < firstYear || y > lastYear {
			err = fmt.Errorf("the clock of %s would show the year %d", m.name, y)
			return
		}
		exact.SetClock(m.number, c.Jump, c.DriftPPM)
		w.truth.note(m.name, "clock", "shows %s", m.clock().UTC().Format(time.DateTime))
	})
	return func() {
		w.each(names, func(m *machine) { exact.SetClock(m.number, 0, 0) })
	}, err
}
