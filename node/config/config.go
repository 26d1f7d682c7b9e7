// Package config reads the configuration of a node: a YAML file, then the
// environment, then flags, each overriding the one before.
//
// The file of a robot can be four lines long; every default is safe. An unknown
// key is an error that shows the line and marks the column, because a misspelt
// safety setting must not be silently off.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// ErrConfig is wrapped by every complaint about a configuration.
var ErrConfig = errors.New("config")

// EnvPrefix starts the environment variables that override the file: the path of
// the key in capitals, joined by underscores (STARLING_LISTEN_GOSSIP).
const EnvPrefix = "STARLING_"

// Config is what a node is told. The zero value with Dir set is a robot that
// knows no swarm yet.
type Config struct {
	// Dir holds all state: key, orders, records, slots. It must be on a disk that
	// keeps what was synced. Relative paths in the file are relative to the file.
	Dir string `yaml:"dir"`
	// Swarm, if given, must be the name of the swarm that the invite is for.
	Swarm string `yaml:"swarm"`
	// Name is what the robot wishes to be called; empty is the host name. The
	// operator's node adds a number if it is taken.
	Name string `yaml:"name"`
	// Join is the invite file; it is needed until the robot has joined.
	Join string `yaml:"join"`
	// Listen are the addresses to listen at.
	Listen Listen `yaml:"listen"`
	// Advertise is the host that others reach this robot at; empty is found out
	// from the route to the first peer.
	Advertise string `yaml:"advertise"`
	// Profile sets timers for the links: "lan" (default), "mesh", "narrow" or
	// "local".
	Profile string `yaml:"profile"`
	// Components are the parts of the robot's software by name; empty is one
	// component "app" with the defaults of Component.
	Components map[string]Component `yaml:"components"`
	// Reserve is disk space that images never use, so that records and the halt
	// file can always be written. Zero is 64 MiB.
	Reserve Bytes `yaml:"reserve"`
	// Store bounds the images beside the slots: imported ones, and packs.
	Store Store `yaml:"store"`
	// Transfer says how images may use this machine's links.
	Transfer Transfer `yaml:"transfer"`
	// API is the unix socket of the local API; empty is api.sock in Dir.
	API string `yaml:"api"`
	// Base makes this a computer without payload, which votes and seeds.
	Base bool `yaml:"base"`
	// Log says what is logged and how.
	Log Log `yaml:"log"`
}

// Listen are host:port addresses. Port 0 picks a free port once and keeps it.
type Listen struct {
	Gossip  string `yaml:"gossip"`  // membership, UDP and TCP; default ":7946"
	Bulk    string `yaml:"bulk"`    // images and metadata, TCP; default ":7947"
	Control string `yaml:"control"` // raft, certificates, halt, TCP; default ":7948"
}

// A Component says how one part of the robot's software is installed and watched.
type Component struct {
	// Driver is "dirslot" (default) or "exec".
	Driver string `yaml:"driver"`
	// Dir holds the slots; empty is slots/<component> in the node's Dir.
	Dir string `yaml:"dir"`
	// Run is the command of the payload, relative to the slot; it overrides what
	// the release says. Unit is a systemd unit to restart instead.
	Run  []string `yaml:"run"`
	Unit string   `yaml:"unit"`
	// Script is the driver script of driver "exec".
	Script string `yaml:"script"`
	// Hooks is a directory with hooks.d layout.
	Hooks string `yaml:"hooks"`
	// Grace is how long the payload has to stop before it is killed; zero is 10 s.
	Grace time.Duration `yaml:"grace"`
	// MinHealthy of trial without a failed probe commit a release that no plan
	// rules: the first install, and catching up; zero is 1 m. HealthyDeadline after
	// its activation a trial that has not committed goes back; zero is 15 m.
	MinHealthy      time.Duration `yaml:"min_healthy"`
	HealthyDeadline time.Duration `yaml:"healthy_deadline"`
	// Probes say whether the payload is well; without any it is as long as it runs.
	Probes []Probe `yaml:"probes"`
	// Gate is the interlock with the application.
	Gate Gate `yaml:"gate"`
}

// A Probe asks one question of the payload again and again. Just one of Exec,
// HTTP and File is set.
type Probe struct {
	Name string   `yaml:"name"`
	Exec []string `yaml:"exec"` // exit code 0 is well
	HTTP string   `yaml:"http"` // URL; a 2xx answer is well
	File string   `yaml:"file"` // a file that exists, under $STARLING_DATA if relative
	// Contains and MaxAge tighten File: text it must hold, and how old it may be.
	Contains string        `yaml:"contains"`
	MaxAge   time.Duration `yaml:"max_age"`
	Every    time.Duration `yaml:"every"`   // zero is 2 s
	Timeout  time.Duration `yaml:"timeout"` // zero is 5 s
	// FailAfter consecutive failures are one failure of the payload; zero is 3.
	FailAfter int `yaml:"fail_after"`
	// StartAfter gives the payload time to come up; failures before do not count.
	StartAfter time.Duration `yaml:"start_after"`
}

// A Gate is the interlock with the application: mode "permit" (closed unless the
// application grants a lease), "hold" (open unless it holds one) or "" (always open).
type Gate struct {
	Mode string `yaml:"mode"`
}

// Log says what is logged: Level debug, info (default), warn or error; Format
// text (default) or json.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Bytes is a size such as "64MiB", "2MB" or a plain number of bytes.
type Bytes int64

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		n      int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}} {
		if strings.HasSuffix(s, u.suffix) {
			s, unit = strings.TrimSpace(strings.TrimSuffix(s, u.suffix)), u.n
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return fmt.Errorf("%q is not a size: write 64MiB, 2MB or a number of bytes", text)
	}
	*b = Bytes(n * unit)
	return nil
}

// Load reads path, applies env (as os.Environ gives it) and checks the result.
// An empty path is an empty file in the current folder.
func Load(path string, env []string) (*Config, error) {
	c, base := &Config{}, "."
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w; write one or name it with --config", ErrConfig, err)
		}
		if c, err = Parse(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		base = filepath.Dir(path)
	}
	if err := c.override(env); err != nil {
		return nil, err
	}
	c.resolve(base)
	return c, c.Validate()
}

// Parse reads YAML strictly. Errors show the line and mark the column.
func Parse(data []byte) (*Config, error) {
	var c Config
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&c)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrConfig, yaml.FormatError(err, false, true))
	}
	return &c, nil
}

// override applies the environment to scalar keys.
func (c *Config) override(env []string) error {
	vars := map[string]string{}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, EnvPrefix) {
			vars[strings.TrimPrefix(k, EnvPrefix)] = v
		}
	}
	return overrideStruct(reflect.ValueOf(c).Elem(), "", vars)
}

func overrideStruct(v reflect.Value, prefix string, vars map[string]string) error {
	for i := range v.NumField() {
		key := prefix + strings.ToUpper(v.Type().Field(i).Tag.Get("yaml"))
		f := v.Field(i)
		if _, mark := f.Addr().Interface().(*Mark); f.Kind() == reflect.Struct && !mark {
			if err := overrideStruct(f, key+"_", vars); err != nil {
				return err
			}
			continue
		}
		val, ok := vars[key]
		if !ok {
			continue
		}
		switch p := f.Addr().Interface().(type) {
		case *string:
			*p = val
		case *bool:
			b, err := strconv.ParseBool(val)
			if err != nil {
				return fmt.Errorf("%w: %s%s=%q: want true or false", ErrConfig, EnvPrefix, key, val)
			}
			*p = b
		case *Mark:
			if err := p.UnmarshalText([]byte(val)); err != nil {
				return fmt.Errorf("%w: %s%s: %w", ErrConfig, EnvPrefix, key, err)
			}
		case *Bytes:
			if err := p.UnmarshalText([]byte(val)); err != nil {
				return fmt.Errorf("%w: %s%s: %w", ErrConfig, EnvPrefix, key, err)
			}
		}
	}
	return nil
}

// resolve makes paths of the file relative to it and fills in defaults.
func (c *Config) resolve(base string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(base, *p)
		}
	}
	for _, p := range []*string{&c.Dir, &c.Join, &c.API} {
		abs(p)
	}
	if c.Components == nil {
		c.Components = map[string]Component{manifest.DefaultComponent: {}}
	}
	for name, comp := range c.Components {
		for _, p := range []*string{&comp.Dir, &comp.Script, &comp.Hooks} {
			abs(p)
		}
		if comp.Driver == "" {
			comp.Driver = "dirslot"
		}
		if comp.Grace == 0 {
			comp.Grace = 10 * time.Second
		}
		if comp.Dir == "" {
			comp.Dir = filepath.Join(c.Dir, "slots", name)
		}
		for i := range comp.Probes {
			comp.Probes[i].fill()
		}
		c.Components[name] = comp
	}
	c.fill()
}

func (c *Config) fill() {
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	def(&c.Listen.Gossip, ":7946")
	def(&c.Listen.Bulk, ":7947")
	def(&c.Listen.Control, ":7948")
	def(&c.Profile, "lan")
	def(&c.API, filepath.Join(c.Dir, "api.sock"))
	def(&c.Log.Level, "info")
	def(&c.Log.Format, "text")
	if c.Reserve == 0 {
		c.Reserve = 64 << 20
	}
	c.Store.fill()
}

func (p *Probe) fill() {
	if p.Every == 0 {
		p.Every = 2 * time.Second
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Second
	}
	if p.FailAfter == 0 {
		p.FailAfter = 3
	}
}

// Validate reports all faults together, each wrapping ErrConfig.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
	}
	if c.Dir == "" {
		bad("dir is missing: say where the node keeps its state, such as dir: /var/lib/starling")
	}
	if c.Name != "" && !manifest.ValidName(c.Name) {
		bad("name %q: want 1 to 32 of a-z 0-9 . - _", c.Name)
	}
	for key, addr := range map[string]string{"gossip": c.Listen.Gossip, "bulk": c.Listen.Bulk, "control": c.Listen.Control} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad("listen.%s %q: want host:port or :port", key, addr)
		}
	}
	if !slices.Contains([]string{"lan", "mesh", "narrow", "local"}, c.Profile) {
		bad("profile %q: want lan, mesh, narrow or local", c.Profile)
	}
	if err := c.Store.check(); err != nil {
		bad("store: %v", err)
	}
	for _, err := range c.checkTransfer() {
		bad("transfer: %v", err)
	}
	for name, comp := range c.Components {
		if !manifest.ValidName(name) {
			bad("component %q: want 1 to 32 of a-z 0-9 . - _", name)
		}
		for _, err := range comp.check() {
			bad("components.%s: %v", name, err)
		}
	}
	return errors.Join(errs...)
}

func (c *Component) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch c.Driver {
	case "dirslot":
	case "exec":
		if c.Script == "" {
			bad("driver exec needs script")
		}
	default:
		bad("driver %q: want dirslot or exec", c.Driver)
	}
	if c.Gate.Mode != "" && c.Gate.Mode != "permit" && c.Gate.Mode != "hold" {
		bad("gate.mode %q: want permit or hold", c.Gate.Mode)
	}
	if c.MinHealthy < 0 || c.HealthyDeadline < 0 || c.Grace < 0 || (c.HealthyDeadline > 0 && c.HealthyDeadline <= c.MinHealthy) {
		bad("healthy_deadline %s must exceed min_healthy %s, and no time may be negative", c.HealthyDeadline, c.MinHealthy)
	}
	for i, p := range c.Probes {
		n := 0
		for _, set := range []bool{len(p.Exec) > 0, p.HTTP != "", p.File != ""} {
			if set {
				n++
			}
		}
		if n != 1 || !manifest.ValidName(p.Name) {
			bad("probe %d (%q): want a name of a-z 0-9 . - _ and one of exec, http, file", i+1, p.Name)
		}
		if p.Every < 0 || p.Timeout < 0 || p.FailAfter < 0 || p.StartAfter < 0 {
			bad("probe %q: a negative number", p.Name)
		}
	}
	return errs
}
