package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFourLinesAreEnough(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "robot.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`dir: state
join: invite.json
components:
  app: {probes: [{name: nav, exec: [./check], every: 500ms}]}
`), 0o600))
	c, err := Load(file, []string{"STARLING_LISTEN_GOSSIP=127.0.0.1:0", "STARLING_TRANSFER_MAX_RATE_UP=2MiB", "STARLING_BASE=true", "PATH=/bin"})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "state"), c.Dir)
	require.Equal(t, "127.0.0.1:0", c.Listen.Gossip)
	require.Equal(t, ":7947", c.Listen.Bulk)
	require.Equal(t, Bytes(2<<20), c.Transfer.MaxRate.Up)
	require.True(t, c.Base)
	app := c.Components["app"]
	require.Equal(t, "dirslot", app.Driver)
	require.Equal(t, filepath.Join(dir, "state", "slots", "app"), app.Dir)
	require.Equal(t, 500*time.Millisecond, app.Probes[0].Every)
	require.Equal(t, 3, app.Probes[0].FailAfter)
}

func TestUnknownKeyShowsLineAndColumn(t *testing.T) {
	_, err := Parse([]byte("dir: x\nlisten:\n  gosip: \":1\"\n"))
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "[3:3]")
	require.ErrorContains(t, err, "gosip")
	require.ErrorContains(t, err, "^")
}

func TestFaultsAreReportedTogether(t *testing.T) {
	c := &Config{Profile: "moon", Components: map[string]Component{"app": {Driver: "exec", Gate: Gate{Mode: "ajar"}, Probes: []Probe{{Name: "x"}}}}}
	c.resolve(".")
	c.Listen.Bulk = "7947"
	err := c.Validate()
	for _, want := range []string{"dir is missing", "profile", "listen.bulk", "needs script", "gate.mode", "probe 1"} {
		require.ErrorContains(t, err, want)
	}
}

func TestTransfer(t *testing.T) {
	c, err := Parse([]byte("dir: x\ntransfer: {interfaces: [wlan0], max_rate: {up: 200KiB, down: 1MiB, peer: 50KiB}, only_when: [charging, still, idle]}\ncomponents: {app: {gate: {mode: hold}}}\n"))
	require.NoError(t, err)
	c.resolve(".")
	require.NoError(t, c.Validate())
	require.Equal(t, Transfer{MaxRate{200 << 10, 1 << 20, 50 << 10, 0}, []string{"wlan0"}, []string{"charging", "still", "idle"}}, c.Transfer)

	c.Components["app"] = Component{Driver: "dirslot"}
	c.Transfer.OnlyWhen = append(c.Transfer.OnlyWhen, "flying")
	c.Transfer.Interfaces = []string{""}
	err = c.Validate()
	for _, want := range []string{"no component has a gate", `"flying": want charging, still or idle`, "an empty name"} {
		require.ErrorContains(t, err, want)
	}
	_, err = Parse([]byte("dir: x\nupload: 2MiB\n"))
	require.ErrorContains(t, err, "upload")
}

func TestBytes(t *testing.T) {
	for in, want := range map[string]Bytes{"0": 0, "12": 12, "64MiB": 64 << 20, "2 MB": 2e6, "3GiB": 3 << 30, "7B": 7} {
		var b Bytes
		require.NoError(t, b.UnmarshalText([]byte(in)), in)
		require.Equal(t, want, b, in)
	}
	for _, in := range []string{"", "-1", "1.5MiB", "MiB", "99999999999GiB", "ten"} {
		var b Bytes
		require.Error(t, b.UnmarshalText([]byte(in)), in)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("dir: x\ncomponents: {app: {grace: 3s}}\n"))
	f.Add([]byte("? [a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			require.Nil(t, c)
		}
	})
}
