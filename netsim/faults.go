package netsim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/netsim/disk"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// A strike brings one fault upon machines, and returns what lifts it; nil if nothing
// does. It does not block for longer than the fault needs to come.
type strike func(w *World, ctx context.Context, f *scenario.Fault, names []string) (lift func(), err error)

// strikes are the faults that this simulator can bring, by their key. Swizzle never comes
// here: it is counted out into clogs.
var strikes = map[string]strike{
	"partition": (*World).partition, "clog": (*World).clog, "loss": (*World).lossy, "bandwidth": (*World).throttle,
	"delay": (*World).delay, "duplicate": (*World).duplicate, "reorder": (*World).reorder, "garble": (*World).garble, "mtu": (*World).mtu,
	"crash": (*World).crash, "power_cut": (*World).powerCut, "restart": (*World).restart, "pause": (*World).pause, "slow_cpu": (*World).slowCPU,
	"switch_off": (*World).switchOff, "behave": (*World).behave, "lie": (*World).lie,
	"clock": (*World).wrongClock, "disk_full": (*World).diskFull, "bad_write": (*World).badWrite,
	"move_voters": (*World).moveVoters, "move": (*World).move, "race": (*World).race,
}

// atOnce are the faults of the network itself: they may come before everybody is there.
var atOnce = []string{"partition", "clog", "loss", "bandwidth", "delay", "duplicate", "reorder", "garble", "mtu"}

// Unsupported lists what s asks for and this simulator cannot do in any build, so that
// it is said before anything starts.
func Unsupported(s *scenario.Scenario) (list []string) {
	for i := range s.Faults {
		f := &s.Faults[i]
		key, _ := f.Action()
		if strikes[key] == nil && f.Swizzle == nil {
			list = append(list, fmt.Sprintf("faults[%d]: %s is not in this build", i, key))
		}
	}
	return list
}

// Missing lists what s asks for and this very program cannot do, for it is not built to
// replay exactly: clocks and disks that go wrong are parts of the same build.
func Missing(s *scenario.Scenario) (list []string) {
	for i := range s.Faults {
		key, _ := s.Faults[i].Action()
		if key == "clock" && !exact.HasClocks() || slices.Contains(diskFaults, key) && !disk.Available() {
			list = append(list, fmt.Sprintf("faults[%d]: %s needs a program that replays exactly, and this one is not built so", i, key))
		}
	}
	return list
}

// trouble brings the faults of the scenario, each at its time.
func (w *World) trouble(ctx context.Context) error {
	list := w.scenario.Timeline(w.seed)
	w.owe(len(list))
	failed := make(chan error, len(list))
	for _, o := range list {
		go func() { failed <- w.occur(ctx, o) }()
	}
	for range list {
		if err := <-failed; err != nil {
			return err
		}
		w.owe(-1)
	}
	return nil
}

// owe counts what faults have still to do: to come, to be lifted, to boot again what
// they switched off.
func (w *World) owe(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending += n
}

// occur waits for one occurrence and brings it.
func (w *World) occur(ctx context.Context, o scenario.Occurrence) error {
	f := &o.Fault
	if f.When != nil {
		if err := w.until(ctx, *f.When); err != nil {
			return err
		}
	} else if err := sleepUntil(ctx, Start.Add(o.At)); err != nil {
		return err
	}
	names, err := w.struck(ctx, f)
	if err != nil {
		return err
	}
	w.tolls(o.Source, w.finds(f, names))
	list := parts(f, names)
	failed := make(chan error, len(list))
	for _, p := range list {
		go func() { failed <- w.bring(ctx, p, o.Source) }()
	}
	for range list {
		if err := <-failed; err != nil {
			return err
		}
	}
	return nil
}

// struck is whom a fault hits: those picked that are there. At the start it waits
// for them to come, and for whom else it names.
func (w *World) struck(ctx context.Context, f *scenario.Fault) ([]string, error) {
	key, _ := f.Action()
	there := func() bool {
		missing := 0
		strict.Each(f, func(_ string, p *scenario.Pick) { missing += len(w.absent(w.pick(p, f.Draw))) })
		return missing == 0 && slices.Contains(atOnce, key)
	}
	for !there() {
		select {
		case <-w.populated:
		case <-time.After(tick):
			continue
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		break
	}
	names := w.pick(f.Pick, f.Draw)
	gone := w.absent(names)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(gone, n) }), nil
}

// absent are machines that are not there yet.
func (w *World) absent(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return w.machineNamed(n) != nil })
}

// bring brings a part of a fault, and lifts it when its time is over. One that lasts
// to the end of the run needs no lifting, and nobody waits for it.
func (w *World) bring(ctx context.Context, p part, source int) error {
	if err := sleepUntil(ctx, time.Now().Add(p.after)); err != nil {
		return err
	}
	key, _ := p.fault.Action()
	w.truth.note("netsim", "fault", "%s %v", key, p.names)
	lift, err := strikes[key](w, ctx, &p.fault, p.names)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("fault %d, %s: %w", source+1, key, err)
	}
	if lift == nil || p.fault.For == 0 || time.Since(Start)+p.fault.For >= w.scenario.Duration {
		return nil
	}
	if err := sleepUntil(ctx, time.Now().Add(p.fault.For)); err != nil {
		return err
	}
	lift()
	w.truth.note("netsim", "fault-over", "%s %v", key, p.names)
	return nil
}

// later does f after d, unless the run ends before. The run waits for it.
func (w *World) later(ctx context.Context, d time.Duration, f func()) {
	w.owe(1)
	go func() {
		defer w.owe(-1)
		if sleepUntil(ctx, time.Now().Add(d)) == nil {
			f()
		}
	}()
}

// boot starts a machine's node, unless something else has done so.
func (w *World) boot(ctx context.Context, m *machine) {
	if m.alive() != nil {
		return
	}
	w.truth.note(m.name, "boot", "starts again")
	if err := m.start(ctx); err != nil && ctx.Err() == nil {
		w.truth.note(m.name, "start-failed", "%v", err)
	}
}
