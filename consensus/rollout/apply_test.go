package rollout

import (
	"fmt"
	"slices"
	"testing"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// started is a swarm of ten whose canary batch of two is open.
func started(t testing.TB) *rig {
	g := newRig(t, 10, 4, 1)
	g.release("1.0.0", 1)
	g.release("1.1.0", 2)
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	g.finish()
	g.plan.CanaryMin = 2
	require.NoError(t, g.apply(g.startOf("1.1.0")))
	require.NoError(t, g.advance())
	require.Equal(t, 2, g.state.Rollout.Open.Count())
	return g
}

// TestRefused applies what a hostile leader, robot or stranger might propose. The
// rig checks that each leaves the state as it was, but for Index, Time and Clock.
func TestRefused(t *testing.T) {
	first := func(g *rig) member.Index { return members(g.state.Rollout.Open)[0] }
	failed := func(h *member.Health) { h.Phase, h.Result = member.Reverted, member.Failed }
	cases := []struct {
		name string
		d    func(g *rig) *Decision
		want error
	}{
		{"a report signed by another robot", func(g *rig) *Decision {
			e, _ := envelope.Decode(g.health(first(g), failed), envelope.Health)
			e.Signatures = nil
			return &Decision{Kind: KindObserve, Observe: [][]byte{e.Sign(robotKey(9)).Encode()}}
		}, envelope.ErrUnsigned},
		{"a report with a changed byte", func(g *rig) *Decision {
			e, _ := envelope.Decode(g.health(first(g), failed), envelope.Health)
			e.Signatures[0].Sig[3] ^= 1
			return &Decision{Kind: KindObserve, Observe: [][]byte{e.Encode()}}
		}, envelope.ErrUnsigned},
		{"a good report beside a forged one", func(g *rig) *Decision {
			e, _ := envelope.Decode(g.health(first(g), failed), envelope.Health)
			e.Signatures = nil
			return &Decision{Kind: KindObserve, Observe: [][]byte{g.health(first(g), failed), e.Encode()}}
		}, envelope.ErrUnsigned},
		{"a report of another swarm", func(g *rig) *Decision {
			h := member.Health{Format: 1, Robot: first(g), Sequence: 1000, Component: "app", Generation: 1, Order: 1000}
			return &Decision{Kind: KindObserve, Observe: [][]byte{h.Seal("other").Sign(robotKey(first(g))).Encode()}}
		}, envelope.ErrKind},
		{"a robot that no roster knows", func(g *rig) *Decision {
			return &Decision{Kind: KindObserve, Observe: [][]byte{g.health(500, failed)}}
		}, envelope.ErrUnsigned},
		{"a report from before the rollout", func(g *rig) *Decision {
			return &Decision{Kind: KindObserve, Observe: [][]byte{g.health(first(g), func(h *member.Health) { failed(h); h.Order = g.state.Rollout.Start - 1 })}}
		}, ErrOldNews},
		{"a report on another component", func(g *rig) *Decision {
			return &Decision{Kind: KindObserve, Observe: [][]byte{g.health(first(g), func(h *member.Health) { failed(h); h.Component = "maps" })}}
		}, ErrOldNews},
		{"too many reports", func(g *rig) *Decision {
			return &Decision{Kind: KindObserve, Observe: make([][]byte, MaxObserved+1)}
		}, ErrDecision},
		{"no reports", func(g *rig) *Decision { return &Decision{Kind: KindObserve} }, ErrDecision},
		{"an early advance", func(g *rig) *Decision { return &Decision{Kind: KindAdvance} }, ErrNotYet},
		{"an advance that carries something", func(g *rig) *Decision { return &Decision{Kind: KindAdvance, Level: 3} }, ErrDecision},
		{"no kind", func(g *rig) *Decision { return &Decision{} }, ErrDecision},
		{"a kind from the future", func(g *rig) *Decision { return &Decision{Kind: 200, Level: 1} }, ErrDecision},
		{"an intent signed by a robot", func(g *rig) *Decision {
			in := Intent{Format: 1, Swarm: swarmID, Counter: 99, Verb: VerbRollback, Rollout: 2}
			return &Decision{Kind: KindIntent, Intent: in.Seal().Sign(robotKey(0)).Encode()}
		}, envelope.ErrUnsigned},
		{"an intent for the last rollout", func(g *rig) *Decision {
			return &Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbRollback, Rollout: 1})}
		}, ErrNoRollout},
		{"an intent with an unknown verb", func(g *rig) *Decision {
			return &Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: "explode", Rollout: 2})}
		}, ErrDecision},
		{"a second rollout", func(g *rig) *Decision { return g.startOf("1.1.0") }, ErrBusy},
		{"a plan where an intent should be", func(g *rig) *Decision {
			return &Decision{Kind: KindIntent, Intent: g.startOf("1.1.0").Start.Plan}
		}, nil},
		{"a level that nobody announced", func(g *rig) *Decision { return &Decision{Kind: KindLevel, Level: 2} }, ErrNotYet},
		{"a level too far", func(g *rig) *Decision { return &Decision{Kind: KindLevel, Level: 3} }, ErrDecision},
		{"a report of a stage the plan does not have", func(g *rig) *Decision {
			r := Report{Format: 1, Stage: order.Sim, Release: g.state.Rollout.Plan.Release.Digest, Passed: true}
			return &Decision{Kind: KindReport, Report: r.Seal(envelope.TrustScope(g.state.TrustRoot)).Sign(testKey("bench")).Encode()}
		}, ErrOldNews},
		{"a report signed by the operator", func(g *rig) *Decision {
			r := Report{Format: 1, Stage: order.Sim, Release: g.state.Rollout.Plan.Release.Digest, Passed: true}
			return &Decision{Kind: KindReport, Report: r.Seal(envelope.TrustScope(g.state.TrustRoot)).Sign(g.operator()).Encode()}
		}, envelope.ErrUnsigned},
		{"a voter that is switching", func(g *rig) *Decision {
			return g.setVoters(0, int(first(g)))
		}, ErrBusy},
	}
	base := started(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := base.fork(t)
			err := g.apply(c.d(g))
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
		})
	}
}

// TestStartRefused spoils starts in every way that start is there to notice.
func TestStartRefused(t *testing.T) {
	cases := []struct {
		name string
		d    func(g *rig) *Decision
		want error
	}{
		{"signed by nobody", func(g *rig) *Decision {
			d := g.startOf("1.1.0")
			p := g.plan
			d.Start.Plan = p.Seal().Encode()
			return d
		}, envelope.ErrUnsigned},
		{"an intent for another plan", func(g *rig) *Decision {
			d := g.startOf("1.1.0")
			d.Start.Intent = g.intent(Intent{Verb: VerbStart, Plan: manifest.Sum(nil), Extract: d.Start.Extract.Digest()})
			return d
		}, ErrDecision},
		{"an extract that the operator did not sign for", func(g *rig) *Decision {
			d := g.startOf("1.1.0")
			d.Start.Extract.Strata = slices.Clone(d.Start.Extract.Strata)
			d.Start.Extract.Table = append(d.Start.Extract.Table, Stratum{Variant: "mk1", Model: "mk1", Site: "b"})
			d.Start.Extract.Strata[3] = 1
			require.NoError(t, d.Start.Extract.wellFormed())
			return d
		}, ErrDecision},
		{"an intent without an extract", func(g *rig) *Decision {
			d := g.startOf("1.1.0")
			e, err := envelope.Decode(d.Start.Plan, envelope.Plan)
			require.NoError(t, err)
			d.Start.Intent = g.intent(Intent{Verb: VerbStart, Plan: e.Digest()})
			return d
		}, ErrDecision},
		{"other trust metadata has come", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { x.Trust[0]++ })
		}, ErrStale},
		{"a used counter", func(g *rig) *Decision {
			g.counter--
			return g.startOf("1.1.0")
		}, ErrReplay},
		{"another release in its place", func(g *rig) *Decision {
			d := g.startOf("1.1.0")
			d.Start.Release = g.releases["1.0.0"].Encode()
			return d
		}, ErrDecision},
		{"a wrong counter in the plan", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { p.Release.Counter = 7 })
		}, ErrDecision},
		{"made against what was active before", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { p.From = manifest.Ref{} })
		}, ErrStale},
		{"expired", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { p.Expires = p.Created + 1 })
		}, ErrExpired},
		{"impossible by itself", func(g *rig) *Decision { return g.startOf("1.1.0", func(p *Plan, x *Extract) { p.Waves = nil }) }, ErrPlan},
		{"of another roster", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { x.Roster.Epoch = 2 })
		}, ErrStale},
		{"a key too few", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { x.Keys = x.Keys[32:] })
		}, ErrDecision},
		{"a key twice", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { copy(x.Keys, x.Keys[32:64]) })
		}, ErrDecision},
		{"a stratum that is not there", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { x.Strata[3] = 9 })
		}, ErrDecision},
		{"a variant that is not there", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { x.Table[0].Variant = "mk9" })
		}, ErrDecision},
		{"a floor too many", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { x.Floors = append(x.Floors, setOf(1)) })
		}, ErrDecision},
		{"a floor of strangers", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) {
				p.Floors, x.Floors = []Floor{{Label: "model", Value: "mk1", MinAvailable: 1}}, []member.Set{setOf(44)}
			})
		}, ErrDecision},
		{"a floor that nobody gets past", func(g *rig) *Decision {
			g.plan.Floors = []Floor{{Label: "model", Value: "mk1", MinAvailable: 10}}
			return g.startOf("1.1.0")
		}, ErrImpossible},
		{"not for any robot", func(g *rig) *Decision {
			return g.startOf("1.1.0", func(p *Plan, x *Extract) { x.Table[0].Variant = "" })
		}, ErrImpossible},
		{"older, and no fallback", func(g *rig) *Decision { return g.startOf("0.9.0") }, ErrForbidden},
		{"older, with the active release left out", func(g *rig) *Decision {
			d := g.startOf("0.9.0")
			d.Start.From = nil
			return d
		}, ErrForbidden},
		{"not a step from what is active", func(g *rig) *Decision { return g.startOf("3.0.0") }, ErrForbidden},
	}
	base := newRig(t, 10, 4, 1)
	base.release("0.9.0", 1)
	base.release("1.0.0", 2)
	base.release("1.1.0", 3)
	base.release("3.0.0", 9, func(r *manifest.Release) { r.From = []string{"2.0.0"} })
	require.NoError(t, base.apply(base.startOf("1.0.0")))
	base.finish()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := base.fork(t)
			err := g.apply(c.d(g))
			require.ErrorIs(t, err, c.want)
			require.NotContains(t, err.Error(), "%!")
		})
	}
}

func TestReplays(t *testing.T) {
	g := started(t)
	i := members(g.state.Rollout.Open)[0]
	sick := g.health(i, func(h *member.Health) { h.Phase, h.Running = member.Trial, h.Release })
	well := g.commits(10, i)[0]
	require.NoError(t, g.observe(sick, well))
	require.ErrorIs(t, g.observe(sick), ErrOldNews)
	require.ErrorIs(t, g.observe(well), ErrOldNews)

	pause := &Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbPause, Rollout: 2})}
	require.NoError(t, g.apply(pause))
	require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbResume, Rollout: 2})}))
	require.ErrorIs(t, g.apply(pause), ErrReplay)
	require.Equal(t, order.Running, g.state.Rollout.Status)
}

// TestFailureSticks: a robot cannot talk itself well, and one that is silently back
// on the old release has failed.
func TestFailureSticks(t *testing.T) {
	g := started(t)
	g.state.Rollout.Plan.CanaryGate.MaxFailures = 2
	open := members(g.state.Rollout.Open)
	require.NoError(t, g.observe(g.health(open[0], func(h *member.Health) { h.Phase, h.Result = member.Reverted, member.Failed })))
	require.NoError(t, g.observe(g.commits(100, open[0])...))
	require.Equal(t, failed, g.state.standing(open[0]))

	require.NoError(t, g.observe(g.commits(100, open[1])...))
	require.Equal(t, committed, g.state.standing(open[1]))
	require.NoError(t, g.observe(g.health(open[1], func(h *member.Health) { h.Release = h.Running })))
	require.Equal(t, failed, g.state.standing(open[1]))
	require.Contains(t, g.state.Rollout.Records[1].Reason, "any more")
}

// TestHealthyAdds: soak is summed over boots, and a failed probe starts it anew.
func TestHealthyAdds(t *testing.T) {
	g := started(t)
	i := members(g.state.Rollout.Open)[0]
	say := func(boot uint64, healthy uint32) uint32 {
		require.NoError(t, g.observe(g.health(i, func(h *member.Health) {
			h.Phase, h.Running, h.Boot, h.Healthy = member.Committed, h.Release, boot, healthy
		})))
		return g.state.Rollout.Records[0].healthy()
	}
	require.EqualValues(t, 50, say(1, 50))
	require.EqualValues(t, 80, say(1, 80))
	require.EqualValues(t, 85, say(2, 5))
	require.EqualValues(t, 180, say(2, 100))
	require.EqualValues(t, 83, say(2, 3))
	require.EqualValues(t, 1<<32-1, say(2, 1<<32-1))
}

// TestLacks: a voter refuses to sign while it holds what the leader left out.
func TestLacks(t *testing.T) {
	g := started(t)
	open := members(g.state.Rollout.Open)
	word := func(i member.Index, change func(*member.Health)) *member.Health {
		h, _, err := member.OpenHealth(g.health(i, change), swarmID, g.state.Rollout.Extract.Key)
		require.NoError(t, err)
		return h
	}
	sick := func(h *member.Health) { h.Phase, h.Result = member.Reverted, member.Failed }
	well := func(h *member.Health) { h.Phase, h.Running = member.Trial, h.Release }
	require.True(t, g.state.Lacks(word(open[0], sick)))
	require.False(t, g.state.Lacks(word(open[0], well)))
	require.False(t, g.state.Lacks(word(9, sick)), "in no batch")

	require.NoError(t, g.observe(g.health(open[0], well)))
	g.pass(1800)
	late := word(open[0], well)
	require.True(t, g.state.Lacks(late), "the state takes it for lost")
	require.NoError(t, g.observe(g.health(open[0], sick)))
	require.False(t, g.state.Lacks(word(open[0], sick)), "counted")
}

// TestFleetRevert: after the canary it takes the signed word of two robots.
func TestFleetRevert(t *testing.T) {
	g := started(t)
	g.state.Rollout.Plan.WaveGate = Gate{OnFail: Revert}
	require.NoError(t, g.observe(g.commits(1000, members(g.state.Rollout.Open)...)...))
	require.NoError(t, g.advance())
	for g.state.Rollout.Wave < 2 {
		require.NoError(t, g.observe(g.commits(1000, members(g.state.Rollout.Open)...)...))
		require.NoError(t, g.advance())
	}
	fail := func(i member.Index) {
		require.NoError(t, g.observe(g.health(i, func(h *member.Health) { h.Phase, h.Result = member.Reverted, member.Failed })))
	}
	open := members(g.state.Rollout.Open)
	fail(open[0])
	require.Equal(t, order.Held, g.state.Rollout.Status)
	require.Contains(t, g.state.Rollout.Reason, "second robot")
	fail(open[1])
	require.Equal(t, order.RollingOff, g.state.Rollout.Status)
}

func TestCountersAreBounded(t *testing.T) {
	g := newRig(t, 5, 1, 1)
	g.release("1.0.0", 1)
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	for n := range order.MaxCounters + 3 {
		key := testKey(fmt.Sprint("operator ", n))
		g.state.Roles.Plan = envelope.Only(envelope.KeyOf(key))
		in := Intent{Format: 1, Swarm: swarmID, Counter: 5, Verb: VerbRenew, Rollout: 1}
		require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: in.Seal().Sign(key).Encode()}))
		require.LessOrEqual(t, len(g.state.Counters), order.MaxCounters)
	}
}

func TestApplyTwiceAndNil(t *testing.T) {
	g := started(t)
	at := g.state.Digest()
	require.ErrorIs(t, g.state.Apply(g.state.Index, &Decision{Format: 1, Kind: KindCheckpoint}), ErrApplied)
	require.ErrorIs(t, g.state.ApplyLog(1, []byte("x")), ErrApplied)
	require.Equal(t, at, g.state.Digest())
	require.ErrorIs(t, g.state.Apply(g.state.Index+1, nil), ErrDecision)
	require.ErrorIs(t, g.state.ApplyLog(g.state.Index+1, []byte{0xa1, 0x00, 0x02}), canonical.ErrFuture)
	g.state.Level = order.Level + 1
	at = g.state.Digest()
	require.ErrorIs(t, g.state.ApplyLog(g.state.Index+1, []byte("x")), ErrTooNew)
	require.Equal(t, at, g.state.Digest())
}
