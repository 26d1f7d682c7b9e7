package rollout

import (
	"testing"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

const year = 366 * 86400

// stamped applies d with a leader's time and says what came of it.
func (g *rig) stamped(t int64, d *Decision) error {
	was := g.now
	defer func() { g.now = was }()
	g.now = t
	return g.apply(d)
}

// TestStamp: Time follows the stamps, but takes no step back that is smaller than
// what honest clocks differ by. Clock never goes back.
func TestStamp(t *testing.T) {
	const at = epoch0 + 1000
	for _, c := range []struct {
		name        string
		stamp, want int64
		clock       int64 // gained
	}{
		{"on", at + 10, at + 10, 10},
		{"the same", at, at, 0},
		{"far on", at + 1000, at + 1000, MaxGapSeconds},
		{"a little back", at - 1, at, 0},
		{"back by what clocks differ", at - MaxAheadSeconds, at, 0},
		{"back by more", at - MaxAheadSeconds - 1, at - MaxAheadSeconds - 1, 0},
		{"to the end of time", maxTime, maxTime, MaxGapSeconds},
		{"to 1970", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, 4, 4, 1)
			require.NoError(t, g.stamped(at, &Decision{Kind: KindCheckpoint}))
			clock := g.state.Clock
			require.NoError(t, g.stamped(c.stamp, &Decision{Kind: KindCheckpoint}))
			require.Equal(t, c.want, g.state.Time)
			require.Equal(t, c.want, g.state.OrderTime)
			require.Equal(t, c.clock, g.state.Clock-clock)
		})
	}
	g := newRig(t, 4, 4, 1)
	require.ErrorIs(t, g.stamped(maxTime+1, &Decision{Kind: KindCheckpoint}), ErrDecision)
	require.Equal(t, epoch0, g.state.Time)
}

// TestFutureStampHeals: a leader that stamps the year 2200 stops the swarm while it
// leads, and no longer: the next decision with a true time, whatever kind it is, makes
// an order that voters sign, and the rollout goes on where it was.
func TestFutureStampHeals(t *testing.T) {
	g := started(t)
	today, open := g.now, g.state.Rollout.Open
	require.NotEmpty(t, open)
	require.NoError(t, g.stamped(today+175*year, &Decision{Kind: KindCheckpoint}))
	require.Equal(t, order.Expired, g.state.Rollout.Status, "delay is all that it can do")
	require.Empty(t, g.state.Rollout.Open)
	require.ErrorIs(t, g.stamped(today+175*year, &Decision{Kind: KindAdvance}), ErrNoRollout)
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	require.Equal(t, today, g.state.OrderTime)
	require.Equal(t, order.Running, g.state.Rollout.Status)
	require.Equal(t, open, g.state.Rollout.Open)
	g.finish()
	require.Equal(t, order.Finished, g.state.Rollout.Status)

	g = started(t)
	require.NoError(t, g.stamped(g.now+175*year, &Decision{Kind: KindCheckpoint}))
	wrong := g.state.OrderIndex
	require.ErrorIs(t, g.apply(g.startOf("1.1.0")), ErrBusy, "a refused decision sets the time right")
	require.Equal(t, g.now, g.state.Time)
	require.Equal(t, wrong, g.state.OrderIndex)

	g = started(t)
	last := members(g.state.Rollout.Open)[0]
	content := g.state.content()
	require.NoError(t, g.stamped(g.now+3*86400, &Decision{Kind: KindCheckpoint}))
	wrong = g.state.OrderIndex
	require.NoError(t, g.observe(g.health(last, func(h *member.Health) { h.Phase = member.Armed })))
	require.Equal(t, content, g.state.content())
	require.Greater(t, g.state.OrderIndex, wrong, "the same order, with a time that can be signed")
}

// TestPastStampOpensNothing: under a time before the plan's end a leader may open
// batches; an order with a true time shows none of it.
func TestPastStampOpensNothing(t *testing.T) {
	g := newRig(t, 10, 4, 1)
	g.release("1.0.0", 1)
	g.plan.CanaryGate = Gate{OnFail: Hold}
	start := g.startOf("1.0.0")
	g.now = g.plan.Expires + 86400
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	require.ErrorIs(t, g.apply(start), ErrExpired)

	past := g.plan.Expires - 1
	require.NoError(t, g.stamped(past, start))
	require.NoError(t, g.stamped(past, &Decision{Kind: KindAdvance}))
	require.NotEmpty(t, g.state.Rollout.Open)
	require.Equal(t, past, g.state.OrderTime, "and that no voter signs")
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	require.Equal(t, order.Expired, g.state.Rollout.Status)
	require.Empty(t, g.state.Rollout.Open)
}

// TestAWrongTimeEndsNoLease: what the lease held, and the plan's end then ended, under
// a time far ahead goes on under a true one; what people decided meanwhile stays.
func TestAWrongTimeEndsNoLease(t *testing.T) {
	leased := func() *rig {
		g := newRig(t, 10, 4, 1)
		g.release("1.0.0", 1)
		g.plan.LeaseSeconds, g.plan.OnOperatorLost = 3600, Hold
		require.NoError(t, g.apply(g.startOf("1.0.0")))
		require.NoError(t, g.advance())
		return g
	}
	for _, ahead := range []int64{7200, 30 * 86400} {
		g := leased()
		open := g.state.Rollout.Open
		require.NoError(t, g.stamped(g.now+7200, &Decision{Kind: KindAdvance}))
		require.Equal(t, ByLease, g.state.Rollout.Held)
		require.NoError(t, g.stamped(g.now+ahead, &Decision{Kind: KindCheckpoint}))
		require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
		require.Equal(t, order.Running, g.state.Rollout.Status, "after %d s ahead", ahead)
		require.Equal(t, open, g.state.Rollout.Open)
	}
	g := leased()
	require.NoError(t, g.stamped(g.now+7200, &Decision{Kind: KindAdvance}))
	require.NoError(t, g.stamped(g.now+7200, &Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbPause, Rollout: 1})}))
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	require.Equal(t, ByOperator, g.state.Rollout.Held)
}

// TestLeaseIsNoLongerThanThePlanSays: renewed under a time of the leader's making,
// it ends as if it had been renewed now.
func TestLeaseIsNoLongerThanThePlanSays(t *testing.T) {
	g := newRig(t, 10, 4, 1)
	g.release("1.0.0", 1)
	g.plan.LeaseSeconds, g.plan.OnOperatorLost = 3600, Hold
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	require.NoError(t, g.advance())
	renew := &Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbRenew, Rollout: 1})}
	require.NoError(t, g.stamped(g.plan.Expires-1, renew))
	require.Equal(t, g.plan.Expires-1+3600, g.state.Rollout.LeaseUntil)
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	require.Equal(t, g.now+3600, g.state.Rollout.LeaseUntil)
	g.pass(3900)
	require.NoError(t, g.advance())
	require.Equal(t, ByLease, g.state.Rollout.Held)
}

// TestNoQuorumIsNobodysSilence: however long nobody could decide, and however short
// the plan's deadlines are, a robot that armed before has most of its deadline left.
func TestNoQuorumIsNobodysSilence(t *testing.T) {
	for _, deadline := range []uint32{100, 400, 1800, 7200} {
		g := newRig(t, 10, 4, 1)
		g.release("1.0.0", 1)
		g.plan.MinHealthySeconds, g.plan.HealthyDeadlineSeconds, g.plan.SilenceDeadlineSeconds = 5, 50, deadline
		require.NoError(t, g.apply(g.startOf("1.0.0")))
		require.NoError(t, g.advance())
		robot := members(g.state.Rollout.Open)[0]
		require.NoError(t, g.observe(g.health(robot, func(h *member.Health) { h.Phase = member.Armed })))
		g.now += 10 * 24 * 3600 // no leader
		require.ErrorIs(t, g.advance(), ErrNotYet, "deadline %d", deadline)
		require.Equal(t, order.Running, g.state.Rollout.Status)
		g.pass(int64(deadline))
		_ = g.advance()
		require.NotEqual(t, order.Running, g.state.Rollout.Status, "deadline %d: silence fails it in the end", deadline)
	}
}
