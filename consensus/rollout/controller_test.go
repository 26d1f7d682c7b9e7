package rollout

import (
	"testing"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// leader drives a controller against a real state, by its deadlines alone.
type leader struct {
	*rig
	c         *Controller
	at        time.Time
	proposals map[Kind]int
	refused   int
}

func newLeader(g *rig) *leader {
	l := &leader{rig: g, c: NewController(), at: time.Unix(g.now, 0), proposals: map[Kind]int{}}
	l.step(StateChanged{g.state.Clone()})
	return l
}

// step hands e to the controller, and what it proposes to the log at once.
func (l *leader) step(e Event) {
	for _, d := range l.c.Step(l.at, e) {
		l.proposals[d.Kind]++
		require.GreaterOrEqual(l.t, d.Time, l.state.Time)
		if err := l.applyBytes(d.Encode()); err != nil {
			require.ErrorIs(l.t, err, ErrNotYet, "%s", d.Kind) // a pulse
			l.refused++
		}
		l.step(StateChanged{l.state.Clone()})
	}
}

// say has a robot report and the leader hear it.
func (l *leader) say(data []byte) {
	h, _, err := member.OpenHealth(data, swarmID, func(i member.Index) envelope.Key { return envelope.KeyOf(robotKey(i)) })
	require.NoError(l.t, err)
	l.step(Reported{h, data})
}

// until lets the time of a perfect timer go by.
func (l *leader) until(end time.Time) {
	for {
		at := l.c.Deadline()
		if at.IsZero() || at.After(end) {
			l.at = end
			l.now = end.Unix()
			return
		}
		require.False(l.t, at.Before(l.at), "a deadline in the past: the loop would spin")
		if at.Equal(l.at) {
			at = at.Add(time.Millisecond)
		}
		l.at, l.now = at, at.Unix()
		l.step(Tick{})
	}
}

// TestControllerCarriesRollout: with nothing but reports and its own deadlines, the
// controller brings a release to everybody, and observes no more than it must.
func TestControllerCarriesRollout(t *testing.T) {
	g := newRig(t, 20, 4, 2)
	g.check = false
	g.release("1.0.0", 1)
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	l := newLeader(g)
	since := map[member.Index]time.Time{} // trial began
	reports := 0
	for n := 0; !g.state.Rollout.Status.Final(); n++ {
		require.Less(t, n, 2000, Explain(g.state.Order()))
		l.until(l.at.Add(20 * time.Second))
		for _, i := range members(g.state.Rollout.Opened) {
			began, found := since[i]
			if !found {
				since[i] = l.at
			}
			l.say(g.health(i, func(h *member.Health) {
				h.Running = h.Release
				if h.Phase = member.Trial; found && l.at.Sub(began) >= time.Minute {
					h.Phase, h.Result, h.Healthy = member.Committed, member.Good, uint32(l.at.Sub(began)/time.Second)-60
				}
			}))
			reports++
		}
	}
	require.Equal(t, order.Finished, g.state.Rollout.Status)
	t.Logf("%d reports, proposals: %v, refused %d, log %d entries, %s", reports, l.proposals, l.refused, len(g.log), l.at.Sub(time.Unix(epoch0, 0)))
	require.Less(t, len(g.log)*10, reports, "the log carries a small part of what robots say")
	require.True(t, l.c.Deadline().IsZero(), "nothing to watch any more")
}

// TestControllerFailure: a failure is in the log 200 ms after it was heard, and one
// that a robot tries to talk over is not lost.
func TestControllerFailure(t *testing.T) {
	g := started(t)
	l := newLeader(g)
	i := members(g.state.Rollout.Open)[0]
	l.say(g.health(i, func(h *member.Health) { h.Phase, h.Running = member.Trial, h.Release }))
	l.say(g.health(i, func(h *member.Health) { h.Phase, h.Result = member.Reverted, member.Failed }))
	l.say(g.commits(9, i)[0])
	require.Equal(t, order.Running, g.state.Rollout.Status)
	l.until(l.at.Add(BatchDelay + time.Millisecond))
	require.GreaterOrEqual(t, g.state.Rollout.Status, order.RollingOff)
	require.Contains(t, g.state.Rollout.Reason, "canary failed: 1 of 2")
	require.Equal(t, 1, l.proposals[KindObserve])
}

// TestControllerSilence: robots that say nothing at all fail at the deadline; the
// pulse keeps the clock running meanwhile.
func TestControllerSilence(t *testing.T) {
	g := started(t)
	l := newLeader(g)
	i := members(g.state.Rollout.Open)[0]
	l.say(g.health(i, func(h *member.Health) { h.Phase = member.Armed }))
	l.until(l.at.Add(29 * time.Minute))
	require.Equal(t, order.Running, g.state.Rollout.Status)
	l.until(l.at.Add(2 * time.Minute))
	require.Equal(t, order.RollingOff, g.state.Rollout.Status)
	require.Less(t, l.proposals[KindAdvance], 20)
}

// TestControllerBounds: a proposal that never comes back is not repeated before its
// time, whatever is said meanwhile.
func TestControllerBounds(t *testing.T) {
	g := started(t)
	now := time.Unix(g.now, 0)
	c := NewController()
	require.Empty(t, c.Step(now, Tick{}), "nothing is known")
	require.Empty(t, c.Step(now, StateChanged{g.state}))
	open := members(g.state.Rollout.Open)
	hear := func(now time.Time, data []byte) []Decision {
		h, _, err := member.OpenHealth(data, swarmID, g.state.Rollout.Extract.Key)
		require.NoError(t, err)
		return c.Step(now, Reported{h, data})
	}
	proposed := 0
	for n := range 40 {
		now = now.Add(100 * time.Millisecond)
		proposed += len(hear(now, g.commits(uint32(n), open...)[n%2]))
	}
	require.Equal(t, 1, proposed)
	require.Empty(t, c.Step(now, Reported{&member.Health{Component: "maps"}, nil}))
	require.Empty(t, c.inbox.newest[from{0, "maps"}].Sealed)
	c.Step(now.Add(2*ProposalTimeout), SnapshotDue{})
	require.Empty(t, c.Step(now.Add(2*ProposalTimeout), SnapshotDue{}))
	out := c.Step(now.Add(3*ProposalTimeout), Tick{})
	require.Equal(t, KindCheckpoint, out[len(out)-1].Kind)
}

// TestControllerMendsWhatWasLeftOut: the rollout holds by two failures of a batch, and
// the third is observed after that. Voters that knew of it refuse the order of the hold,
// and the order does not change any more: a checkpoint makes another that they sign. A
// leader that follows makes one in any case.
func TestControllerMendsWhatWasLeftOut(t *testing.T) {
	g := newRig(t, 20, 4, 1)
	g.release("1.0.0", 1)
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	for g.state.Rollout.Stage != order.Wave {
		require.NoError(t, g.observe(g.commits(700, members(g.state.Rollout.Opened)...)...))
		g.pass(700)
		require.NoError(t, g.advance())
	}
	open := members(g.state.Rollout.Open)
	require.GreaterOrEqual(t, len(open), 3)
	fails := func(i member.Index) []byte {
		return g.health(i, func(h *member.Health) { h.Phase, h.Result, h.Reason = member.Reverted, member.Failed, "broken" })
	}
	c, at := NewController(), time.Unix(g.now, 0)
	checkpoints := func(c *Controller) (n int) {
		for _, d := range c.Step(at, StateChanged{g.state.Clone()}) {
			if d.Kind == KindCheckpoint {
				n++
			}
		}
		return n
	}
	require.Zero(t, checkpoints(c))
	require.NoError(t, g.observe(fails(open[0]), fails(open[1])))
	require.Equal(t, order.Held, g.state.Rollout.Status)
	require.Equal(t, g.state.Index, g.state.OrderIndex)
	require.Zero(t, checkpoints(c), "the order has changed anyway")

	require.NoError(t, g.observe(fails(open[2])))
	require.Less(t, g.state.OrderIndex, g.state.Index, "nothing changed for robots")
	require.Equal(t, 1, checkpoints(c))
	require.Equal(t, 1, checkpoints(NewController()), "the next leader")
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	require.Zero(t, checkpoints(c))
	require.Zero(t, checkpoints(NewController()))
}

// TestControllerTime: a leader whose clock is a little behind goes on from the
// swarm's time, so that no second is lost or counted twice.
func TestControllerTime(t *testing.T) {
	g := started(t)
	c := NewController()
	at := time.Unix(g.state.Time-MaxAheadSeconds, 0)
	c.Step(at, StateChanged{g.state})
	d := c.Step(at.Add(90*time.Second), SnapshotDue{})
	require.Equal(t, g.state.Time+90, d[len(d)-1].Time)
}

// TestControllerMendsTime: a leader that follows one with a wrong clock stamps the
// order anew at once, and again if that is lost.
func TestControllerMendsTime(t *testing.T) {
	g := started(t)
	today := g.now
	g.now = today + 175*366*86400
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	c, at := NewController(), time.Unix(today, 0)
	want := func(out []Decision) {
		require.NotEmpty(t, out)
		d := out[len(out)-1]
		require.Equal(t, KindCheckpoint, d.Kind)
		require.LessOrEqual(t, d.Time, at.Unix())
	}
	want(c.Step(at, StateChanged{g.state.Clone()}))
	require.False(t, c.Deadline().IsZero())
	for at = at.Add(time.Second); at.Before(time.Unix(today, 0).Add(ProposalTimeout)); at = at.Add(time.Second) {
		for _, d := range c.Step(at, Tick{}) {
			require.NotEqual(t, KindCheckpoint, d.Kind)
		}
	}
	out := c.Step(at, Tick{})
	want(out)
	require.NoError(t, g.applyBytes(out[len(out)-1].Encode()))
	require.Equal(t, at.Unix(), g.state.OrderTime)
	for _, d := range c.Step(at, StateChanged{g.state.Clone()}) {
		require.NotEqual(t, KindCheckpoint, d.Kind, "once is enough")
	}
}
