package rollout

import (
	"testing"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// big is a swarm of n robots in the middle of its last wave, all of them committed,
// every record as wide as it becomes in practice, some failed with long reasons.
func big(t testing.TB, n int) *rig {
	g := newRig(t, n, 4, 3)
	g.release("1.0.0", 1)
	g.release("1.1.0", 2)
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	g.check = false
	g.plan.BatchPermille, g.plan.WaveGate.MaxFailures, g.plan.SoakGate.MaxFailures = 1000, 500, 500
	g.state.Rollout.Plan.BatchPermille, g.state.Rollout.Plan.WaveGate.MaxFailures = 1000, 500
	g.state.Rollout.Plan.SoakGate = Gate{MaxFailures: 500, SoakSeconds: 1 << 30, OnFail: Hold}
	for range 200 {
		g.now += 10
		var reports [][]byte
		for _, i := range members(g.state.Rollout.Open) {
			reports = append(reports, g.health(i, func(h *member.Health) {
				h.Phase, h.Result, h.Running, h.Healthy, h.Boot = member.Committed, member.Good, h.Release, 90000, 1<<63+uint64(i)*77777
				h.Sequence += 100000
				if i%50 == 1 && g.state.Rollout.Stage == order.Wave {
					h.Phase, h.Result, h.Running = member.Reverted, member.Failed, g.state.Rollout.Plan.From.Digest
					h.Reason = "probe health: the navigation stack lost its heartbeat 14 seconds after the start"[:member.MaxReason]
				}
			}))
		}
		if len(reports) > 0 {
			require.NoError(t, g.observe(reports...))
		}
		if g.advance() != nil && g.state.Rollout.Stage == order.Soak {
			break
		}
	}
	require.Equal(t, order.Soak, g.state.Rollout.Stage)
	require.Len(t, g.state.Rollout.Records, n)
	return g
}

// TestStateIsSmall: with 1,000 robots a snapshot is below 64 KiB, half of it keys.
func TestStateIsSmall(t *testing.T) {
	g := big(t, 1000)
	require.NoError(t, g.state.check())
	size := len(g.state.Encode())
	t.Logf("state with 1000 robots: %d bytes; start: %d bytes; order: %d bytes", size, len(g.log[0]), len(g.state.Order().Encode()))
	require.Less(t, size, 64<<10)
	require.Less(t, len(g.log[0]), MaxDecisionBytes)
	_, err := DecodeState(g.state.Encode())
	require.NoError(t, err)
}

func BenchmarkObserve(b *testing.B) {
	g := big(b, 1000)
	var reports [][]byte
	for i := range MaxObserved {
		reports = append(reports, g.commits(95000, member.Index(i*10))...)
	}
	d := &Decision{Format: 1, Kind: KindObserve, Time: g.now, Observe: reports}
	data := d.Encode()
	for b.Loop() {
		s := g.state.Clone()
		for i := range s.Rollout.Records {
			s.Rollout.Records[i].Sequence = 0
		}
		if err := s.ApplyLog(s.Index+1, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdvance(b *testing.B) {
	g := big(b, 1000)
	d := &Decision{Format: 1, Kind: KindAdvance, Time: g.now}
	for b.Loop() {
		_ = g.state.Apply(g.state.Index+1, d)
	}
}

func BenchmarkEncode(b *testing.B) {
	g := big(b, 1000)
	for b.Loop() {
		_ = g.state.Digest()
	}
}
