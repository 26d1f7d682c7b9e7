package rollout

import (
	"encoding/json"
	"testing"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

var narrow = Transfer{UpBytesPerSec: 200 << 10, DownBytesPerSec: 1 << 20, PeerBytesPerSec: 50 << 10, OnlyWhen: WhenCharging | WhenIdle}

// A plan with limits has bytes of its own, which a build that knows none refuses with the
// word to update; one without has those that it always had.
func TestPlanWithLimits(t *testing.T) {
	op, keys := testKey("operator"), envelope.Only(envelope.KeyOf(testKey("operator")))
	p := fullPlan()
	plain := canonical.Encode(&p)
	p.Limit(narrow)
	data := vector.Check(t, "plan-limited", "envelope with the plan of plan.txt that limits transfers, signed by the same", p.Seal().Sign(op).Encode())
	got, _, err := OpenPlan(data, swarmID, keys)
	require.NoError(t, err)
	require.Equal(t, p, *got)
	var old Plan
	_, err = open(data, envelope.Plan, swarmID, keys, PlanFormat, &old)
	require.ErrorIs(t, err, canonical.ErrFuture)
	require.ErrorContains(t, err, "update starling")

	text, err := json.Marshal(&p)
	require.NoError(t, err)
	require.Contains(t, string(text), `"only_when":["charging","idle"]`)
	var again Plan
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, p, again)

	p.Limit(Transfer{})
	require.Equal(t, plain, canonical.Encode(&p), "no limits are no bytes")
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"negative":                  func(p *Plan) { p.Limit(Transfer{UpBytesPerSec: -1}) },
		"too slow":                  func(p *Plan) { p.Limit(Transfer{DownBytesPerSec: MinRateBytesPerSec - 1}) },
		"too slow for one":          func(p *Plan) { p.Limit(Transfer{PeerBytesPerSec: 1}) },
		"an unknown condition":      func(p *Plan) { p.Limit(Transfer{OnlyWhen: 8}) },
		"limits in the old format":  func(p *Plan) { p.Transfer = narrow },
		"no limits in the new one":  func(p *Plan) { p.Format = LimitedPlanFormat },
		"a format from the future":  func(p *Plan) { p.Limit(narrow); p.Format++ },
		"one plan, another's cover": nil,
	} {
		t.Run(name, func(t *testing.T) {
			p := fullPlan()
			if change != nil {
				change(&p)
				require.ErrorIs(t, p.Check(), ErrPlan)
				return
			}
			p.Limit(narrow)
			e := envelope.New(envelope.Plan, PlanFormat, envelope.SwarmScope(swarmID), &p).Sign(testKey("operator"))
			_, _, err := OpenPlan(e.Encode(), swarmID, envelope.Only(envelope.KeyOf(testKey("operator"))))
			require.ErrorIs(t, err, ErrPlan)
		})
	}
	for _, names := range [][]string{{"flying"}, {"still", "still"}, {""}} {
		_, err := ConditionsOf(names)
		require.ErrorIs(t, err, ErrPlan, "%q", names)
	}
	all, err := ConditionsOf([]string{"idle", "charging", "still"})
	require.NoError(t, err)
	require.Equal(t, []string{"charging", "still", "idle"}, all.Names())
}

// A swarm whose voters may be of a build that knows no limits starts no plan with them:
// what such a build refuses all refuse, so that their states stay equal. When every
// voter has announced that it knows them, it does.
func TestLimitsNeedALevel(t *testing.T) {
	g := newRig(t, 10, 4, 1)
	g.release("1.0.0", 1)
	g.plan.Limit(narrow)
	d := g.startOf("1.0.0")
	same := g.state.Clone()
	require.ErrorIs(t, g.apply(d), ErrImpossible)
	require.ErrorIs(t, same.ApplyLog(g.state.Index, []byte("what an older build cannot read")), ErrDecision)
	same.Time, same.Clock = g.state.Time, g.state.Clock
	require.Equal(t, same.Digest(), g.state.Digest(), "it is refused as bytes that are no plan are")

	level := &Decision{Kind: KindLevel, Level: 2}
	for _, v := range g.state.Electorate.Voters {
		level.Observe = append(level.Observe, g.health(v.Member, func(h *member.Health) { h.Level = 2 }))
	}
	require.NoError(t, g.apply(level))
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	require.Equal(t, narrow, g.state.Rollout.Plan.Transfer)
	back, err := DecodeState(g.state.Encode())
	require.NoError(t, err)
	require.Equal(t, narrow, back.Rollout.Plan.Transfer)
}
