package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// parseKnobs reads the flags of a plan.
func parseKnobs(t *testing.T, args ...string) (*rollout.Plan, error) {
	cmd, k := &cobra.Command{}, &knobs{}
	k.flags(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return nil, err
	}
	return k.plan(time.Unix(1_000_000, 0))
}

func TestDefaultsAreTheDefaultPlan(t *testing.T) {
	got, err := parseKnobs(t)
	require.NoError(t, err)
	want := rollout.DefaultPlan()
	want.Created, want.Expires, want.Seed = 1_000_000, 1_000_000+int64(planLife/time.Second), got.Seed
	require.Equal(t, &want, got)
	again, err := parseKnobs(t)
	require.NoError(t, err)
	require.NotEqual(t, got.Seed, again.Seed)
}

func TestKnobs(t *testing.T) {
	p, err := parseKnobs(t, "--canary", "2.5%", "--canary-min", "3", "--waves", "20%, 100%", "--soak", "90s", "--batch", "2",
		"--floor", "role=fire:2", "--expires", "1d12h", "--prefetch", "all", "--hold-after", "canary", "--max-failures", "3", "--on-wave-fail", "revert")
	require.NoError(t, err)
	require.EqualValues(t, 25, p.CanaryPermille)
	require.EqualValues(t, 3, p.CanaryMin)
	require.Equal(t, []uint16{200, 1000}, p.Waves)
	require.EqualValues(t, 90, p.CanaryGate.SoakSeconds)
	require.EqualValues(t, 900, p.CanaryGate.ExposureSeconds, "ten times the soak")
	require.EqualValues(t, 0, p.BatchPermille)
	require.EqualValues(t, 2, p.BatchMax)
	require.Equal(t, []rollout.Floor{{Label: "role", Value: "fire", MinAvailable: 2}}, p.Floors)
	require.EqualValues(t, 36*3600, p.Expires-p.Created)
	require.Equal(t, rollout.FetchAll, p.Prefetch)
	require.Equal(t, rollout.Hold, p.CanaryGate.OnPass)
	require.Equal(t, rollout.Revert, p.WaveGate.OnFail)
	require.EqualValues(t, 3, p.WaveGate.MaxFailures)
	require.EqualValues(t, 0, p.WaveGate.MaxFailuresPermille)
}

func TestTransferKnobs(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want rollout.Transfer
	}{
		{nil, rollout.Transfer{}},
		{[]string{"--max-rate", "200KiB/s"}, rollout.Transfer{UpBytesPerSec: 200 << 10, DownBytesPerSec: 200 << 10}},
		{[]string{"--max-rate", "1MB"}, rollout.Transfer{UpBytesPerSec: 1e6, DownBytesPerSec: 1e6}},
		{[]string{"--max-rate", "up=200KiB/s, peer=50 KiB/s"}, rollout.Transfer{UpBytesPerSec: 200 << 10, PeerBytesPerSec: 50 << 10}},
		{[]string{"--max-rate", "down=4KiB/s"}, rollout.Transfer{DownBytesPerSec: 4 << 10}},
		{[]string{"--only-when", "still, charging"}, rollout.Transfer{OnlyWhen: rollout.WhenCharging | rollout.WhenStill}},
		{[]string{"--only-when", "idle"}, rollout.Transfer{OnlyWhen: rollout.WhenIdle}},
	} {
		p, err := parseKnobs(t, tt.args...)
		require.NoError(t, err, "%v", tt.args)
		require.Equal(t, tt.want, p.Transfer, "%v", tt.args)
		p.Release, p.Swarm = manifest.Ref{Version: "1.0", Counter: 1, Digest: manifest.Sum(nil)}, "orchard"
		require.NoError(t, p.Check(), "%v", tt.args)
		require.Equal(t, strings.Contains(fmt.Sprint(tt.args), "still"), transferWarning(p) != "", "%v", tt.args)
	}
}

func TestNonsenseKnobs(t *testing.T) {
	for _, args := range [][]string{
		{"--canary", "5"}, {"--canary", "101%"}, {"--canary", "-1%"}, {"--canary", "NaN%"}, {"--canary", "1.23%"}, {"--canary", ""},
		{"--waves", ""}, {"--waves", "50%,,100%"}, {"--soak", "soon"}, {"--soak", "-1s"}, {"--soak", "99999d"}, {"--soak", "xd"},
		{"--batch", "0"}, {"--batch", "many"}, {"--batch", "70000"}, {"--floor", "role:2"}, {"--floor", "role=x"}, {"--floor", "role=x:-1"},
		{"--prefetch", "some"}, {"--on-operator-lost", "revert"}, {"--on-canary-fail", "advance"}, {"--hold-after", "lunch"},
		{"--max-rate", "fast"}, {"--max-rate", "0"}, {"--max-rate", "1KiB/s"}, {"--max-rate", "-1MiB/s"}, {"--max-rate", "up=1MiB/s,up=1MiB/s"},
		{"--max-rate", "left=1MiB/s"}, {"--max-rate", "up=1MiB/s,"}, {"--max-rate", "up="}, {"--only-when", "flying"}, {"--only-when", "still,still"}, {"--only-when", ","},
	} {
		_, err := parseKnobs(t, args...)
		require.Error(t, err, "%v", args)
		require.Contains(t, err.Error(), "want ", "%v", args)
		require.Equal(t, 2, problemOf(err).Code.Info().Exit, "%v", args)
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"0s": 0, "90s": 90 * time.Second, "14d": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour} {
		got, err := parseSpan(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func FuzzKnobs(f *testing.F) {
	for _, s := range []string{"5%", "2.5%", "14d", "1d12h", "role=fire:2", "", "%", "d", "=:", "1e300%", "1e300d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &reader{}
		require.LessOrEqual(t, r.permille("--canary", s), uint16(1000))
		_ = r.floor(s)
		_ = r.transfer(s, s)
		var p rollout.Plan
		r.batch(&p, s)
		require.LessOrEqual(t, p.BatchPermille, uint16(1000))
		if d, err := parseSpan(s); err == nil && d >= 0 && d < math.MaxUint32*time.Second {
			r = &reader{}
			_ = r.seconds("--soak", s)
			require.NoError(t, r.err, s)
		}
	})
}
