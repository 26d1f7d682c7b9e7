package netsim

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// orchard is a small swarm whose operator asks for a report of a simulation.
const orchard = `
name: orchard
about: Three carts get a release that waits for a simulation.
seed: 3
duration: 5m
world: {profile: local}
fleet: [{name: cart, count: 3, model: mk1, device: {boot: 1s}}]
releases:
  - {version: "1.0", size: 64KiB, variants: [{model: mk1}]}
  - {version: "1.1", size: 96KiB, shared: 50%, variants: [{model: mk1}]}
story:
  - {after: joined, ship: {version: "1.1", sim: true, soak: 2s, waves: [100%], batch: 2}}
expect: {active: "1.1"}
`

// windDown is how long goroutines of stopped nodes still wait for something: a bubble
// must not end before.
const windDown = 10 * time.Minute

// offer writes what an operator of the orchard has in hand before the rollout: the
// signed plan and the signed release. They are those of the very swarm that a run of
// the orchard founds.
func offer(t *testing.T, dir string) (plan, star string, key ed25519.PrivateKey) {
	s := parse(t, orchard)
	plan = filepath.Join(dir, "orchard.plan")
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(s, Options{Seed: s.Seed, Dir: filepath.Join(dir, "work")}.withDefaults())
		require.NoError(t, err)
		key = w.operatorKeys()[0]
		o := &operator{w: w, key: key}
		docs, err := trust.Init([]envelope.Key{envelope.KeyOf(w.owner)}, 1, []envelope.Key{envelope.KeyOf(key)}, o.signers(), time.Now())
		require.NoError(t, err)
		var built []*release
		for i := range s.Releases {
			r, err := w.build(t.Context(), &s.Releases[i])
			require.NoError(t, err)
			docs, err = trust.Publish(docs, []*manifest.Release{r.Release}, o.signers(), time.Now())
			require.NoError(t, err)
			built = append(built, r)
		}
		star = built[1].star
		require.NoError(t, bundle.SetMetadata(star, docs.Encode()))
		p, err := w.plan(built[1], s.Story[0].Ship)
		require.NoError(t, err)
		p.From = built[0].Ref()
		require.NoError(t, os.WriteFile(plan, p.Seal().Sign(key).Encode(), 0o644))
	})
	return plan, star, key
}

// rehearse runs the plan on the orchard once.
func rehearse(t *testing.T, sub *Subject) *Series {
	c, err := Rehearsal(parse(t, orchard), sub.Plan, sub.Release)
	require.NoError(t, err)
	dir := onRAM(t)
	var r *Report
	synctest.Test(t, func(t *testing.T) {
		r, err = Run(t.Context(), c, Options{Dir: dir, Plan: sub.Plan})
		require.NoError(t, err)
		time.Sleep(windDown)
	})
	require.True(t, r.OK(), r.Why())
	return NewSeries([]*Report{r})
}

// The whole way of an operator: a rollout that waits for a simulation stays where it is
// without a report, and with one for another release; the report of a rehearsal of this
// plan and release opens it.
func TestRehearsalOpensTheSimStage(t *testing.T) {
	plan, star, key := offer(t, t.TempDir())
	sub, err := OpenSubject(plan, star)
	require.NoError(t, err)
	require.True(t, sub.MaySign(key))
	report, details, err := sub.Sign(rehearse(t, sub), key)
	require.NoError(t, err)

	other := rollout.Report{Format: rollout.ReportFormat, Stage: order.Sim, Release: manifest.Sum([]byte("another")), Passed: true, By: reporter, Runs: 1}
	wrong := other.Seal(envelope.TrustScope(sub.trust.Root())).Sign(key).Encode()
	said := make(chan error, 2)
	stages := make(chan order.Stage, 2)
	waiting := false
	s := perform(t, orchard, func(w *World, n Note) {
		if n.Kind != "order" || waiting || w.watch.order().Rollout == nil {
			return
		}
		waiting = true
		go func() {
			for _, data := range [][]byte{wrong, report} {
				time.Sleep(time.Minute) // without, and then with one for another release
				stages <- w.watch.order().Rollout.Stage
				node := clone(w, &w.operators)[0].alive().node
				said <- node.Propose(context.Background(), &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindReport, Report: data}) // until the run ends
			}
		}()
	})
	require.Equal(t, order.Sim, <-stages)
	require.ErrorContains(t, <-said, "no rollout of")
	require.Equal(t, order.Sim, <-stages)
	require.NoError(t, <-said)
	require.True(t, s.report.OK(), s.report.Why())
	require.Equal(t, sub.Release.Digest(), s.built()[1].Digest())
	require.Greater(t, s.report.Virtual, 120.0)

	roles := sub.trust.Roles()
	r, _, err := rollout.OpenReport(report, envelope.TrustScope(sub.trust.Root()), roles.Report)
	require.NoError(t, err)
	require.Equal(t, manifest.Sum(details), r.Details)
	require.Contains(t, r.Summary, RehearsalJudges)
}

// A plan of hours, with floors and gates that a scenario cannot say, is shipped as it is.
func TestRehearsalShipsThePlanItself(t *testing.T) {
	plan, star, _ := offer(t, t.TempDir())
	sub, err := OpenSubject(plan, star)
	require.NoError(t, err)
	sub.Plan.WaveGate.ExposureSeconds = 77
	sub.Plan.WaveGate.MaxFailuresPermille = 9
	sub.Plan.HIL = true
	c, err := Rehearsal(parse(t, orchard), sub.Plan, sub.Release)
	require.NoError(t, err)
	dir := onRAM(t)
	synctest.Test(t, func(t *testing.T) {
		o := Options{Seed: 1, Dir: dir, Plan: sub.Plan}.withDefaults()
		w, err := newWorld(c, o)
		require.NoError(t, err)
		r, err := w.run(context.Background(), o) // the run's own end
		require.NoError(t, err)
		require.True(t, r.OK(), r.Why())
		time.Sleep(windDown)
		got := *w.watch.planOf(1)
		require.Equal(t, uint64(77), got.WaveGate.ExposureSeconds)
		want := *sub.Plan
		want.Swarm, want.Release, want.From, want.Created, want.Expires = got.Swarm, got.Release, got.From, got.Created, got.Expires
		require.Equal(t, want, got)
	})
}

func TestRehearsalTakesWorldAndFaults(t *testing.T) {
	s, err := scenario.Open("demo")
	require.NoError(t, err)
	r := &manifest.Release{Component: "app", Version: "7.0", Variants: []manifest.Variant{
		{Name: "one", Match: map[string]string{"model": "mk1", "platform": "linux/arm64"}, Bytes: 5 << 20},
		{Name: "same", Match: map[string]string{"model": "mk1", "platform": "linux/arm"}, Bytes: 6 << 20},
	}}
	p := rollout.DefaultPlan()
	p.From = manifest.Ref{Version: "6.9"}
	c, err := Rehearsal(s, &p, r)
	require.NoError(t, err)
	require.Len(t, c.Releases, 2)
	require.Equal(t, scenario.Ref("6.9"), c.Releases[0].Ref())
	require.Empty(t, c.Releases[0].Variants, "what runs now is for all")
	require.Equal(t, []scenario.Variant{{Model: "mk1", Size: ptr(scenario.Bytes(6 << 20))}}, c.Releases[1].Variants, "the larger of two that only the platform tells apart")
	require.Equal(t, s.Releases[2].Shared, c.Releases[1].Shared)
	require.Equal(t, scenario.OK, c.Releases[1].Behaviour.Kind)
	require.Len(t, c.Story, 1)
	require.Equal(t, scenario.Ref("7.0"), c.Story[0].Ship.Version)
	require.Len(t, c.Faults, len(s.Faults))
	require.Equal(t, scenario.Ref("7.0"), c.Faults[0].When.Release)
	require.Equal(t, []scenario.Ref{"7.0"}, c.Expect.Active)
	require.Empty(t, c.Expect.Reverted)
	require.Greater(t, c.Duration, 24*time.Hour, "a default plan takes longer than the scenario")

	r.Variants = r.Variants[:1]
	r.Variants[0].Match = map[string]string{"model": "mk9"}
	_, err = Rehearsal(s, &p, r)
	require.ErrorIs(t, err, ErrRehearsal)
	require.ErrorContains(t, err, "mk9")
	p.From.Version = "7.0"
	_, err = Rehearsal(s, &p, r)
	require.ErrorIs(t, err, ErrRehearsal)
}

func TestSubjectIsVerified(t *testing.T) {
	dir := t.TempDir()
	plan, star, key := offer(t, dir)
	sub, err := OpenSubject(plan, star)
	require.NoError(t, err)

	_, stranger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	require.False(t, sub.MaySign(stranger))

	forged := *sub.Plan
	forged.CanaryPermille = 1000
	by := filepath.Join(dir, "forged.plan")
	require.NoError(t, os.WriteFile(by, forged.Seal().Sign(stranger).Encode(), 0o644))
	_, err = OpenSubject(by, star)
	require.Error(t, err, "a plan of somebody else")

	forged.Release.Version = "1.0"
	require.NoError(t, os.WriteFile(by, forged.Seal().Sign(key).Encode(), 0o644))
	_, err = OpenSubject(by, star)
	require.ErrorIs(t, err, ErrRehearsal, "a plan for another release")

	_, err = OpenSubject(plan, filepath.Join(filepath.Dir(star), "app-1.0.star"))
	require.ErrorIs(t, err, ErrRehearsal, "a release that nobody has signed")

	_, _, err = sub.Sign(NewSeries([]*Report{{Died: "x"}, {}}), key)
	require.ErrorIs(t, err, ErrRehearsal, "a run that went wrong")
}
