package install

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// DefaultGrace is how long a payload has to stop before it is killed.
	DefaultGrace = 10 * time.Second
	// DefaultLogBytes bounds a payload's log; as much again is kept of what was before.
	DefaultLogBytes = 8 << 20

	trimEvery = time.Minute // how often a running payload's log is looked at
)

// DirSlotConfig says where a component lives and how its payload runs.
type DirSlotConfig struct {
	// Root holds a folder for each component.
	Root      string
	Component string
	// Run is the command, relative to the slot; it overrides what the release says.
	Run []string
	// Data is $STARLING_DATA, for what the payload keeps over releases; Cache is
	// $STARLING_CACHE, for what it can derive again. Empty is data and cache in the
	// component's folder. Both are made.
	Data, Cache string
	// Log is the file that the payload's output is appended to; empty is log in the
	// component's folder. LogBytes bounds it; zero means DefaultLogBytes.
	Log      string
	LogBytes int64
	// Grace is from SIGTERM to SIGKILL; zero means DefaultGrace.
	Grace time.Duration
	// Env is added to the payload's environment.
	Env []string
	// Logger hears what the supervisor does; nil discards.
	Logger *slog.Logger
}

// DirSlot keeps two directories and a link, and runs the payload as a process in a
// session of its own. It writes down the process's id and start time, so that the
// next DirSlot for the same folder adopts just that process and no other that got
// its number. Under systemd, the unit of this program needs KillMode=process.
type DirSlot struct {
	slots
	cfg    DirSlotConfig
	log    *slog.Logger
	exited chan Exit     // sent by watch, unbuffered: a payload that was stopped meanwhile is not told
	comes  chan *process // sent by Start and Find, read by Run; one deep, newest replaces older

	mu   sync.Mutex
	proc *process // guarded by mu: the payload, or nil
}

// NewDirSlot checks cfg and makes the component's folders.
func NewDirSlot(cfg DirSlotConfig) (*DirSlot, error) {
	s, err := newSlots(cfg.Root, cfg.Component)
	if err != nil {
		return nil, err
	}
	def := func(p *string, name string) {
		if *p == "" {
			*p = filepath.Join(s.dir, name)
		}
	}
	def(&cfg.Data, "data")
	def(&cfg.Cache, "cache")
	def(&cfg.Log, "log")
	if cfg.LogBytes <= 0 {
		cfg.LogBytes = DefaultLogBytes
	}
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{cfg.Data, cfg.Cache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("install: %w", err)
		}
	}
	return &DirSlot{
		slots: s, cfg: cfg, log: cfg.Logger.With("component", cfg.Component),
		exited: make(chan Exit), comes: make(chan *process, 1),
	}, nil
}

// Folders are $STARLING_DATA and $STARLING_CACHE.
func (d *DirSlot) Folders() (data, cache string) { return d.cfg.Data, d.cfg.Cache }

// Exited tells of payloads that ended by themselves.
func (d *DirSlot) Exited() <-chan Exit { return d.exited }

// Find reads the links, and adopts the payload that the pid file names if it still
// is that process.
func (d *DirSlot) Find(context.Context) (Found, error) {
	f := d.links()
	p, err := d.readPid()
	if err != nil {
		d.log.Warn("pid file unreadable, nothing adopted", "err", err)
	}
	if p != nil && p.alive() {
		d.took(p)
		f.Running, f.Slot = true, p.slot
		d.log.Info("payload adopted", "pid", p.pid, "slot", p.slot)
	}
	return f, nil
}

// took makes p the payload and hands it to Run.
func (d *DirSlot) took(p *process) {
	d.mu.Lock()
	d.proc = p
	d.mu.Unlock()
	for {
		select {
		case d.comes <- p:
			return
		default:
		}
		select {
		case <-d.comes:
		default:
		}
	}
}

// Activate stops the payload, flips the link and starts what it points to.
func (d *DirSlot) Activate(ctx context.Context, p Payload, _ bool) error {
	p = d.known(p)
	if _, _, err := d.command(p); err != nil {
		return err // before anything is stopped
	}
	if err := d.Stop(ctx); err != nil {
		return err
	}
	if err := d.Switch(p.Slot); err != nil {
		return err
	}
	return d.Start(ctx, p)
}

// Start stops what still runs and starts the payload from the slot's own path, so
// that a later flip of the link does not pull it from under the process.
func (d *DirSlot) Start(ctx context.Context, p Payload) error {
	p = d.known(p)
	dir, argv, err := d.command(p)
	if err != nil {
		return err
	}
	if err := d.Stop(ctx); err != nil {
		return err
	}
	proc, err := d.spawn(dir, argv, p)
	if err != nil {
		return fmt.Errorf("start %s from slot %s: %w", argv[0], p.Slot, err)
	}
	d.took(proc)
	d.log.Info("payload started", "pid", proc.pid, "slot", p.Slot, "release", p.Release.Version)
	return nil
}

// command resolves the slot and the command in it.
func (d *DirSlot) command(p Payload) (dir string, argv []string, err error) {
	argv = slices.Clone(p.Run)
	if len(d.cfg.Run) > 0 {
		argv = slices.Clone(d.cfg.Run)
	}
	if len(argv) == 0 || argv[0] == "" {
		return "", nil, fmt.Errorf("%w: give the release's variant a run, or the component in the configuration", ErrNoCommand)
	}
	if dir, err = filepath.EvalSymlinks(d.SlotDir(p.Slot)); err != nil {
		return "", nil, fmt.Errorf("slot %s: %w", p.Slot, err)
	}
	if !filepath.IsAbs(argv[0]) {
		if !filepath.IsLocal(argv[0]) {
			return "", nil, fmt.Errorf("command %q leads out of its slot", argv[0])
		}
		inSlot := filepath.Join(dir, argv[0])
		if _, err := os.Stat(inSlot); err == nil || strings.Contains(argv[0], "/") {
			argv[0] = inSlot
		}
	}
	if argv[0], err = exec.LookPath(argv[0]); err != nil {
		return "", nil, fmt.Errorf("slot %s: %w", p.Slot, err)
	}
	return dir, argv, nil
}

// Stop ends the payload and everything in its session: SIGTERM, then SIGKILL after
// the grace. What the pid file names is stopped too, if it was not adopted.
func (d *DirSlot) Stop(ctx context.Context) error {
	d.mu.Lock()
	p := d.proc
	d.proc = nil
	d.mu.Unlock()
	if p == nil {
		p, _ = d.readPid() // unreadable names nobody; Find has said so
	}
	if p == nil {
		return nil
	}
	p.drop()
	if err := p.stop(ctx, d.cfg.Grace); err != nil {
		d.mu.Lock()
		d.proc = p
		d.mu.Unlock()
		return fmt.Errorf("stop the payload, pid %d: %w", p.pid, err)
	}
	return d.removePid()
}

// Run watches each payload until it ends, and keeps its log within bounds.
func (d *DirSlot) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case p := <-d.comes:
				g.Go(func() error { return d.watch(ctx, p) })
			}
		}
	})
	g.Go(func() error { return d.trim(ctx) })
	return g.Wait()
}

// watch tells of p's end, unless p is stopped first.
func (d *DirSlot) watch(ctx context.Context, p *process) error {
	if p.wait(ctx) != nil {
		return nil // ctx ended; the payload goes on
	}
	e := p.exit()
	var err error
	if e.Said, err = lastWords(d.cfg.Log, p.logAt); err != nil {
		d.log.Warn("payload log not read", "err", err)
	}
	e.Log = d.cfg.Log
	select {
	case <-p.dropped:
		return nil
	default:
	}
	d.log.Warn("payload ended", "pid", p.pid, "slot", p.slot, "err", e.Reason, "said", e.Said)
	select {
	case d.exited <- e:
	case <-p.dropped:
	case <-ctx.Done():
	}
	return nil
}

func (d *DirSlot) trim(ctx context.Context) error {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := trimLog(d.cfg.Log, d.cfg.LogBytes); err != nil {
				d.log.Warn("payload log not trimmed", "err", err)
			}
		}
	}
}

var _ Driver = (*DirSlot)(nil)
var _ Driver = (*Script)(nil)
var _ Driver = (*Unit)(nil)

// environ is the payload's environment: ours without what systemd means for us
// alone, and the words that tell a payload where it is.
func (d *DirSlot) environ(dir string, p Payload) []string {
	ours := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "PWD"}, name)
	})
	return append(ours, append(slices.Clone(d.cfg.Env),
		"PWD="+dir, "STARLING_SLOT="+dir, "STARLING_DATA="+d.cfg.Data, "STARLING_CACHE="+d.cfg.Cache,
		"STARLING_COMPONENT="+d.component, "STARLING_VERSION="+p.Release.Version)...)
}

// pidPath is the file that names the payload's process.
func (d *DirSlot) pidPath() string { return filepath.Join(d.dir, "pid") }
