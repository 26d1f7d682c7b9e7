package netsim

import (
	"context"
	"sync"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario"
)

// each calls f with the machines of these names.
func (w *World) each(names []string, f func(*machine)) {
	for _, n := range names {
		if m := w.machineNamed(n); m != nil {
			f(m)
		}
	}
}

// bootTime is from power to a running node.
func (w *World) bootTime(m *machine) time.Duration {
	if r := w.robotNamed(m.name); r != nil && r.group != nil {
		return r.group.Device.Boot
	}
	return 0
}

// atStep does f now, or when the machine's update reaches a step.
func (w *World) atStep(m *machine, step string, f func()) {
	if step == "" {
		f()
		return
	}
	if r := w.robotNamed(m.name); r != nil {
		r.diesAt(step, f)
	}
}

// crash ends nodes' processes; their payloads go on. Later they are started again.
func (w *World) crash(ctx context.Context, f *scenario.Fault, names []string) (func(), error) {
	w.each(names, func(m *machine) {
		w.atStep(m, f.Crash.Step, func() {
			if !m.crash() {
				return
			}
			w.truth.note(m.name, "crash", "its node dies")
			if f.Crash.Restart != nil {
				w.later(ctx, *f.Crash.Restart, func() { w.boot(ctx, m) })
			}
		})
	})
	return nil, nil
}

// powerCut ends whole machines at once.
func (w *World) powerCut(ctx context.Context, f *scenario.Fault, names []string) (func(), error) {
	w.each(names, func(m *machine) {
		w.atStep(m, f.PowerCut.Step, func() {
			how := suddenly
			if f.PowerCut.Torn {
				how = tearing
			}
			w.lose(m, how)
			if f.PowerCut.Restart != nil {
				w.later(ctx, *f.PowerCut.Restart+w.bootTime(m), func() { w.boot(ctx, m) })
			}
		})
	})
	return nil, nil
}

// lose is a loss of power: node, payloads and radio end, and nobody is told. The disk
// forgets what was not synced, unless its files are the host's own.
func (w *World) lose(m *machine, how ending) {
	w.cutDisk(m, how)
	m.crash()
	w.endPayloads(m)
	m.host.PowerOff()
	w.truth.note(m.name, "power", "is off")
}

func (w *World) endPayloads(m *machine) {
	if r := w.robotNamed(m.name); r != nil {
		r.lose()
	}
}

// shutDown switches a machine off in order: its node says goodbye, then all ends.
func (w *World) shutDown(ctx context.Context, m *machine) {
	if err := m.off(ctx); err != nil && ctx.Err() == nil {
		w.truth.note(m.name, "goodbye", "not everybody heard it: %v", err)
	}
	w.lose(m, inOrder)
}

// restart shuts machines down in order and boots them again.
func (w *World) restart(ctx context.Context, f *scenario.Fault, names []string) (func(), error) {
	w.each(names, func(m *machine) {
		w.later(ctx, 0, func() {
			w.shutDown(ctx, m)
			w.later(ctx, f.Restart.Down+w.bootTime(m), func() { w.boot(ctx, m) })
		})
	})
	return nil, nil
}

// switchOff shuts machines down, without a word if it is silent, until it is lifted.
func (w *World) switchOff(ctx context.Context, f *scenario.Fault, names []string) (func(), error) {
	var off sync.WaitGroup
	w.each(names, func(m *machine) {
		if f.SwitchOff.Silent {
			w.lose(m, suddenly)
		} else {
			off.Go(func() { w.shutDown(ctx, m) })
		}
	})
	off.Wait()
	return func() {
		w.each(names, func(m *machine) { w.later(ctx, w.bootTime(m), func() { w.boot(ctx, m) }) })
	}, nil
}

// pause holds back all that goes in and out of machines; then all of it goes.
func (w *World) pause(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	w.each(names, func(m *machine) { m.host.Pause(f.For) })
	return func() {}, nil // it ends by itself, at that moment
}

// slowCPU lets machines compute for a part of each second only, and takes as many
// times longer to check an image.
func (w *World) slowCPU(ctx context.Context, f *scenario.Fault, names []string) (func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	w.setSlow(names, f.SlowCPU.Factor)
	rest := time.Second - time.Second/time.Duration(f.SlowCPU.Factor)
	go func() {
		for next := time.Now(); ; {
			w.each(names, func(m *machine) { m.host.Pause(rest) })
			if next = next.Add(time.Second); sleepUntil(ctx, next) != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		w.setSlow(names, 0)
	}, nil
}

func (w *World) setSlow(names []string, factor int) {
	for _, n := range names {
		if r := w.robotNamed(n); r != nil {
			r.mu.Lock()
			r.slow = factor
			r.mu.Unlock()
		}
	}
}

// behave makes payloads behave otherwise.
func (w *World) behave(_ context.Context, f *scenario.Fault, names []string) (func(), error) {
	set := func(as *scenario.Behaviour) {
		for _, n := range names {
			if r := w.robotNamed(n); r != nil {
				r.force(f.Behave.Release, as)
				for _, p := range r.parts {
					p.Reconsider()
				}
			}
		}
	}
	set(&f.Behave.As)
	return func() { set(nil) }, nil
}
