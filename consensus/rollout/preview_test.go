package rollout

import (
	"testing"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

func preview(t *testing.T, g *rig) (*Preview, error) {
	rel := g.release("1.0.0", 1)
	g.plan.Release = rel.Ref()
	x, err := NewExtract(&g.plan, rel, g.roster, g.state.Roster, g.state.Trust.Digest)
	require.NoError(t, err)
	return NewPreview(&g.plan, x, g.state.Electorate)
}

func TestPreview(t *testing.T) {
	g := newRig(t, 10, 4, 1)
	p, err := preview(t, g)
	require.NoError(t, err)
	require.Equal(t, 10, p.Robots)
	require.Equal(t, 2, p.BatchSize)
	var got []StagePreview
	for _, s := range p.Stages {
		s.Robots = nil
		got = append(got, s)
	}
	const minute = time.Minute
	require.Equal(t, 1, p.Canaries.Count())
	require.Equal(t, order.Canary, got[0].Stage)
	require.Equal(t, StagePreview{Stage: order.Canary, Batches: 1, Largest: 1, Soak: 10 * minute, Exposure: 10 * minute, Ends: 11 * minute}, got[0])
	require.Equal(t, order.Soak, got[3].Stage)
	require.Equal(t, got[3].Ends, p.Earliest)
	batches := 0
	for _, s := range got {
		batches += s.Batches
	}

	// The real thing, with robots as quick as those, opens as many batches.
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	g.finish()
	require.Equal(t, batches, int(g.state.Rollout.Batch))
}

func TestPreviewWarnsAndRefuses(t *testing.T) {
	g := newRig(t, 3, 1, 3)
	g.plan.WaveGate.MaxFailures = 5
	g.plan.SoakGate.MaxFailures = 3
	p, err := preview(t, g)
	require.NoError(t, err)
	require.Equal(t, []string{
		"canary: no failure among 3 robots shows only that the true failure rate is at most 63.2 %",
		"soak: its gate can never fail: 3 of 3 robots may",
		"3 canaries instead of 1: each variant gives one",
	}, p.Warnings)

	g = newRig(t, 10, 1, 1)
	g.plan.CanaryGate.ExposureSeconds = 100 * 86400
	_, err = preview(t, g)
	require.ErrorIs(t, err, ErrImpossible)
	require.Contains(t, err.Error(), "wave 1 can open 2400h1m0s after the start")

	g = newRig(t, 10, 1, 1)
	g.plan.Floors = []Floor{{Label: "model", Value: "mk1", MinAvailable: 10}}
	_, err = preview(t, g)
	require.ErrorIs(t, err, ErrImpossible)
}

// TestBound compares with published values of 1 − 0.05^(1/n) and Clopper-Pearson.
func TestBound(t *testing.T) {
	for _, c := range []struct{ failed, n, want int }{
		{0, 0, 1000}, {0, 1, 950}, {0, 3, 632}, {0, 5, 451}, {0, 10, 259}, {0, 20, 140}, {0, 59, 50}, {0, 299, 10},
		{1, 1, 1000}, {1, 5, 658}, {1, 10, 395}, {2, 10, 507}, {5, 5, 1000}, {1, 100, 47},
	} {
		require.Equal(t, c.want, Bound(c.failed, c.n), "%d of %d", c.failed, c.n)
	}
}

func TestNamed(t *testing.T) {
	r := &member.Roster{Members: []member.Member{{ID: "anna"}, {ID: "bert"}}}
	require.Equal(t, "anna, bert and robot 7: robots", Named("robot 0, robot 1 and robot 7: robots", r))
}

func TestWords(t *testing.T) {
	require.Equal(t, "a b  c", plain("a\nb\x1b\xffc"))
	long := ""
	for range 100 {
		long += "äöü"
	}
	require.LessOrEqual(t, len(clip(long)), order.MaxReasonBytes)
	require.Equal(t, clip(long), plain(clip(long)))
	require.Equal(t, "robot 1, robot 2 and 3 more", robots(setOf(1, 2, 3, 4, 5)))
}
