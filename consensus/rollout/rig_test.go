package rollout

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

const (
	swarmID = "field"
	epoch0  = int64(1_800_000_000) // when the rigs' swarms begin
)

// testKey is a key made from a name, the same in every run.
func testKey(name string) ed25519.PrivateKey {
	seed := manifest.Sum([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func robotKey(i member.Index) ed25519.PrivateKey { return testKey(fmt.Sprintf("robot %d", i)) }

// rig is a small swarm with every key in hand: it makes genuine documents.
type rig struct {
	t        testing.TB
	state    *State
	roster   *member.Roster
	plan     Plan
	counter  uint64
	sequence map[member.Index]uint64
	releases map[string]*manifest.Release
	now      int64 // Unix seconds to stamp
	log      [][]byte
	check    bool // state invariants after each decision
}

// newRig makes a swarm of n robots, the first few of which vote. Odd robots are of
// model mk2, others mk1, if models is 2.
func newRig(t testing.TB, n, voters, models int) *rig {
	g := &rig{t: t, sequence: map[member.Index]uint64{}, releases: map[string]*manifest.Release{}, now: epoch0, check: true}
	g.roster = &member.Roster{Format: 1, Swarm: swarmID, Epoch: 1}
	for i := range n {
		m := member.Member{Index: member.Index(i), ID: member.ID(fmt.Sprintf("r%d", i)), Key: envelope.KeyOf(robotKey(member.Index(i))),
			Labels: map[string]string{"platform": "linux/arm64", "model": fmt.Sprintf("mk%d", i%models+1)}, JoinedAt: 1}
		g.roster.Members = append(g.roster.Members, m)
	}
	gen := g.genesis(voters)
	g.state = NewState(gen, gen.Seal().Sign(testKey("genesis")).Digest(), manifest.Sum([]byte("root")))
	require.NoError(t, g.state.check())
	g.plan = Plan{
		Format: PlanFormat, Swarm: swarmID, Component: "app", Created: epoch0, Expires: epoch0 + 14*86400,
		CanaryPermille: 50, CanaryMin: 1, CanaryGate: Gate{SoakSeconds: 600, ExposureSeconds: 600, OnFail: Revert},
		Waves: []uint16{300, 1000}, WaveGate: Gate{MaxFailures: 1, SoakSeconds: 60, OnFail: Hold},
		SoakGate: Gate{MaxFailures: 1, SoakSeconds: 1200, OnFail: Hold}, BatchPermille: 250,
		MinHealthySeconds: 60, HealthyDeadlineSeconds: 900, InstallDeadlineSeconds: 7200, SilenceDeadlineSeconds: 1800, Prefetch: FetchNext,
	}
	return g
}

// fork is a rig that goes its own way from here on, for one subtest.
func (g *rig) fork(t testing.TB) *rig {
	f := *g
	f.t, f.state, f.sequence, f.log = t, g.state.Clone(), maps.Clone(g.sequence), slices.Clone(g.log)
	return &f
}

func (g *rig) genesis(voters int) *order.Genesis {
	e := order.Electorate{Version: 1}
	for i := range voters {
		e.Voters = append(e.Voters, g.voter(member.Index(i)))
	}
	op := envelope.Only(envelope.KeyOf(testKey("operator")))
	return &order.Genesis{
		Format: order.GenesisFormat,
		Order: order.Order{
			Format: order.Format, Swarm: swarmID, Generation: 1, Level: 1, Time: epoch0, Electorate: e, Roster: g.rosterRef(),
			Trust: order.TrustRef{Root: 1, Timestamp: 1, Snapshot: 1, Targets: 1, Digest: manifest.Sum([]byte("trust 1"))},
		},
		Roles: order.Roles{Plan: op, Roster: op, Genesis: op, Report: envelope.Only(envelope.KeyOf(testKey("bench")))},
	}
}

func (g *rig) voter(i member.Index) order.Voter {
	return order.Voter{Member: i, Key: envelope.KeyOf(robotKey(i)), Server: fmt.Sprintf("r%d", i)}
}

func (g *rig) rosterRef() order.RosterRef {
	e := envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope(swarmID), g.roster)
	return order.RosterRef{Epoch: g.roster.Epoch, Digest: e.Digest()}
}

// release makes the release called version, one variant per model.
func (g *rig) release(version string, counter uint64, change ...func(*manifest.Release)) *manifest.Release {
	models := map[string]bool{}
	for _, m := range g.roster.Members {
		models[m.Labels["model"]] = true
	}
	r := &manifest.Release{Format: 1, Component: "app", Version: version, Counter: counter}
	for _, m := range slices.Sorted(maps.Keys(models)) {
		r.Variants = append(r.Variants, manifest.Variant{Name: m, Match: map[string]string{"model": m}, Manifest: manifest.Sum([]byte(version + m)), ManifestBytes: 1, Bytes: 1, Driver: "dirslot"})
	}
	for _, f := range change {
		f(r)
	}
	g.releases[version] = r
	return r
}

// apply applies an encoded copy of d and checks what must hold after any decision:
// the invariants, a state that reads back, and an order that a refusal leaves alone.
func (g *rig) apply(d *Decision) error {
	d.Format, d.Time = DecisionFormat, g.now
	return g.applyBytes(d.Encode())
}

func (g *rig) applyBytes(data []byte) error {
	before := *g.state.Clone()
	g.log = append(g.log, data)
	err := g.state.ApplyLog(g.state.Index+1, data)
	if !g.check {
		return err
	}
	if cerr := g.state.check(); cerr != nil {
		g.t.Fatalf("after %v: %v", err, cerr)
	}
	if err != nil {
		before.Index, before.Time, before.Clock = g.state.Index, g.state.Time, g.state.Clock
		require.Equal(g.t, before.Digest(), g.state.Digest(), "a refused decision changed the state: %v", err)
	}
	for _, c := range g.state.Components {
		require.NotContains(g.t, g.state.Quarantine, c.Active.Digest, "an active release is quarantined")
	}
	again, derr := DecodeState(g.state.Encode())
	require.NoError(g.t, derr)
	require.Equal(g.t, g.state.Digest(), again.Digest())
	_, derr = order.Decode(g.state.Order().Encode())
	require.NoError(g.t, derr)
	return err
}

func (g *rig) operator() ed25519.PrivateKey { return testKey("operator") }

// intent makes a signed intent with the next counter.
func (g *rig) intent(in Intent) []byte {
	g.counter++
	in.Format, in.Swarm, in.Counter = IntentFormat, swarmID, g.counter
	return in.Seal().Sign(g.operator()).Encode()
}

// setVoters makes a change of voters that all of them endorse.
func (g *rig) setVoters(remove, add int) *Decision {
	c := &SetVoters{}
	if remove >= 0 {
		i := member.Index(remove)
		c.Remove = &i
	}
	if add >= 0 {
		v := g.voter(member.Index(add))
		if g.state.Electorate.Version > 1 {
			v.Server += fmt.Sprint("-", g.state.Electorate.Version)
		}
		c.Add = &v
	}
	for _, v := range g.state.Electorate.Voters {
		c.Endorse(g.state, robotKey(v.Member))
	}
	return &Decision{Kind: KindSetVoters, SetVoters: c}
}

// startOf makes a start of the release called version with the rig's plan, against
// what is active. change may spoil it before it is signed.
func (g *rig) startOf(version string, change ...func(*Plan, *Extract)) *Decision {
	rel := g.releases[version]
	p := g.plan
	p.Release = rel.Ref()
	if c := g.state.component(p.Component); c != nil {
		p.From = c.Active
	}
	x, err := NewExtract(&p, rel, g.roster, g.state.Roster, g.state.Trust.Digest)
	require.NoError(g.t, err)
	for _, f := range change {
		f(&p, &x)
	}
	env := p.Seal().Sign(g.operator())
	d := &Decision{Kind: KindStart, Start: &Start{
		Intent: g.intent(Intent{Verb: VerbStart, Plan: env.Digest(), Extract: x.Digest()}), Plan: env.Encode(), Release: rel.Encode(), Extract: x,
	}}
	if !p.From.IsZero() && p.Release.Counter <= p.From.Counter {
		d.Start.From = g.releases[p.From.Version].Encode()
	}
	return d
}

// health makes a signed report of robot i, about the release that is rolling out.
func (g *rig) health(i member.Index, change func(*member.Health)) []byte {
	g.sequence[i]++
	h := member.Health{Format: 1, Robot: i, Boot: 1, Sequence: g.sequence[i], Component: "app", Generation: 1, Order: g.state.OrderIndex, Level: 1}
	if r := g.state.Rollout; r != nil {
		h.Component, h.Release, h.Running = r.Plan.Component, r.Plan.Release.Digest, r.Plan.From.Digest
	}
	if change != nil {
		change(&h)
	}
	return h.Seal(swarmID).Sign(robotKey(i)).Encode()
}

// commits are reports of robots that run the release for good.
func (g *rig) commits(healthy uint32, robots ...member.Index) [][]byte {
	var out [][]byte
	for _, i := range robots {
		out = append(out, g.health(i, func(h *member.Health) {
			h.Phase, h.Result, h.Running, h.Healthy = member.Committed, member.Good, h.Release, healthy
		}))
	}
	return out
}

func (g *rig) observe(reports ...[]byte) error {
	for chunk := range slices.Chunk(reports, MaxObserved) {
		if err := g.apply(&Decision{Kind: KindObserve, Observe: chunk}); err != nil {
			return err
		}
	}
	return nil
}

func (g *rig) advance() error { return g.apply(&Decision{Kind: KindAdvance}) }

// pass lets seconds go by, with a decision often enough for the clock to follow.
func (g *rig) pass(seconds int64) {
	for seconds > 0 {
		step := min(seconds, g.state.gap())
		g.now, seconds = g.now+step, seconds-step
		_ = g.apply(&Decision{Kind: KindCheckpoint})
	}
}

// finish carries the rollout to its end with robots that do all that they may.
func (g *rig) finish() {
	check := g.check
	g.check = false // TestGoodRollout and the random ones look closely
	defer func() { g.check = check; require.NoError(g.t, g.state.check()) }()
	for range 1000 {
		if g.state.Rollout.Status.Final() {
			return
		}
		g.pass(300)
		_ = g.observe(g.commits(1<<20, members(g.state.Rollout.Opened)...)...)
		_ = g.advance()
	}
	g.t.Fatalf("the rollout did not end: %s", Explain(g.state.Order()))
}

func TestGoodRollout(t *testing.T) {
	g := newRig(t, 20, 4, 2)
	g.release("1.0.0", 1)
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	for !g.state.Rollout.Status.Final() {
		g.pass(300)
		_ = g.observe(g.commits(1<<20, members(g.state.Rollout.Opened)...)...)
		_ = g.advance()
	}
	require.Equal(t, order.Finished, g.state.Rollout.Status)
	require.Equal(t, g.releases["1.0.0"].Ref(), g.state.component("app").Active)
	require.Empty(t, g.state.Rollout.Deferred)
	require.Equal(t, 20, g.state.Rollout.Opened.Count())
	require.True(t, bytes.Equal(g.state.Encode(), g.state.Clone().Encode()))
}
