package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// What a swarm of twelve robots cannot give is refused, with the numbers.
func TestPlansThatDoNotFitAreRefused(t *testing.T) {
	r := &member.Roster{Members: []member.Member{{Index: 0, Role: member.Operator}, {Index: 1, Labels: map[string]string{"model": "mk1"}}, {Index: 2, Labels: map[string]string{"site": "north"}}}}
	for _, tt := range []struct {
		name string
		plan rollout.Plan
		want string // "" is accepted
	}{
		{"a plan that fits", rollout.Plan{CanaryMin: 12}, ""},
		{"as many canaries as there may be failures", rollout.Plan{CanaryMin: 2, CanaryGate: rollout.Gate{MaxFailures: 2}}, "--canary-max-failures 2: there are 2 canaries"},
		{"more canaries than robots", rollout.Plan{CanaryMin: 50}, "--canary-min 50: the release is for 12 robots here"},
		{"a floor that nobody stands on", rollout.Plan{Floors: []rollout.Floor{{Label: "modle", Value: "mk1", MinAvailable: 2}}}, "--floor modle=mk1:2: no robot has this label; there are model=mk1 site=north"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &prospect{plan: &tt.plan, preview: &rollout.Preview{Robots: 12, Canaries: member.Set(nil).With(1).With(2)}}
			p.extract.Floors = make([]member.Set, len(tt.plan.Floors))
			err := fits(&view{roster: r}, p)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, api.Usage, problemOf(err).Code)
		})
	}
}

func TestWavesMustGrowToAll(t *testing.T) {
	require.NoError(t, rising("", []uint16{100, 500, 1000}))
	for want, waves := range map[string][]uint16{
		"20 % cannot follow 50 %":     {500, 200, 1000},
		"10 % cannot follow 10 %":     {100, 100, 1000},
		"0 % cannot follow the start": {0, 1000},
		"or 50 % of the robots would": {500},
		"17 waves, the limit is 16":   {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1000},
	} {
		require.ErrorContains(t, rising("x", waves), want)
	}
}

// An older release goes out only if the active one says that it may.
func TestGoingDownIsRefusedWithANextStep(t *testing.T) {
	old := &manifest.Release{Component: "app", Version: "1.0", Counter: 1}
	mid := &manifest.Release{Component: "app", Version: "1.1", Counter: 2}
	active := &manifest.Release{Component: "app", Version: "1.2", Counter: 3}
	require.ErrorContains(t, mayGoBack(active, old), "app 1.0 is older than 1.2, which is active and lists none")
	active.Fallbacks = []manifest.Ref{mid.Ref()}
	require.NoError(t, mayGoBack(active, mid))
	err := mayGoBack(active, old)
	require.ErrorContains(t, err, "may go back only to 1.1")
	p := problemOf(err)
	require.Equal(t, api.Refused, p.Code)
	require.Contains(t, p.Next, "under a new version")
}

// A voter that is known to be gone is not waited for; one never heard is.
func TestOnlyVotersThatMayComeAreWaitedFor(t *testing.T) {
	q := func(states ...string) *node.Quorum {
		out := &node.Quorum{Need: 3}
		for _, s := range states {
			alive := s == "alive"
			if alive {
				out.Alive++
			}
			out.Voters = append(out.Voters, node.Voter{State: s, Alive: alive})
		}
		return out
	}
	require.True(t, mayCome(q("alive", "unheard", "unheard", "unheard")))
	require.True(t, mayCome(q("alive", "alive", "dead", "unheard")))
	require.False(t, mayCome(q("alive", "alive", "dead", "left")))
	require.False(t, mayCome(q("alive", "dead", "dead", "unheard")))
}

func TestARefusedGateSaysHowToConfigureOne(t *testing.T) {
	for _, tt := range []struct{ mode, action, want string }{
		{"", "hold", "it has none"}, {"", "release", "it has none"}, {"permit", "hold", "has mode permit"}, {"hold", "permit", "has mode hold"},
		{"hold", "hold", ""}, {"permit", "permit", ""}, {"hold", "release", ""},
	} {
		err := (&cli{}).gateTakes(&node.GateView{Component: "nav", Mode: tt.mode}, tt.action)
		if tt.want == "" {
			require.NoError(t, err, "%+v", tt)
			continue
		}
		require.ErrorContains(t, err, tt.want, "%+v", tt)
		require.Contains(t, problemOf(err).Next, "nav: {gate: {mode: ")
	}
}

// Everything that a report holds is shown.
func TestAReportIsShownWhole(t *testing.T) {
	r := &node.ReportView{
		Component: "app", AgeSeconds: 3, Running: &node.ReleaseName{Version: "1.1"}, Release: &node.ReleaseName{Version: "1.2", Digest: manifest.Sum([]byte("1.2"))},
		Phase: "reverted", Result: "failed", Reason: "crash loop, 5 exits: exit status 3", Crashes: 5, Failures: 1, Order: "g1/36",
	}
	require.Equal(t, [][]string{
		{"app", "runs 1.1; 1.2 is at phase reverted, result failed; said 3s ago"},
		{"", "healthy for 0s; since its node started: 5 crashes, 1 failed probes"},
		{"", "knows order g1/36"},
		{"", "its words: crash loop, 5 exits: exit status 3"},
	}, reportRows(r))
	r.Release, r.Phase, r.Result, r.Reason = r.Running, "committed", "good", ""
	require.Equal(t, []string{"app", "runs 1.1, phase committed, result good; said 3s ago"}, reportRows(r)[0])
	require.Len(t, reportRows(r), 3)
}

func TestWhyOfARolloutIsNeverEmpty(t *testing.T) {
	require.Equal(t, "every stage passed", whyWords(&node.RolloutView{Status: "done"}))
	require.Equal(t, "-", whyWords(&node.RolloutView{Status: "running"}))
	require.Equal(t, "canary failed", whyWords(&node.RolloutView{Status: "reverted", Reason: "canary failed"}))
	for _, s := range rolloutStates {
		require.NotEmpty(t, overNext(&node.RolloutView{Status: s}))
	}
}
