package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim"
)

// A desk is what an operator has: a swarm's directory with the key, a plan and a release.
type desk struct {
	home, plan, star string
	root             manifest.Digest
	roles            order.Roles
	release          manifest.Ref
}

const secret = "correct horse"

// newDesk signs a release and a quick plan for it.
func newDesk(t *testing.T) *desk {
	dir := t.TempDir()
	d := &desk{home: filepath.Join(dir, "home"), plan: filepath.Join(dir, "app.plan"), star: filepath.Join(dir, "app.star")}
	owner, key := newKey(t), newKey(t)
	sealed, err := trust.SealKey(key, "operator", []byte(secret))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(d.home, "keys"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(d.home, keyFile), sealed, 0o600))

	image := filepath.Join(dir, "image")
	require.NoError(t, os.MkdirAll(image, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(image, "run"), make([]byte, 40<<10), 0o755))
	r, err := bundle.Build(t.Context(), bundle.Spec{
		Component: "app", Version: "2.0", Counter: 8, Variants: []bundle.VariantSpec{{Name: "all", Path: image, Run: []string{"run"}}},
	}, owner, d.star, nil)
	require.NoError(t, err)
	signers := trust.Signers{Owner: []ed25519.PrivateKey{owner}, Operator: []ed25519.PrivateKey{key}}
	docs, err := trust.Init([]envelope.Key{envelope.KeyOf(owner)}, 1, []envelope.Key{envelope.KeyOf(key)}, signers, time.Now())
	require.NoError(t, err)
	docs, err = trust.Publish(docs, []*manifest.Release{r}, signers, time.Now())
	require.NoError(t, err)
	require.NoError(t, bundle.SetMetadata(d.star, docs.Encode()))
	d.root, d.release = manifest.Sum(docs.Roots[0]), r.Ref()
	set, err := trust.Open(d.root, docs, nil, time.Time{})
	require.NoError(t, err)
	d.roles = set.Roles()

	p := rollout.DefaultPlan()
	p.Swarm, p.Release, p.From = "farm", r.Ref(), manifest.Ref{Version: "1.9", Counter: 7, Digest: manifest.Sum([]byte("1.9"))}
	p.Created, p.Sim, p.Waves = time.Now().Unix(), true, []uint16{1000}
	p.Expires = p.Created + 86400
	p.CanaryGate.SoakSeconds, p.CanaryGate.ExposureSeconds, p.WaveGate.SoakSeconds, p.SoakGate.SoakSeconds = 2, 2, 1, 1
	p.MinHealthySeconds, p.HealthyDeadlineSeconds, p.SilenceDeadlineSeconds = 2, 60, 120
	p.InstallDeadlineSeconds = 60
	require.NoError(t, p.Check())
	require.NoError(t, os.WriteFile(d.plan, p.Seal().Sign(key).Encode(), 0o644))
	return d
}

func newKey(t *testing.T) ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return k
}

func (d *desk) args(more ...string) []string {
	return append([]string{"rehearse", "--plan", d.plan, "--release", d.star, "--dir", d.home, "--runs", "2"}, more...)
}

// An operator rehearses a plan, and gets a report that their trust root accepts.
func TestRehearse(t *testing.T) {
	t.Setenv("STARLING_PASSPHRASE", secret)
	d, out := newDesk(t), filepath.Join(t.TempDir(), "sim.report")
	code, stdout, errs := play(t, d.args("--swarm", file(t), "-o", out)...)
	require.Zero(t, code, errs)
	require.Contains(t, stdout, "rehearsal of app 1.9 → 2.0, plan ")
	require.Contains(t, stdout, netsim.RehearsalJudges)
	require.Contains(t, stdout, "2 runs, 0 went wrong: with 95 % confidence at most 77.64 % of seeds do")
	require.Contains(t, stdout, "2.0            on every robot in 2 of 2 runs")
	require.Contains(t, errs, "next: starling report submit "+out)

	data, err := os.ReadFile(out)
	require.NoError(t, err)
	r, _, err := rollout.OpenReport(data, envelope.TrustScope(d.root), d.roles.Report)
	require.NoError(t, err)
	require.Equal(t, d.release.Digest, r.Release)
	require.True(t, r.Passed)
	require.Equal(t, uint32(2), r.Runs)
	require.Contains(t, r.Summary, netsim.RehearsalJudges)
	details, err := os.ReadFile(out + ".json")
	require.NoError(t, err)
	require.Equal(t, manifest.Sum(details), r.Details)
	var s netsim.Series
	require.NoError(t, json.Unmarshal(details, &s))
	require.Contains(t, s.Runs[1].Replay, "netsim rehearse --plan")
}

// What did not go well, or cannot be vouched for, is not signed.
func TestRehearseSignsNothing(t *testing.T) {
	t.Setenv("STARLING_PASSPHRASE", secret)
	d, out, path := newDesk(t), filepath.Join(t.TempDir(), "sim.report"), file(t)
	code, stdout, _ := play(t, d.args("--swarm", file(t, `active: "1.1"`, `active: "1.1", max_out_of_service: 0`), "-o", out)...)
	require.Equal(t, exitBroken, code)
	require.Contains(t, stdout, "--seed 4 -v")
	require.NoFileExists(t, out)

	for says, more := range map[string][]string{
		"no such file":   {"--key", filepath.Join(d.home, "nothing")},
		"role to others": {"--dir", newDesk(t).home},
		"passphrase":     {"--passphrase-file", path},
		"not signed by":  {"--release", newDesk(t).star},
	} {
		code, _, errs := play(t, d.args(append([]string{"--swarm", path, "-o", out}, more...)...)...)
		require.NotZero(t, code, says)
		require.Contains(t, errs, says)
		require.NoFileExists(t, out)
	}
}
