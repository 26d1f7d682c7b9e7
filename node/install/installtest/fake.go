// Package installtest has a driver without disk or processes, for tests and the
// simulator. It runs in a testing/synctest bubble.
package installtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/update"
)

// ErrFake is wrapped by the errors that a Behaviour asks for.
var ErrFake = errors.New("installtest: as scripted")

// A Behaviour is what a release does when it runs. The zero value runs well.
type Behaviour struct {
	// StartTakes is how long Start blocks.
	StartTakes time.Duration
	// FailStart makes Start fail with this text.
	FailStart string
	// ExitAfter ends the payload so long after each start; zero is never.
	ExitAfter time.Duration
	// UnwellAfter makes Probe fail so long after each start; zero is never, unless
	// Unwell is set.
	UnwellAfter time.Duration
	Unwell      bool
	// InstallTakes and FailInstall do the same for Install.
	InstallTakes time.Duration
	FailInstall  string
}

// Driver is a robot's slots and payload in memory. What New returns outlives the
// node that uses it, as a robot's disk and processes do; a new node calls Find.
// It may be used by several goroutines.
type Driver struct {
	root string
	// behaves says what a release does. It is called with no lock held.
	behaves func(manifest.Ref) Behaviour

	mu      sync.Mutex
	found   install.Found   // guarded by mu, like all below
	payload install.Payload // that runs, if found.Running
	at      time.Time       // since when
	epoch   int             // of the payload, to tell a stale exit
	starts  []install.Payload

	exited chan install.Exit // sent by Run, unbuffered
	comes  chan struct{}     // sent by each start and stop, one deep, merging
}

// New returns a driver whose slots are named root/a and root/b. behaves may be nil:
// every release runs well.
func New(root string, behaves func(manifest.Ref) Behaviour) *Driver {
	if behaves == nil {
		behaves = func(manifest.Ref) Behaviour { return Behaviour{} }
	}
	return &Driver{root: root, behaves: behaves, exited: make(chan install.Exit), comes: make(chan struct{}, 1)}
}

var _ install.Driver = (*Driver)(nil)

// Capabilities are those of a dirslot.
func (d *Driver) Capabilities() install.Capabilities {
	return install.Capabilities{Atomic: true, AB: true, Revert: true, SpaceFactor: 1}
}

// SlotDir names a folder; the driver neither makes nor reads it.
func (d *Driver) SlotDir(s update.Slot) string { return filepath.Join(d.root, s.String()) }

// Find says what links and payload there are.
func (d *Driver) Find(context.Context) (install.Found, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found, nil
}

// Install takes as long as the release's Behaviour says.
func (d *Driver) Install(ctx context.Context, p install.Payload) error {
	b := d.behaves(p.Release)
	if err := wait(ctx, b.InstallTakes); err != nil {
		return err
	}
	return scripted(b.FailInstall)
}

// Activate stops, moves the link, and starts.
func (d *Driver) Activate(ctx context.Context, p install.Payload, _ bool) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	d.found.Linked, d.found.Link = true, p.Slot
	d.mu.Unlock()
	return d.Start(ctx, p)
}

// Start runs the payload as its Behaviour says.
func (d *Driver) Start(ctx context.Context, p install.Payload) error {
	b := d.behaves(p.Release)
	if err := d.Stop(ctx); err != nil {
		return err
	}
	if err := wait(ctx, b.StartTakes); err != nil {
		return err
	}
	if err := scripted(b.FailStart); err != nil {
		return err
	}
	d.mu.Lock()
	d.found.Running, d.found.Slot = true, p.Slot
	d.payload, d.at = p, time.Now()
	d.epoch++
	d.starts = append(d.starts, p)
	d.mu.Unlock()
	d.notify()
	return nil
}

// Stop ends the payload.
func (d *Driver) Stop(context.Context) error {
	d.mu.Lock()
	d.found.Running = false
	d.epoch++
	d.mu.Unlock()
	d.notify()
	return nil
}

// Commit marks the slot.
func (d *Driver) Commit(_ context.Context, p install.Payload) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found.Marked, d.found.Mark = true, p.Slot
	return nil
}

// PowerOff ends the payload as a loss of power does: links stay, nobody is told.
func (d *Driver) PowerOff() { _ = d.Stop(context.Background()) } // it cannot fail

// Crash ends the payload now, as an exit that Run tells of.
func (d *Driver) Crash() {
	d.mu.Lock()
	d.at = time.Time{} // any ExitAfter has passed
	d.epoch++
	d.mu.Unlock()
	d.notify()
}

// Reconsider asks behaves again about what runs: it says something else now.
func (d *Driver) Reconsider() { d.notify() }

// Running is what runs, if anything does.
func (d *Driver) Running() (install.Payload, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.payload, d.found.Running
}

// Starts lists every payload that was started, oldest first.
func (d *Driver) Starts() []install.Payload {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]install.Payload(nil), d.starts...)
}

// Probe is well as long as the Behaviour of what runs says so.
func (d *Driver) Probe(context.Context) error {
	d.mu.Lock()
	p, at, running := d.payload, d.at, d.found.Running
	d.mu.Unlock()
	if !running {
		return fmt.Errorf("%w: nothing runs", ErrFake)
	}
	b := d.behaves(p.Release)
	if b.Unwell || (b.UnwellAfter > 0 && time.Since(at) >= b.UnwellAfter) {
		return fmt.Errorf("%w: %s is unwell", ErrFake, p.Release.Version)
	}
	return nil
}

// Exited tells of payloads that ended as their Behaviour or Crash had it.
func (d *Driver) Exited() <-chan install.Exit { return d.exited }

// Run ends payloads when their time has come.
func (d *Driver) Run(ctx context.Context) error {
	for {
		due, epoch, ok := d.due()
		var timer <-chan time.Time
		if ok {
			timer = time.After(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.comes:
			continue
		case <-timer:
		}
		e, ok := d.end(epoch)
		if !ok {
			continue
		}
		select {
		case d.exited <- e:
		case <-ctx.Done():
			return nil
		}
	}
}

// due is when the payload that runs is to end, if it is.
func (d *Driver) due() (time.Time, int, bool) {
	d.mu.Lock()
	p, at, epoch, running := d.payload, d.at, d.epoch, d.found.Running
	d.mu.Unlock()
	b := d.behaves(p.Release)
	if !running || (b.ExitAfter == 0 && !at.IsZero()) {
		return time.Time{}, epoch, false
	}
	return at.Add(b.ExitAfter), epoch, true
}

func (d *Driver) end(epoch int) (install.Exit, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epoch != epoch || !d.found.Running {
		return install.Exit{}, false
	}
	d.found.Running = false
	return install.Exit{Slot: d.found.Slot, Code: 1, Reason: "exit status 1"}, true
}

func (d *Driver) notify() {
	select {
	case d.comes <- struct{}{}:
	default:
	}
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func scripted(text string) error {
	if text == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrFake, text)
}
