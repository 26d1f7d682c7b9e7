package netsim

import (
	"context"
	"math/rand/v2"

	"github.com/starling-swarm/starling/netsim/disk"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// diskFaults are those that need disks of the simulator's own.
var diskFaults = []string{"disk_full", "bad_write"}

// insertDisks gives the machines disks that obey the scenario's faults: where the power
// can fail they forget, too. In a program that cannot have them, a power cut forgets
// nothing, and scenarios that need more are refused before.
func (w *World) insertDisks() error {
	power := false
	other := false
	for i := range w.scenario.Faults {
		f := &w.scenario.Faults[i]
		power = power || f.PowerCut != nil || f.SwitchOff != nil && f.SwitchOff.Silent
		other = other || f.DiskFull != nil || f.BadWrite != nil
		w.reserves = w.reserves || f.DiskFull != nil
	}
	if !power && !other || !disk.Available() {
		return nil
	}
	set, err := disk.New(disk.Config{Dir: w.dir, Forgets: power})
	if err != nil {
		return err
	}
	w.disks = set
	return set.Hook()
}

// powerOn starts the machine's disk. What was there before its first life is on it.
func (m *machine) powerOn(first bool) {
	switch {
	case m.disk == nil:
	case first:
		m.disk.PowerOff()
		fallthrough
	default:
		m.disk.PowerOn()
	}
}

// cutDisk lets a machine's disk forget what was not synced, or stop in order.
func (w *World) cutDisk(m *machine, how ending) {
	switch {
	case m.disk == nil && how == inOrder:
	case m.disk == nil:
		w.truth.note(m.name, "disk", "forgets nothing: this program is not built to replay exactly")
	case how == inOrder:
		m.disk.PowerOff()
	default:
		l := m.disk.Cut(rand.New(rand.NewPCG(w.draw("cut", m.name, m.lives()).number(), 0)), how == tearing)
		w.truth.note(m.name, "disk", "%v", l)
	}
}

// How a machine's power ends.
type ending int

const (
	inOrder ending = iota // the disk is synced before
	suddenly
	tearing // and the disk was writing
)

// diskFull leaves machines so much space.
func (w *World) diskFull(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	w.each(names, func(m *machine) { m.disk.Fill(int64(f.DiskFull.Free)) })
	return func() {
		w.each(names, func(m *machine) { m.disk.Empty() })
	}, nil
}

// badWrite lets the disks of machines spoil writes.
func (w *World) badWrite(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	rate := float64(f.BadWrite.Rate) / float64(scenario.Whole)
	w.each(names, func(m *machine) { m.disk.Lie(f.BadWrite.Kind, rate, w.draw("lie", m.name, f.Draw).number()) })
	return func() {
		w.each(names, func(m *machine) {
			spoilt, writes := m.disk.Honest()
			w.truth.note(m.name, "disk", "has spoilt %d of %d writes", spoilt, writes)
		})
	}, nil
}
