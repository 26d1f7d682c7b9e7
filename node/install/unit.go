package install

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/starling-swarm/starling/node/update"
)

// unitEvery is how often systemd is asked whether the unit still runs.
const unitEvery = 2 * time.Second

// UnitConfig says which systemd unit runs a component. Its WorkingDirectory or
// ExecStart goes through <Root>/<Component>/current; it should not restart itself
// (Restart=no), or crashes go unseen.
type UnitConfig struct {
	Root      string
	Component string
	Unit      string // "nav.service"
	// Every is how often the unit's state is asked for; zero is every 2 s.
	Every time.Duration
	// Systemctl runs systemctl with these arguments and returns its output; nil
	// executes it.
	Systemctl func(ctx context.Context, args ...string) ([]byte, error)
	// Logger hears what the supervisor does; nil discards.
	Logger *slog.Logger
}

// Unit keeps two directories and a link, and has systemd run the payload.
type Unit struct {
	slots
	cfg    UnitConfig
	log    *slog.Logger
	exited chan Exit // sent by Run, unbuffered
	// epoch is odd while the unit should run; each Start and Stop adds to it, so that
	// Run sees whether an answer of systemd is about the payload it asked for.
	epoch atomic.Uint64
}

// NewUnit checks cfg and makes the component's folders.
func NewUnit(cfg UnitConfig) (*Unit, error) {
	s, err := newSlots(cfg.Root, cfg.Component)
	if err != nil {
		return nil, err
	}
	if cfg.Unit == "" || strings.HasPrefix(cfg.Unit, "-") {
		return nil, fmt.Errorf("install: unit %q: name the systemd unit, such as nav.service", cfg.Unit)
	}
	if cfg.Every <= 0 {
		cfg.Every = unitEvery
	}
	if cfg.Systemctl == nil {
		cfg.Systemctl = systemctl
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Unit{slots: s, cfg: cfg, log: cfg.Logger.With("component", cfg.Component, "unit", cfg.Unit), exited: make(chan Exit)}, nil
}

func systemctl(ctx context.Context, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, lastLine(stderr.String()))
	}
	return out, nil
}

// state is the unit's ActiveState: "active", "activating", "failed", "inactive".
func (d *Unit) state(ctx context.Context) (string, error) {
	out, err := d.cfg.Systemctl(ctx, "show", "--property=ActiveState", "--value", d.cfg.Unit)
	return strings.TrimSpace(string(out)), err
}

func runs(state string) bool {
	return state == "active" || state == "activating" || state == "reloading"
}

// Find reads the links and asks systemd.
func (d *Unit) Find(ctx context.Context) (Found, error) {
	f := d.links()
	state, err := d.state(ctx)
	if err != nil {
		return Found{}, err
	}
	var known bool
	f.Slot, known = d.read(linkRunning)
	f.Running = runs(state) && known
	if f.Running {
		d.epoch.Store(1)
	} else if runs(state) {
		f.Running, f.Slot = true, f.Link.Other() // from somewhere else: it must be stopped
	}
	return f, nil
}

// Activate stops the unit, flips the link and starts the unit.
func (d *Unit) Activate(ctx context.Context, p Payload, _ bool) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	if err := d.Switch(p.Slot); err != nil {
		return err
	}
	return d.Start(ctx, p)
}

// Start restarts the unit. A unit runs what the link points to: starting another
// slot is an error.
func (d *Unit) Start(ctx context.Context, p Payload) error {
	d.should(false)
	if at, ok := d.read(linkCurrent); !ok || at != p.Slot {
		return fmt.Errorf("start slot %s: unit %s runs what the link points to, and it cannot be moved there", p.Slot, d.cfg.Unit)
	}
	if err := d.point(linkRunning, p.Slot); err != nil {
		return err
	}
	if _, err := d.cfg.Systemctl(ctx, "restart", d.cfg.Unit); err != nil {
		return err
	}
	d.should(true)
	d.log.Info("payload started", "slot", p.Slot, "release", p.Release.Version)
	return nil
}

// Stop stops the unit.
func (d *Unit) Stop(ctx context.Context) error {
	d.should(false)
	_, err := d.cfg.Systemctl(ctx, "stop", d.cfg.Unit)
	return err
}

// should says whether the unit should run from now on. One goroutine calls it.
func (d *Unit) should(run bool) {
	e := d.epoch.Load()
	if (e%2 == 1) == run {
		e++
	}
	d.epoch.Store(e + 1)
}

// Exited tells of a unit that is no longer active.
func (d *Unit) Exited() <-chan Exit { return d.exited }

// Run asks systemd now and then, while the unit should run.
func (d *Unit) Run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.Every)
	defer tick.Stop()
	told := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		epoch := d.epoch.Load()
		if epoch%2 == 0 || epoch == told {
			continue
		}
		state, err := d.state(ctx)
		if err != nil || runs(state) || d.epoch.Load() != epoch {
			continue // a systemd that cannot say is not a payload that ended
		}
		slot, ok := d.read(linkRunning)
		if !ok {
			slot = update.A
		}
		select {
		case d.exited <- Exit{Slot: slot, Code: -1, Reason: "unit is " + state, Log: "journalctl -u " + d.cfg.Unit}:
			told = epoch
		case <-tick.C: // nobody listens; look again
		case <-ctx.Done():
			return nil
		}
	}
}
