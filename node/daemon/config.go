// Package daemon runs a node as a process of its own: it makes a node.Config of a
// configuration file, serves the local API beside the node, talks to systemd, and
// says goodbye when it is asked to stop.
//
// The programs starlingd and starling agent are this package and some flags.
package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/config"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/join"
)

// Config makes a node.Config of a loaded configuration: it reads the invite if the
// directory belongs to no swarm yet, and makes drivers, probes, gates and hooks.
// Drivers make their folders. Errors wrap config.ErrConfig, join.ErrInvite, or are
// those of the file system.
func Config(c *config.Config, log *slog.Logger) (node.Config, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	out := node.Config{
		Dir: c.Dir, Name: name(c), Gossip: c.Listen.Gossip, Bulk: c.Listen.Bulk, Control: c.Listen.Control,
		Advertise: c.Advertise, Profile: c.Profile, ReserveBytes: int64(c.Reserve), Log: log,
		UploadBytesPerSec: int64(c.Transfer.MaxRate.Up), DownloadBytesPerSec: int64(c.Transfer.MaxRate.Down),
		PeerBytesPerSec: int64(c.Transfer.MaxRate.Peer), ControlBytesPerSec: int64(c.Transfer.MaxRate.Control), Interfaces: c.Transfer.Interfaces,
	}
	out.StoreHigh, out.StoreLow = node.Watermark(c.Store.High), node.Watermark(c.Store.Low)
	for _, w := range c.Transfer.OnlyWhen {
		out.OnlyWhen = append(out.OnlyWhen, node.Condition(w))
	}
	invite, err := Invite(c)
	if err != nil {
		return out, err
	}
	out.Invite = invite
	if c.Base {
		return out, nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Components)) {
		comp, err := component(c, name, c.Components[name], log)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: components.%s: %w", config.ErrConfig, name, err))
			continue
		}
		out.Components = append(out.Components, comp)
	}
	return out, errors.Join(errs...)
}

// Invite reads the invite that the configuration names; nil if the directory belongs
// to a swarm already, or none is named. It must be for the swarm that the
// configuration names, if it names one.
func Invite(c *config.Config) (*join.Invite, error) {
	swarm, err := node.SwarmOf(c.Dir)
	switch {
	case err == nil && c.Swarm != "" && c.Swarm != swarm:
		return nil, fmt.Errorf("%w: %s belongs to swarm %q, and the configuration says %q", config.ErrConfig, c.Dir, swarm, c.Swarm)
	case err == nil:
		return nil, nil
	case !errors.Is(err, node.ErrNotJoined):
		return nil, err
	case c.Join == "":
		return nil, nil // node.New says what to do
	}
	in, err := os.Open(c.Join)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; ask the operator for one with: starling invite", config.ErrConfig, err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, join.MaxInviteBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the invite %s: %w", c.Join, err)
	}
	i, err := join.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Join, err)
	}
	if c.Swarm != "" && i.Swarm != c.Swarm {
		return nil, fmt.Errorf("%w: the invite %s is for swarm %q, and the configuration says %q", config.ErrConfig, c.Join, i.Swarm, c.Swarm)
	}
	return i, nil
}

// name is what the robot wishes to be called: what the configuration says, else the
// host name as far as it can be one.
func name(c *config.Config) string {
	if c.Name != "" {
		return c.Name
	}
	host, err := os.Hostname()
	if err != nil {
		return "robot"
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if len(host) > 32 {
		host = host[:32]
	}
	if !manifest.ValidName(host) {
		return "robot"
	}
	return host
}

// place is where a component's files lie.
type place struct {
	root    string // holds <component>/{a,b,current,…}
	current string // what runs
	data    string // $STARLING_DATA
	cache   string // $STARLING_CACHE
}

// placeOf says where the slots of a component are: in <dir>/<component>, unless dir
// is called like the component already, as by default.
func placeOf(name, dir string) place {
	root := dir
	if filepath.Base(dir) == name {
		root = filepath.Dir(dir)
	}
	dir = filepath.Join(root, name)
	return place{root, filepath.Join(dir, "current"), filepath.Join(dir, "data"), filepath.Join(dir, "cache")}
}

func component(c *config.Config, name string, cc config.Component, log *slog.Logger) (node.Component, error) {
	out := node.Component{Name: name, Hooks: install.Hooks{Dir: cc.Hooks}, MinHealthy: cc.MinHealthy, HealthyDeadline: cc.HealthyDeadline}
	p := placeOf(name, cc.Dir)
	var err error
	switch {
	case cc.Driver == "exec":
		// The script keeps its own current slot; the folders a and b are all there is.
		p = place{root: cc.Dir, current: cc.Dir, data: filepath.Join(cc.Dir, "data"), cache: filepath.Join(cc.Dir, "cache")}
		out.Installer, err = install.NewScript(install.ScriptConfig{Path: cc.Script, Root: cc.Dir, Component: name})
	case cc.Unit != "":
		out.Installer, err = install.NewUnit(install.UnitConfig{Root: p.root, Component: name, Unit: cc.Unit, Logger: log})
	default:
		out.Installer, err = install.NewDirSlot(install.DirSlotConfig{
			Root: p.root, Component: name, Run: cc.Run, Data: p.data, Cache: p.cache, Grace: cc.Grace, Logger: log,
		})
	}
	if err != nil {
		return out, err
	}
	for _, probe := range cc.Probes {
		out.Watches = append(out.Watches, watch(name, p, probe))
	}
	if out.Gate, err = gate(c, name, cc.Gate.Mode); err != nil {
		return out, err
	}
	return out, nil
}

// gate is the interlock; a hold is kept beside the updater's record.
func gate(c *config.Config, name, mode string) (*install.Gate, error) {
	path := filepath.Join(c.Dir, "state", name, "gate")
	if install.GateMode(mode) == install.GateHold {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
	}
	return install.NewGate(install.GateMode(mode), path)
}

// watch makes a probe's question. A command runs in the current slot, so that a
// relative one comes with the release; a relative file lies under $STARLING_DATA.
func watch(component string, p place, c config.Probe) install.Watch {
	w := install.Watch{Name: c.Name, Every: c.Every, Timeout: c.Timeout, FailAfter: c.FailAfter, StartAfter: c.StartAfter}
	switch {
	case len(c.Exec) > 0:
		w.Prober = install.ExecProbe{Argv: c.Exec, Dir: p.current, Env: []string{
			"STARLING_COMPONENT=" + component, "STARLING_SLOT=" + p.current, "STARLING_DATA=" + p.data, "STARLING_CACHE=" + p.cache,
		}}
	case c.HTTP != "":
		w.Prober = install.HTTPProbe{URL: c.HTTP}
	default:
		file := c.File
		if !filepath.IsAbs(file) {
			file = filepath.Join(p.data, file)
		}
		w.Prober = install.FileProbe{Path: file, Contains: c.Contains, MaxAge: c.MaxAge}
	}
	return w
}

// Logger logs to w as the configuration says. What cannot be is an error wrapping
// config.ErrConfig.
func Logger(c config.Log, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("%w: log.level %q: want debug, info, warn or error", config.ErrConfig, c.Level)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch c.Format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("%w: log.format %q: want text or json", config.ErrConfig, c.Format)
}
