package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

// How far a soak is, from the robots' own words.
func TestSoakIsCountedFromReports(t *testing.T) {
	v := viewOf(2, inStage(order.Running, order.Canary, "", 1, 2))
	n := &Node{health: newHealthTable()}
	r := v.Order.Rollout
	p := &rollout.Plan{CanaryGate: rollout.Gate{SoakSeconds: 60, ExposureSeconds: 600}, InstallDeadlineSeconds: 7200}
	sequence := uint64(0)
	say := func(i member.Index, phase member.Phase, healthy uint32) {
		sequence++
		n.health.merge(&member.Health{Format: 1, Robot: i, Sequence: sequence, Component: "app", Release: r.Release.Digest, Running: r.Release.Digest, Phase: phase, Healthy: healthy}, nil)
	}
	require.Empty(t, n.soakWords(v, r, p), "nobody has switched")
	say(1, member.Trial, 5)
	require.Empty(t, n.soakWords(v, r, p), "a trial is no soak")
	say(1, member.Committed, 34)
	say(2, member.Committed, 70)
	require.Equal(t, "soak in canary: 1 of 2 robots that run it are well for 1m0s (r01 for 34s); 1m44s of 10m0s together", n.soakWords(v, r, p))
	say(1, member.Committed, 61)
	p.CanaryGate.ExposureSeconds = 0
	require.Equal(t, "soak in canary: 2 of 2 robots that run it are well for 1m0s", n.soakWords(v, r, p))
	v.Roster.Members[2].Labels["role"] = "hil"
	require.Equal(t, "soak in canary: 1 of 1 robots that run it are well for 1m0s", n.soakWords(v, r, p), "the bench does not count")
	require.Empty(t, n.soakWords(v, &order.Rollout{Stage: order.Sim}, p))
	require.Equal(t, "; its batch waits up to 2h0m0s for it, and then goes on without", patience(p))
	require.NotEmpty(t, patience(nil))
}

func TestWhatStaysIsSaidOnce(t *testing.T) {
	v := viewOf(2, inStage(order.Running, order.Canary, "", 1))
	active, rolling := v.Order.Components[0].Active.Digest, v.Order.Rollout.Release.Digest
	require.Equal(t, ", which is active", stays(v.Order, "app", active, "runs what is active"))
	require.Equal(t, ", which is rolling out", stays(v.Order, "app", rolling, "runs the release that is rolling out"))
	v.Order.Quarantine = append(v.Order.Quarantine, active)
	require.Equal(t, ": waiting for the operator", stays(v.Order, "app", active, "waiting for the operator"))
	require.Equal(t, ": the swarm has no component nav", stays(v.Order, "nav", active, "the swarm has no component nav"))
}
