package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/install/recordfile"
	"github.com/starling-swarm/starling/node/update"
)

// Installer writes nothing itself: it switches the slots of one component and
// supervises what runs from them. Package install has several.
type Installer = install.Driver

// Prober says whether the payload is well: nil if it is.
type Prober = install.Prober

// A Component is one part of the robot's software, and how it is installed and
// watched here.
type Component struct {
	// Name is what releases call it; empty is manifest.DefaultComponent.
	Name string
	// Installer switches slots and supervises the payload.
	Installer Installer
	// Watches are the probes; without any the payload is well as long as it runs.
	Watches []install.Watch
	// Gate is the interlock with the application; nil is always open.
	Gate *install.Gate
	// Hooks are scripts that are asked or told around a switch.
	Hooks install.Hooks
	// MinHealthy and HealthyDeadline bound a trial that no plan rules: the first
	// install, and catching up. Zero means those of package update.
	MinHealthy, HealthyDeadline time.Duration
	// Update tunes the machine; its zero value is good.
	Update update.Config
}

// robot drives one component: it owns the update machine, executes what that
// wants, and brings it what happens.
type robot struct {
	n      *Node
	cfg    Component
	log    *slog.Logger
	record *recordfile.File
	probes *install.Probes
	images *slotImages
	lost   bool
	now    atomic.Pointer[standing]
	exit   atomic.Pointer[install.Exit] // the last that nobody had asked for; nil before
	waits  atomic.Pointer[string]       // which conditions of a fetch do not hold; nil or empty is none
	// events come from operations, the judge and the API; unbuffered, given up
	// when the sender's context ends.
	events chan update.Event
	judged chan struct{} // of depth 1: what runs has changed, judge again

	// The fields below belong to run.
	u     *update.Updater
	fetch context.CancelFunc // of the fetch under way
	phase update.Phase       // last told to the fail points; at first the record's

	probeMu sync.Mutex
	probing context.CancelFunc // guarded by probeMu: ends the probes that run
}

// standing is what others may know of a robot.
type standing struct {
	update.Status
	Committed manifest.Ref // of the slot that is always allowed to run
	Filled    [2]bool      // slots that hold something, whole or not
	Gate      install.GateState
}

// openRobots prepares the components of the configuration.
func (n *Node) openRobots() error {
	for _, c := range n.cfg.Components {
		r, err := n.openRobot(c)
		if err != nil {
			return err
		}
		n.robots = append(n.robots, r)
	}
	return nil
}

func (n *Node) openRobot(c Component) (*robot, error) {
	if c.Name == "" {
		c.Name = manifest.DefaultComponent
	}
	if c.Installer == nil || !manifest.ValidName(c.Name) {
		return nil, fmt.Errorf("%w: component %q needs a good name and an Installer", ErrConfig, c.Name)
	}
	if c.Gate == nil {
		g, err := install.NewGate(install.GateNone, "")
		if err != nil {
			return nil, err
		}
		c.Gate = g
	}
	state := n.dir.path("state", c.Name)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("make the component's state: %w", err)
	}
	probes, err := install.NewProbes(c.Watches)
	if err != nil {
		return nil, err
	}
	r := &robot{
		n: n, cfg: c, log: n.log.With("component", c.Name), record: recordfile.New(n.dir.path("state", c.Name, "record"), c.Name),
		probes: probes, images: newSlotImages(n, c.Installer, state), events: make(chan update.Event), judged: make(chan struct{}, 1),
	}
	rec, err := r.record.Load()
	if err != nil { // the machine decides from what the driver finds
		r.lost = errors.Is(err, recordfile.ErrLost)
		r.log.Error("record damaged", "err", err)
		n.note(Event{Kind: "record-damaged", Text: err.Error()})
	}
	r.u, r.phase = update.New(rec, c.Update), rec.Phase
	r.publish()
	return r, nil
}

func (r *robot) close() error { return r.images.close() }

// publish lets others see how the component stands.
func (r *robot) publish() {
	rec := r.u.Record()
	s := &standing{Status: r.u.Status(), Gate: r.cfg.Gate.State()}
	for i := range rec.Slots {
		s.Filled[i] = rec.Slots[i].State != update.Empty
	}
	if rec.HasCommitted {
		s.Committed = rec.Slots[rec.Committed].Release
	}
	old := r.now.Swap(s)
	if old != nil && old.Committed != s.Committed {
		select {
		case r.judged <- struct{}{}:
		default:
		}
	}
}

func (r *robot) status() standing { return *r.now.Load() }

// health is the robot's report, but for what only the node knows.
func (r *robot) health() *member.Health {
	s := r.status()
	if w := r.waiting(); w != "" {
		s.Reason = clip(w, member.MaxReason)
	}
	return &member.Health{
		Format: member.HealthFormat, Component: r.cfg.Name, Release: s.Release.Digest, Running: s.Running.Digest,
		Phase: s.Phase, Result: s.Result, Healthy: s.Healthy, Progress: s.Progress, Crashes: s.Crashes, Failures: s.Failures,
		Held: s.Held, Reason: s.Reason,
	}
}

// run brings the component from release to release until ctx ends. The payload
// goes on when it does.
func (r *robot) run(ctx context.Context) error {
	found, err := r.cfg.Installer.Find(ctx)
	if err != nil {
		return fmt.Errorf("component %s: %w", r.cfg.Name, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.cfg.Installer.Run(ctx) })
	g.Go(func() error { return r.judge(ctx) })
	g.Go(func() error { return r.own(ctx, g, found) })
	return g.Wait()
}

// own is the goroutine of the machine.
func (r *robot) own(ctx context.Context, g *errgroup.Group, found install.Found) error {
	r.step(ctx, g, r.cfg.Gate.State().Event())
	r.step(ctx, g, found.Event(r.lost))
	if found.Running {
		r.probe(ctx, g)
	}
	r.images.resume(r.u.Record())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(r.sleep())
		var e update.Event
		select {
		case <-ctx.Done():
			return nil
		case e = <-r.events:
		case e = <-r.probes.Results():
		case x := <-r.cfg.Installer.Exited():
			r.log.Warn("payload exited", "slot", x.Slot, "reason", x.Words(), "log", x.Log)
			r.exit.Store(&x)
			r.n.noteExit(r.cfg.Name, x)
			e = update.PayloadExited{Slot: x.Slot, Reason: x.Text()}
		case <-r.cfg.Gate.Changed():
			e = r.cfg.Gate.State().Event()
		case <-timer.C:
			r.step(ctx, g, r.cfg.Gate.State().Event())
			e = update.Tick{}
		}
		r.step(ctx, g, e)
	}
}

// sleep is how long nothing needs to be done.
func (r *robot) sleep() time.Duration {
	at := r.u.Deadline()
	if next := r.cfg.Gate.State().Next; !next.IsZero() && (at.IsZero() || next.Before(at)) {
		at = next
	}
	if at.IsZero() {
		return time.Minute
	}
	return max(time.Until(at), time.Millisecond)
}

// step hands an event to the machine and executes what it wants, in order; a Save
// comes first and is on disk before the next action begins.
func (r *robot) step(ctx context.Context, g *errgroup.Group, e update.Event) {
	queue := []update.Event{e}
	for len(queue) > 0 {
		actions := r.u.Step(time.Now(), queue[0])
		queue = queue[1:]
		if len(actions) > 0 {
			if s, ok := actions[0].(update.Save); ok {
				actions = actions[1:]
				if err := r.record.Save(s.Record); err != nil {
					r.log.Error("record not saved", "err", err)
					queue = append(queue, update.SaveFailed{Err: err.Error()})
					continue
				}
				queue = append(queue, update.Saved{})
			}
		}
		r.failPoints()
		r.publish() // hooks say how things stand
		for _, a := range actions {
			r.execute(ctx, g, a)
		}
	}
	r.publish()
}

// failPoints names the phase that the last step led to, and before it those on the
// way to armed that the step passed through. What is worth a write is on disk, and
// nothing of what the phase wants has begun.
func (r *robot) failPoints() {
	to := r.u.Status().Phase
	if to == r.phase {
		return
	}
	r.log.Info("phase", "phase", to, "release", r.u.Status().Release.Version, "reason", r.u.Status().Reason)
	from := to
	if r.phase >= member.Fetching && r.phase < to && to <= member.Armed {
		from = r.phase + 1
	}
	r.phase = to
	for p := from; p <= to; p++ {
		r.failPoint(p.String())
	}
}

// failPoint stops the process at a step if a test asks for it.
func (r *robot) failPoint(step string) {
	if r.n.cfg.FailPoint != nil {
		r.n.cfg.FailPoint(r.cfg.Name + "/" + step)
	}
}

// judge tells the machine what the newest order wants, whenever that may have
// changed.
func (r *robot) judge(ctx context.Context) error {
	for {
		v := r.n.keeper.View()
		e, err := r.wants(ctx, v)
		retry := time.NewTimer(time.Hour)
		if err != nil {
			r.log.Debug("not clear yet what is wanted", "err", err)
			retry.Reset(r.n.time.retry)
		} else if e != nil {
			select {
			case r.events <- e:
			case <-ctx.Done():
			}
		}
		select {
		case <-ctx.Done():
			retry.Stop()
			return nil
		case <-v.past:
		case <-r.judged:
		case <-retry.C:
		}
		retry.Stop()
	}
}

// wants is what v wants of the component. A halt needs no document, and does not
// wait for one that is on its way.
func (r *robot) wants(ctx context.Context, v *View) (update.Event, error) {
	if v.frozen() {
		return r.underHalt(v), nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with this call
		for w := v; !w.frozen(); w = r.n.keeper.View() {
			select {
			case <-w.past:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	e, err := r.n.wanted(ctx, v, r.cfg.Name, r.status().Committed)
	if _, back := e.(update.Back); back {
		return e, r.turnBack(ctx, v)
	}
	return r.unplanned(e), err
}

// unplanned gives a trial that no plan rules the component's own bounds.
func (r *robot) unplanned(e update.Event) update.Event {
	if w, ok := e.(update.Wanted); ok && w.MinHealthy == 0 {
		w.MinHealthy, w.HealthyDeadline = r.cfg.MinHealthy, r.cfg.HealthyDeadline
		return w
	}
	return e
}

// underHalt keeps a halted robot from preparing anything, or from trying again what
// an earlier order wants; a trial that has begun runs to its end, and nothing goes
// back.
func (r *robot) underHalt(v *View) update.Event {
	switch r.status().Phase {
	case member.Trial, member.Reverting:
		return nil
	}
	return update.Unwanted{Reason: clip("halted: "+v.HaltReason+v.Alarm, member.MaxReason)}
}

// send hands an event to the machine's goroutine.
func (r *robot) send(ctx context.Context, e update.Event) {
	select {
	case r.events <- e:
	case <-ctx.Done():
	}
}
