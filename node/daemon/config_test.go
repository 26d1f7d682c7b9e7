package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/config"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/join"
	"github.com/starling-swarm/starling/node/update"
)

// load writes a configuration file into dir and loads it.
func load(t *testing.T, dir, yaml string) *config.Config {
	t.Helper()
	file := filepath.Join(dir, "agent.yaml")
	require.NoError(t, os.WriteFile(file, []byte(yaml), 0o600))
	c, err := config.Load(file, nil)
	require.NoError(t, err)
	return c
}

// invite writes an invite for a swarm into dir.
func invite(t *testing.T, dir, swarm string) {
	t.Helper()
	i, err := join.New(join.Invite{
		Swarm: swarm, Root: [32]byte{1}, Operator: [32]byte{2}, Addrs: []string{"127.0.0.1:1"}, Expires: time.Now().Add(time.Hour), Uses: 1,
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "invite.json"), i.Encode(), 0o600))
}

func TestWhatAConfigurationBecomes(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		want       func(t *testing.T, dir string, n node.Config)
	}{
		{"nothing but a directory", "dir: state\n", func(t *testing.T, dir string, n node.Config) {
			require.Equal(t, filepath.Join(dir, "state"), n.Dir)
			require.Equal(t, ":7946", n.Gossip)
			require.Equal(t, "lan", n.Profile)
			require.Equal(t, int64(64<<20), n.ReserveBytes)
			require.Len(t, n.Components, 1)
			require.Equal(t, "app", n.Components[0].Name)
			require.Equal(t, filepath.Join(dir, "state", "slots", "app", "a"), n.Components[0].Installer.SlotDir(update.A))
			require.Empty(t, n.Components[0].Watches)
			require.True(t, n.Components[0].Gate.State().Open)
			require.NotEmpty(t, n.Name)
		}},
		{"a base node runs no payload", "dir: state\nbase: true\nname: truck\ntransfer: {interfaces: [wlan0], max_rate: {up: 2MiB, down: 3MiB, peer: 1MiB}, only_when: [charging]}\n", func(t *testing.T, _ string, n node.Config) {
			require.Empty(t, n.Components)
			require.Equal(t, "truck", n.Name)
			require.Equal(t, []int64{2 << 20, 3 << 20, 1 << 20}, []int64{n.UploadBytesPerSec, n.DownloadBytesPerSec, n.PeerBytesPerSec})
			require.Equal(t, []string{"wlan0"}, n.Interfaces)
			require.Equal(t, []node.Condition{node.Charging}, n.OnlyWhen)
		}},
		{"a directory of its own", "dir: state\ncomponents: {nav: {dir: opt}}\n", func(t *testing.T, dir string, n node.Config) {
			require.Equal(t, filepath.Join(dir, "opt", "nav", "b"), n.Components[0].Installer.SlotDir(update.B))
		}},
		{"a directory called like the component", "dir: state\ncomponents: {nav: {dir: opt/nav}}\n", func(t *testing.T, dir string, n node.Config) {
			require.Equal(t, filepath.Join(dir, "opt", "nav", "b"), n.Components[0].Installer.SlotDir(update.B))
		}},
		{"drivers", "dir: state\ncomponents: {a: {unit: nav.service}, b: {driver: exec, script: drv}, c: {}}\n", func(t *testing.T, dir string, n node.Config) {
			require.IsType(t, &install.Unit{}, n.Components[0].Installer)
			require.IsType(t, &install.Script{}, n.Components[1].Installer)
			require.Equal(t, filepath.Join(dir, "state", "slots", "b", "a"), n.Components[1].Installer.SlotDir(update.A))
			require.IsType(t, &install.DirSlot{}, n.Components[2].Installer)
		}},
		{"gates", "dir: state\ncomponents: {a: {gate: {mode: permit}}, b: {gate: {mode: hold}}}\n", func(t *testing.T, _ string, n node.Config) {
			require.False(t, n.Components[0].Gate.State().Open)
			require.NoError(t, n.Components[1].Gate.Hold("pilot", time.Minute, "in the air"))
			require.False(t, n.Components[1].Gate.State().Open)
		}},
		{"hooks", "dir: state\ncomponents: {a: {hooks: hooks.d}}\n", func(t *testing.T, dir string, n node.Config) {
			require.Equal(t, filepath.Join(dir, "hooks.d"), n.Components[0].Hooks.Dir)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "drv"), []byte("#!/bin/sh\n"), 0o755))
			n, err := Config(load(t, dir, tt.yaml), nil)
			require.NoError(t, err)
			tt.want(t, dir, n)
		})
	}
}

func TestProbesKnowTheComponentsFolders(t *testing.T) {
	dir := t.TempDir()
	n, err := Config(load(t, dir, `dir: state
components:
  nav:
    probes:
      - {name: beat, file: beat, contains: ok, max_age: 3s}
      - {name: abs, file: /run/beat}
      - {name: web, http: "http://127.0.0.1:8080/ok", every: 7s, timeout: 2s, fail_after: 4, start_after: 9s}
      - {name: check, exec: [./check, --fast]}
`), nil)
	require.NoError(t, err)
	home := filepath.Join(dir, "state", "slots", "nav")
	require.Equal(t, []install.Watch{
		{Name: "beat", Prober: install.FileProbe{Path: filepath.Join(home, "data", "beat"), Contains: "ok", MaxAge: 3 * time.Second}, Every: 2 * time.Second, Timeout: 5 * time.Second, FailAfter: 3},
		{Name: "abs", Prober: install.FileProbe{Path: "/run/beat"}, Every: 2 * time.Second, Timeout: 5 * time.Second, FailAfter: 3},
		{Name: "web", Prober: install.HTTPProbe{URL: "http://127.0.0.1:8080/ok"}, Every: 7 * time.Second, Timeout: 2 * time.Second, FailAfter: 4, StartAfter: 9 * time.Second},
		{Name: "check", Prober: install.ExecProbe{Argv: []string{"./check", "--fast"}, Dir: filepath.Join(home, "current"), Env: []string{
			"STARLING_COMPONENT=nav", "STARLING_SLOT=" + filepath.Join(home, "current"), "STARLING_DATA=" + filepath.Join(home, "data"), "STARLING_CACHE=" + filepath.Join(home, "cache"),
		}}, Every: 2 * time.Second, Timeout: 5 * time.Second, FailAfter: 3},
	}, n.Components[0].Watches)

	// A probe that comes with the release is found there.
	slot := filepath.Join(home, "a")
	require.NoError(t, os.WriteFile(filepath.Join(slot, "check"), []byte("#!/bin/sh\n[ \"$1\" = --fast ] && [ -d \"$STARLING_DATA\" ]\n"), 0o755))
	require.NoError(t, os.Symlink("a", filepath.Join(home, "current")))
	require.NoError(t, n.Components[0].Watches[3].Prober.Probe(t.Context()))
}

func TestInvites(t *testing.T) {
	dir := t.TempDir()
	c := load(t, dir, "dir: state\njoin: invite.json\n")
	_, err := Config(c, nil)
	require.ErrorIs(t, err, config.ErrConfig)
	require.ErrorContains(t, err, "starling invite")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "invite.json"), []byte(`{"format":1,"what":2}`), 0o600))
	_, err = Config(c, nil)
	require.ErrorIs(t, err, join.ErrInvite)

	invite(t, dir, "orchard-3")
	n, err := Config(c, nil)
	require.NoError(t, err)
	require.Equal(t, "orchard-3", n.Invite.Swarm)
	notes, err := Check(c)
	require.NoError(t, err)
	require.Contains(t, notes[0], "would join swarm orchard-3")

	c.Swarm = "field-7"
	_, err = Config(c, nil)
	require.ErrorContains(t, err, `is for swarm "orchard-3"`)

	// Once the directory belongs to a swarm the invite is not even read.
	c.Swarm, c.Join = "", filepath.Join(dir, "gone.json")
	require.NoError(t, os.MkdirAll(c.Dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(c.Dir, "membership"), []byte(`{"format":1,"swarm":"orchard-3","id":"r01","trust_root":"`+manyZeros+`","operator":"`+manyZeros+`"}`), 0o600))
	n, err = Config(c, nil)
	require.NoError(t, err)
	require.Nil(t, n.Invite)
	c.Swarm = "field-7"
	_, err = Config(c, nil)
	require.ErrorIs(t, err, config.ErrConfig)
}

const manyZeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestNothingToJoinIsSaid(t *testing.T) {
	_, err := Check(load(t, t.TempDir(), "dir: state\n"))
	require.ErrorIs(t, err, node.ErrNotJoined)
	require.ErrorContains(t, err, "starling join")
}

func TestFaultsOfComponentsAreToldTogether(t *testing.T) {
	_, err := Config(load(t, t.TempDir(), "dir: state\ncomponents: {a: {driver: exec, script: none}, b: {unit: -x}}\n"), nil)
	require.ErrorIs(t, err, config.ErrConfig)
	require.ErrorContains(t, err, "components.a")
	require.ErrorContains(t, err, "components.b")
}

func TestLogger(t *testing.T) {
	for _, c := range []config.Log{{Level: "loud", Format: "text"}, {Level: "info", Format: "xml"}} {
		_, err := Logger(c, os.Stderr)
		require.ErrorIs(t, err, config.ErrConfig)
	}
}
