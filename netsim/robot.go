package netsim

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/install/installtest"
	"github.com/starling-swarm/starling/node/update"
)

// What a trial that no plan rules needs, and how often a payload is asked how it is.
const (
	minHealthy      = 2 * time.Second
	healthyDeadline = time.Minute
	probeEvery      = time.Second
)

// A robot is a machine with payloads.
type robot struct {
	machine
	group *scenario.Group // nil for a base machine
	model string
	parts []*payload

	mu     sync.Mutex
	deaths []death                             // guarded by mu: those that faults have still in store for the machine
	forced map[scenario.Ref]scenario.Behaviour // guarded by mu: by faults; "" is any release
	slow   int                                 // guarded by mu: how many times slower a fault makes the computer; 0 is not
}

// A payload is one component's slots on disk with what runs in them: installtest's
// driver, and a record of what really happened.
type payload struct {
	*installtest.Driver
	r         *robot
	w         *World
	component string
}

var _ install.Driver = (*payload)(nil)

// Install takes as long as the robot's computer needs to read the image again.
func (p *payload) Install(ctx context.Context, what install.Payload) error {
	return p.Driver.Install(ctx, what)
}

// Activate is the moment of truth: what is in the slot will run. The truth has the right
// time, whatever the robot's clock shows.
func (p *payload) Activate(ctx context.Context, to install.Payload, back bool) error {
	exact.As(0, func() { p.w.truth.activates(p, to, back) })
	return p.Driver.Activate(ctx, to, back)
}

// Start is the same after a restart.
func (p *payload) Start(ctx context.Context, what install.Payload) error {
	exact.As(0, func() { p.w.truth.starts(p, what) })
	return p.Driver.Start(ctx, what)
}

// Commit ends a trial.
func (p *payload) Commit(ctx context.Context, what install.Payload) error {
	exact.As(0, func() { p.w.truth.commits(p, what) })
	return p.Driver.Commit(ctx, what)
}

// Stop ends the payload.
func (p *payload) Stop(ctx context.Context) error {
	exact.As(0, func() { p.w.truth.stops(p) })
	return p.Driver.Stop(ctx)
}

// equip gives the robot a payload for each component that the scenario has.
func (w *World) equip(r *robot, dir string) error {
	for _, c := range w.components() {
		p := &payload{r: r, w: w, component: c}
		root := filepath.Join(dir, "slots", c)
		for _, s := range []update.Slot{update.A, update.B} {
			if err := os.MkdirAll(filepath.Join(root, s.String()), 0o755); err != nil {
				return err
			}
		}
		p.Driver = installtest.New(root, func(ref manifest.Ref) installtest.Behaviour { return w.behaviour(p, ref) })
		r.parts = append(r.parts, p)
		r.cfg.Components = append(r.cfg.Components, node.Component{
			Name: c, Installer: p, MinHealthy: minHealthy, HealthyDeadline: healthyDeadline,
			Watches: []install.Watch{{Name: "health", Prober: p, Every: probeEvery, Timeout: probeEvery, FailAfter: 2}},
		})
	}
	r.cfg.FailPoint = r.failPoint
	return nil
}

// failPoint ends the machine at the step that a fault has named.
func (r *robot) failPoint(step string) {
	var die func()
	r.mu.Lock()
	if i := slices.IndexFunc(r.deaths, func(d death) bool { return d.step == step }); i >= 0 {
		die = r.deaths[i].die
		r.deaths = slices.Delete(r.deaths, i, i+1)
	}
	r.mu.Unlock()
	if die != nil {
		exact.As(0, die)
		runtime.Goexit() // a dead process does nothing more here
	}
}

// A death is a step at which a fault ends a machine, and how.
type death struct {
	step string
	die  func()
}

// diesAt makes the machine end at its next such step, besides those it is to end at already.
func (r *robot) diesAt(step string, die func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaths = append(r.deaths, death{step, die})
}

// lose is a loss of power: node and payloads end.
func (r *robot) lose() {
	r.crash()
	for _, p := range r.parts {
		p.w.truth.powerOff(p)
		p.PowerOff()
	}
}

// force makes a release behave otherwise on this robot; nil ends that. An empty ref is
// any release.
func (r *robot) force(ref scenario.Ref, b *scenario.Behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b == nil {
		delete(r.forced, ref)
		return
	}
	if r.forced == nil {
		r.forced = map[scenario.Ref]scenario.Behaviour{}
	}
	r.forced[ref] = *b
}

// behaviour is what a release does on a robot.
func (w *World) behaviour(p *payload, ref manifest.Ref) installtest.Behaviour {
	rel := w.release(ref.Digest)
	if rel == nil {
		return installtest.Behaviour{}
	}
	b := rel.spec.At(p.r.model)
	p.r.mu.Lock()
	for _, name := range []scenario.Ref{"", rel.spec.Ref()} {
		if f, ok := p.r.forced[name]; ok {
			b = f
		}
	}
	slow := max(p.r.slow, 1)
	p.r.mu.Unlock()
	out := acts(b, p.r.lives() > 1)
	if g := p.r.group; g != nil { // the image is read back whole before it is run
		out.InstallTakes = time.Duration(float64(rel.spec.Bytes(p.r.model)) / float64(g.Device.Hash) * float64(g.Device.Slow*slow) * float64(time.Second))
	}
	return out
}

// acts is a behaviour in the driver's words. rebooted says that the machine has been
// off since the release came.
func acts(b scenario.Behaviour, rebooted bool) installtest.Behaviour {
	switch b.Kind {
	case scenario.CrashAtStart, scenario.WrongPlatform:
		return installtest.Behaviour{FailStart: b.Kind}
	case scenario.CrashAfter:
		return installtest.Behaviour{ExitAfter: b.After}
	case scenario.UnhealthyAfter:
		return installtest.Behaviour{UnwellAfter: b.After}
	case scenario.SlowLeak: // unwell for its last third, then dead
		return installtest.Behaviour{UnwellAfter: b.After * 2 / 3, ExitAfter: b.After}
	case scenario.FailsAfterReboot:
		if rebooted {
			return installtest.Behaviour{FailStart: b.Kind}
		}
	}
	return installtest.Behaviour{}
}
