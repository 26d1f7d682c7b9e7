package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/update"
)

// Protocol is the number of the script protocol, in every JSON object.
const Protocol = 1

// statusEvery is how often a Script driver asks whether the payload still runs.
const statusEvery = 10 * time.Second

// noSlot is the slot of a call that is about none.
const noSlot = update.Slot(0xff)

// A Verb is what a driver script is asked to do; it is its only argument.
type Verb string

// The verbs. All but status may be repeated after a crash and must not mind.
const (
	VerbInstall  Verb = "install"  // make what lies in slot_dir ready
	VerbActivate Verb = "activate" // stop what runs, run the slot
	VerbVerify   Verb = "verify"   // exit 0 if it is this slot that runs
	VerbCommit   Verb = "commit"   // the slot is to be trusted from now on
	VerbRevert   Verb = "revert"   // run the slot, on the way back; with no slot: run nothing
	VerbStatus   Verb = "status"   // print a ScriptStatus
)

// A ScriptInput is the JSON object on a driver script's stdin.
type ScriptInput struct {
	API       int             `json:"api"`
	Verb      Verb            `json:"verb"`
	Component string          `json:"component"`
	Slot      string          `json:"slot,omitempty"`
	SlotDir   string          `json:"slot_dir,omitempty"`
	Version   string          `json:"version,omitempty"`
	Release   manifest.Digest `json:"release"`
	Run       []string        `json:"run,omitempty"`
}

// A ScriptStatus is what verb status prints: the slot that would run after a
// reboot, the one committed last, and the one that runs now; empty is none.
type ScriptStatus struct {
	Slot      string `json:"slot"`
	Committed string `json:"committed"`
	Running   string `json:"running"`
}

// ScriptConfig says which script drives a component.
type ScriptConfig struct {
	// Path is the script. It is executable, and belongs to no slot.
	Path string
	// Root holds the folders a and b that images are written to.
	Root      string
	Component string
	// Timeout is for each verb; zero means DefaultScriptTimeout.
	Timeout time.Duration
	// Every is how often the status is asked for; zero is every 10 s.
	Every time.Duration
	// Can is what the script promises beyond going back.
	Can Capabilities
}

// Script is the driver "exec": a program of the user's does everything, with the
// verbs above as argument and a ScriptInput on stdin. Exit 0 is done, 21 later, 22
// unsafe now, anything else failed.
type Script struct {
	cfg    ScriptConfig
	exited chan Exit // sent by Run, one deep; a full one drops the newer exit
	watch  chan bool // sent by the driver's methods: whether a payload should run
}

// NewScript checks cfg and makes the slots' folders.
func NewScript(cfg ScriptConfig) (*Script, error) {
	if !manifest.ValidName(cfg.Component) {
		return nil, fmt.Errorf("install: component %q", cfg.Component)
	}
	if st, err := os.Stat(cfg.Path); err != nil {
		return nil, fmt.Errorf("install: driver script: %w", err)
	} else if !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("install: driver script %s is not executable: chmod +x", cfg.Path)
	}
	if cfg.Every <= 0 {
		cfg.Every = statusEvery
	}
	if cfg.Can.SpaceFactor == 0 {
		cfg.Can.SpaceFactor = 2
	}
	cfg.Can.Revert = true
	d := &Script{cfg: cfg, exited: make(chan Exit, 1), watch: make(chan bool, 1)}
	for _, s := range []update.Slot{update.A, update.B} {
		if err := os.MkdirAll(d.SlotDir(s), 0o755); err != nil {
			return nil, fmt.Errorf("install: %w", err)
		}
	}
	return d, nil
}

// Capabilities is what the configuration says the script can do.
func (d *Script) Capabilities() Capabilities { return d.cfg.Can }

// SlotDir is the folder of the slot under Root.
func (d *Script) SlotDir(s update.Slot) string { return filepath.Join(d.cfg.Root, s.String()) }

// Find asks the script for its status.
func (d *Script) Find(ctx context.Context) (Found, error) {
	st, err := d.status(ctx)
	if err != nil {
		return Found{}, err
	}
	var f Found
	var errs [3]error
	f.Link, f.Linked, errs[0] = optionalSlot(st.Slot)
	f.Mark, f.Marked, errs[1] = optionalSlot(st.Committed)
	f.Slot, f.Running, errs[2] = optionalSlot(st.Running)
	if err := errors.Join(errs[:]...); err != nil {
		return Found{}, fmt.Errorf("%s status: %w", d.cfg.Path, err)
	}
	d.expect(f.Running)
	return f, nil
}

func optionalSlot(text string) (update.Slot, bool, error) {
	if text == "" {
		return update.A, false, nil
	}
	s, err := update.ParseSlot(text)
	return s, err == nil, err
}

func (d *Script) status(ctx context.Context) (ScriptStatus, error) {
	var st ScriptStatus
	out, err := d.call(ctx, VerbStatus, Payload{Slot: noSlot})
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(out, &st); err != nil {
		return st, fmt.Errorf(`%s status: want {"slot":"a","committed":"a","running":"a"} on stdout: %w`, d.cfg.Path, err)
	}
	return st, nil
}

// Install is verb install.
func (d *Script) Install(ctx context.Context, p Payload) error {
	_, err := d.call(ctx, VerbInstall, p)
	return err
}

// Activate is verb activate, or revert on the way back, then verify: the script
// says whether it is this slot that runs.
func (d *Script) Activate(ctx context.Context, p Payload, back bool) error {
	v := VerbActivate
	if back {
		v = VerbRevert
	}
	d.expect(false)
	for _, v := range []Verb{v, VerbVerify} {
		if _, err := d.call(ctx, v, p); err != nil {
			return err
		}
	}
	d.expect(true)
	return nil
}

// Start is verb activate, then verify.
func (d *Script) Start(ctx context.Context, p Payload) error { return d.Activate(ctx, p, false) }

// Stop is verb revert without a slot.
func (d *Script) Stop(ctx context.Context) error {
	d.expect(false)
	_, err := d.call(ctx, VerbRevert, Payload{Slot: noSlot})
	return err
}

// Commit is verb commit.
func (d *Script) Commit(ctx context.Context, p Payload) error {
	_, err := d.call(ctx, VerbCommit, p)
	return err
}

// Exited tells of a payload that the status no longer has.
func (d *Script) Exited() <-chan Exit { return d.exited }

// expect tells Run whether a payload should run; the newest word counts.
func (d *Script) expect(running bool) {
	for {
		select {
		case d.watch <- running:
			return
		default:
		}
		select {
		case <-d.watch:
		default:
		}
	}
}

// Run asks for the status now and then, while a payload should run.
func (d *Script) Run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.Every)
	defer tick.Stop()
	expected, last := false, update.A
	for {
		select {
		case <-ctx.Done():
			return nil
		case expected = <-d.watch:
			continue
		case <-tick.C:
		}
		if !expected {
			continue
		}
		st, err := d.status(ctx)
		if err != nil {
			continue // a script that cannot say is not a payload that ended; probes tell
		}
		if s, running, err := optionalSlot(st.Running); err == nil && running {
			last = s
			continue
		}
		select {
		case expected = <-d.watch: // stopped, or started again, while we asked
			continue
		default:
		}
		expected = false
		select {
		case d.exited <- Exit{Slot: last, Code: -1, Reason: "the driver script says nothing runs"}:
		default:
		}
	}
}

func (d *Script) call(ctx context.Context, v Verb, p Payload) ([]byte, error) {
	in := ScriptInput{API: Protocol, Verb: v, Component: d.cfg.Component}
	if p.Slot != noSlot {
		in.Slot, in.SlotDir = p.Slot.String(), d.SlotDir(p.Slot)
		in.Version, in.Release, in.Run = p.Release.Version, p.Release.Digest, p.Run
	}
	c := call{
		name: filepath.Base(d.cfg.Path) + " " + string(v), argv: []string{d.cfg.Path, string(v)},
		dir: d.cfg.Root, input: in, timeout: d.cfg.Timeout,
		env: []string{"STARLING_VERB=" + string(v), "STARLING_COMPONENT=" + d.cfg.Component, "STARLING_SLOT=" + in.Slot},
	}
	return c.run(ctx)
}
