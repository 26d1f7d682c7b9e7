package rollout

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// TestCanaries: one of each variant whatever the share; voters are spared.
func TestCanaries(t *testing.T) {
	cases := []struct {
		robots, voters, models int
		share, min             uint16
		want                   int
	}{
		{1, 1, 1, 50, 1, 1},
		{4, 4, 1, 500, 1, 1}, // all vote: one voter, not two
		{5, 4, 1, 500, 1, 2}, // the one that does not, and one voter
		{10, 4, 1, 50, 1, 1},
		{10, 4, 2, 50, 1, 2}, // one per variant, above the share
		{10, 4, 3, 50, 1, 3},
		{100, 4, 3, 50, 1, 5},
		{100, 7, 2, 100, 1, 10},
		{100, 4, 1, 0, 0, 0},
		{100, 4, 1, 0, 3, 3},
		{1000, 7, 3, 50, 1, 50},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			g := newRig(t, c.robots, c.voters, c.models)
			g.release("1.0.0", 1)
			g.plan.CanaryPermille, g.plan.CanaryMin = c.share, c.min
			require.NoError(t, g.apply(g.startOf("1.0.0")))
			r := g.state.Rollout
			require.Equal(t, c.want, r.Cohorts[0].Count())
			variants := map[string]bool{}
			voters := 0
			for _, i := range members(r.Cohorts[0]) {
				variants[r.Extract.stratum(i).Variant] = true
				if g.state.Electorate.Has(i) {
					voters++
				}
			}
			if c.want > 0 {
				require.Len(t, variants, c.models)
				require.LessOrEqual(t, voters, max(1, c.models))
			}
			require.Equal(t, c.robots, r.all().Count(), "everybody has a turn")
		})
	}
}

// TestCohortsAreFair: over many seeds each robot that does not vote is a canary about
// as often as any other.
func TestCohortsAreFair(t *testing.T) {
	g := newRig(t, 40, 4, 2)
	g.release("1.0.0", 1)
	rel := g.releases["1.0.0"]
	g.plan.Release = rel.Ref()
	x, err := NewExtract(&g.plan, rel, g.roster, g.state.Roster, g.state.Trust.Digest)
	require.NoError(t, err)
	const runs = 800
	var times [40]int
	for n := range runs {
		g.plan.Seed = [16]byte{byte(n), byte(n >> 8)}
		sets, _ := cohorts(&g.plan, manifest.Sum([]byte("plan")), &x, &g.state.Electorate)
		again, _ := cohorts(&g.plan, manifest.Sum([]byte("plan")), &x, &g.state.Electorate)
		require.Equal(t, sets, again)
		for _, i := range sets[0].All() {
			times[i]++
		}
	}
	for i, n := range times {
		if i < 4 {
			require.Zero(t, n, "robot %d votes", i)
			continue
		}
		require.InDelta(t, runs*2/36, n, 30, "robot %d", i) // 4.6 standard deviations
	}
}

// TestBench: robots of the bench are in no canary and no wave, and those without a
// variant in nothing.
func TestBench(t *testing.T) {
	g := newRig(t, 12, 3, 2)
	g.release("1.0.0", 1, func(r *manifest.Release) { r.Variants = r.Variants[:1] })
	for _, i := range []int{4, 6} {
		g.roster.Members[i].Labels["role"] = "hil"
	}
	g.state.Roster = g.rosterRef()
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	require.Equal(t, setOf(4, 6), g.state.Rollout.Bench)
	require.Equal(t, setOf(0, 2, 8, 10), g.state.Rollout.all())
}

func TestCut(t *testing.T) {
	e := &order.Electorate{Voters: []order.Voter{{Member: 0}, {Member: 1}, {Member: 2}}}
	all := setOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	cases := []struct {
		name               string
		permille, max      uint16
		candidates, flying member.Set
		floor              member.Set
		available          uint16
		want               member.Set
	}{
		{"a quarter", 250, 0, all, nil, nil, 0, setOf(3, 4)},
		{"a share below one is one", 1, 0, all, nil, nil, 0, setOf(3)},
		{"the lower of share and number", 500, 3, all, nil, nil, 0, setOf(3, 4, 5)},
		{"those in flight count", 250, 0, minus(all, setOf(3)), setOf(3), nil, 0, setOf(4)},
		{"no room", 250, 0, minus(all, setOf(3, 4)), setOf(3, 4), nil, 0, nil},
		{"voters last", 1000, 0, setOf(0, 1, 9), nil, nil, 0, setOf(9)},
		{"a voter alone", 1000, 0, setOf(0, 1), nil, nil, 0, setOf(0)},
		{"not beside a voter in flight", 1000, 0, setOf(1), setOf(0), nil, 0, nil},
		{"beside another in flight", 1000, 0, setOf(1), setOf(9), nil, 0, setOf(1)},
		{"a floor", 1000, 0, all, nil, setOf(3, 4, 5, 6), 3, setOf(3, 7, 8, 9)},
		{"a floor with one in flight", 1000, 0, setOf(4, 5, 9), setOf(3), setOf(3, 4, 5, 6), 3, setOf(9)},
		{"a floor that binds all", 1000, 0, setOf(4, 5), setOf(3), setOf(3, 4, 5, 6), 3, nil},
		{"a voter while a floor binds the rest", 1000, 0, setOf(2, 4), setOf(3), setOf(3, 4), 1, setOf(2)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := &Rollout{Plan: Plan{BatchPermille: c.permille, BatchMax: c.max}, Cohorts: []member.Set{all}}
			if c.floor != nil {
				r.Plan.Floors, r.Extract.Floors = []Floor{{MinAvailable: c.available}}, []member.Set{c.floor}
			}
			require.Equal(t, c.want.All(), r.cut(c.candidates, c.flying, e).All())
		})
	}
}

// TestExtractCoarsens: where labels make more kinds of robots than fit, the least
// important labels are left out.
func TestExtractCoarsens(t *testing.T) {
	g := newRig(t, 200, 3, 2)
	g.release("1.0.0", 1)
	for i := range g.roster.Members {
		g.roster.Members[i].Labels["role"] = fmt.Sprintf("role%d", i)
		g.roster.Members[i].Labels["site"] = fmt.Sprintf("site%d", i%5)
	}
	x, err := NewExtract(&g.plan, g.releases["1.0.0"], g.roster, g.state.Roster, g.state.Trust.Digest)
	require.NoError(t, err)
	require.Len(t, x.Table, 10)
	require.NoError(t, x.wellFormed())
	for i := range g.roster.Members {
		require.Equal(t, fmt.Sprintf("site%d", i%5), x.stratum(member.Index(i)).Site)
		require.Equal(t, g.roster.Members[i].Key, x.Key(member.Index(i)))
	}
	require.True(t, x.Key(900).IsZero())
}

// TestRandomRollouts plays random swarms and plans with robots that fail, lie, leave
// and fall silent, against every invariant, on two replicas of which one starts anew
// from a snapshot now and then.
func TestRandomRollouts(t *testing.T) {
	ended := map[order.Status]int{}
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 7))
		g := newRig(t, 3+rng.IntN(30), 1+rng.IntN(3), 1+rng.IntN(3))
		randomPlan(g, rng)
		g.release("1.0.0", 1)
		twin := g.state.Clone()
		err := g.apply(g.startOf("1.0.0"))
		require.NoError(t, err, "seed %d", seed)
		for step := 0; step < 250 && !g.state.Rollout.Status.Final(); step++ {
			randomStep(g, rng)
		}
		for n, entry := range g.log {
			_ = twin.ApplyLog(twin.Index+1, entry)
			if n%7 == 0 {
				twin, err = DecodeState(twin.Encode())
				require.NoError(t, err)
			}
		}
		require.Equal(t, g.state.Digest(), twin.Digest(), "seed %d: replicas differ", seed)
		ended[g.state.Rollout.Status]++
	}
	t.Logf("ended: %v", ended)
	require.Greater(t, ended[order.Finished], 0)
	require.Greater(t, ended[order.Reverted], 0)
}

func randomPlan(g *rig, rng *rand.Rand) {
	p := &g.plan
	p.Seed[0] = byte(rng.IntN(256))
	p.CanaryPermille, p.CanaryMin = uint16(rng.IntN(300)), uint16(rng.IntN(3))
	p.CanaryGate.MaxFailures, p.WaveGate.MaxFailures, p.SoakGate.MaxFailures = uint16(rng.IntN(2)), uint16(rng.IntN(4)), uint16(rng.IntN(6))
	p.WaveGate.OnFail = Hold + Then(rng.IntN(2))
	p.BatchPermille = uint16(100 + rng.IntN(900))
	p.Prefetch = Prefetch(rng.IntN(3))
	if rng.IntN(3) == 0 {
		p.LeaseSeconds, p.OnOperatorLost = 20000, []Then{Advance, Hold, FinishHold}[rng.IntN(3)]
	}
	if rng.IntN(3) == 0 {
		p.Floors = []Floor{{Label: "model", Value: "mk1", MinAvailable: 0}}
	}
}

// randomStep does one of the things that happen.
func randomStep(g *rig, rng *rand.Rand) {
	r := g.state.Rollout
	opened := members(r.Opened)
	switch k := rng.IntN(20); {
	case k < 5:
		g.pass(int64(rng.IntN(600)))
	case k < 8:
		_ = g.advance()
	case k < 16 && len(opened) > 0:
		i := opened[rng.IntN(len(opened))]
		_ = g.observe(g.health(i, func(h *member.Health) {
			h.Boot, h.Healthy = uint64(rng.IntN(3)), uint32(rng.IntN(4000))
			h.Phase, h.Running = member.Phase(rng.IntN(member.Phases)), h.Release
			switch {
			case rng.IntN(60) == 0:
				h.Result, h.Running, h.Reason = member.Failed, g.state.Rollout.Plan.From.Digest, "probe"
			case rng.IntN(12) == 0:
				h.Leaving = true
			case rng.IntN(12) == 0:
				h.Result = member.Deferred
			default:
				h.Phase = member.Committed
			}
		}))
	case k == 16 && len(opened) > 0:
		_ = g.observe(g.commits(5000, opened...)...)
	case k == 17:
		verb := []Verb{VerbPause, VerbResume, VerbResume, VerbResume, VerbResume, VerbRenew}[rng.IntN(6)]
		if rng.IntN(40) == 0 {
			verb = VerbRollback
		}
		_ = g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: verb, Rollout: r.ID})})
	case k == 18:
		randomSwap(g, rng)
	default:
		_ = g.applyBytes([]byte{byte(rng.IntN(256)), 0, byte(rng.IntN(256))})
	}
}

func randomSwap(g *rig, rng *rand.Rand) {
	voters := g.state.Electorate.Voters
	d := g.setVoters(int(voters[rng.IntN(len(voters))].Member), rng.IntN(len(g.roster.Members)))
	if rng.IntN(4) == 0 {
		d.SetVoters.Endorsed = d.SetVoters.Endorsed[1:] // one of four is not needed
	}
	_ = g.apply(d)
}
