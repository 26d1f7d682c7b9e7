package rollout

import (
	"testing"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// TestStandings: what a record means, some seconds of the clock after it was made.
// The plan's deadlines are 7200 s to arm and 1800 s of silence.
func TestStandings(t *testing.T) {
	trial := Record{Phase: member.Trial, Running: true}
	armed := Record{Phase: member.Armed}
	good := Record{Phase: member.Committed, Running: true, Result: member.Good}
	with := func(r Record, f func(*Record)) Record { f(&r); return r }
	cases := []struct {
		name string
		rec  *Record
		late int64 // seconds since the batch opened and the record's phase began
		seen int64 // seconds since it was last heard of
		want standing
	}{
		{"nothing heard", nil, 7199, 0, waiting},
		{"nothing heard for too long", nil, 7200, 0, deferred},
		{"fetching", &Record{}, 100, 0, waiting},
		{"fetching for too long", &Record{}, 7200, 0, deferred},
		{"busy", &Record{Result: member.Deferred}, 1, 0, deferred},
		{"switched off", &Record{Leaving: true}, 1, 0, deferred},
		{"armed", &armed, 1799, 1799, inFlight},
		{"armed and silent", &armed, 1800, 1800, lost},
		{"armed, heard of, not let", &armed, 7199, 60, inFlight},
		{"armed, heard of, not let for too long", &armed, 7200, 60, deferred},
		{"armed and switched off", ptr(with(armed, func(r *Record) { r.Leaving = true })), 9999, 9999, deferred},
		{"trial", &trial, 1799, 1799, inFlight},
		{"trial and silent", &trial, 1800, 1800, lost},
		{"trial without end", &trial, 1800, 1, lost},
		{"trial, switched off at dusk", ptr(with(trial, func(r *Record) { r.Leaving = true })), 9999, 9999, deferred},
		{"going back", &Record{Phase: member.Reverting, Running: true}, 5, 5, inFlight},
		{"committed", &good, 9999, 1799, committed},
		{"committed and silent", &good, 9999, 1800, silent},
		{"committed and switched off", ptr(with(good, func(r *Record) { r.Leaving = true })), 9999, 9999, committed},
		{"committed, and idle again", &Record{Running: true}, 9, 9, committed},
		{"failed, whatever else", ptr(with(good, func(r *Record) { r.Result = member.Failed })), 9, 9, failed},
	}
	base := started(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := base.fork(t).state
			i := members(s.Rollout.Open)[0]
			s.Clock = s.Rollout.BatchAt + c.late
			if c.rec != nil {
				rec := *c.rec
				rec.Robot, rec.ArmedAt, rec.SeenAt = i, s.Clock-c.late, s.Clock-c.seen
				s.Rollout.Records = []Record{rec}
			}
			require.Equal(t, c.want, s.standing(i))
		})
	}
}

func ptr(r Record) *Record { return &r }

// TestSilentCanary: a canary that committed and fell silent fails nothing, but the
// stage waits for a word of it, or of the operator.
func TestSilentCanary(t *testing.T) {
	g := started(t)
	open := members(g.state.Rollout.Open)
	require.NoError(t, g.observe(g.commits(50, open...)...))
	require.NoError(t, g.advance())
	g.pass(1700)
	require.NoError(t, g.observe(g.commits(1700, open[0])...))
	g.pass(200)
	err := g.advance()
	require.ErrorIs(t, err, ErrNotYet)
	require.ErrorContains(t, err, "waiting to hear from "+robots(setOf(open[1])))
	require.Equal(t, order.Running, g.state.Rollout.Status)

	require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbResume, Rollout: 2})}))
	require.Equal(t, setOf(open[1]), g.state.Rollout.Excused)
	require.NoError(t, g.advance())
	require.Equal(t, order.Wave, g.state.Rollout.Stage)
}

// TestAllLeft: a stage whose robots all left after their commit waits for one of
// them; one that stayed is enough.
func TestAllLeft(t *testing.T) {
	g := started(t)
	open := members(g.state.Rollout.Open)
	leave := func(i member.Index) []byte {
		return g.health(i, func(h *member.Health) {
			h.Phase, h.Running, h.Healthy, h.Leaving = member.Committed, h.Release, 500, true
		})
	}
	require.NoError(t, g.observe(leave(open[0]), leave(open[1])))
	require.NoError(t, g.advance()) // closes the batch
	g.pass(5000)
	require.ErrorIs(t, g.advance(), ErrNotYet)
	require.NoError(t, g.observe(g.commits(700, open[0])...))
	require.NoError(t, g.advance())
	require.Equal(t, order.Wave, g.state.Rollout.Stage)
}

// TestRefusalIsWhole: a decision that fails half way has changed no record.
func TestRefusalIsWhole(t *testing.T) {
	g := started(t)
	i := members(g.state.Rollout.Open)[0]
	require.NoError(t, g.observe(g.health(i, func(h *member.Health) { h.Phase = member.Armed })))
	forged, err := envelope.Decode(g.commits(9, i)[0], envelope.Health)
	require.NoError(t, err)
	forged.Signatures = nil
	require.ErrorIs(t, g.observe(g.commits(9, i)[0], forged.Encode()), envelope.ErrUnsigned) // the rig compares states
	require.Equal(t, member.Armed, g.state.Rollout.Records[0].Phase)
}

// TestClone: what Apply does to a copy the original never sees.
func TestClone(t *testing.T) {
	g := started(t)
	require.NoError(t, g.observe(g.commits(9, members(g.state.Rollout.Open)...)...))
	at := g.state.Digest()
	c := g.state.Clone()
	require.Equal(t, at, c.Digest())
	for n := range 50 {
		_ = c.Apply(c.Index+1, &Decision{Format: 1, Kind: KindObserve, Time: g.now, Observe: g.commits(uint32(n*100), members(c.Rollout.Opened)...)})
		_ = c.Apply(c.Index+1, &Decision{Format: 1, Kind: KindAdvance, Time: g.now})
	}
	require.NotEqual(t, at, c.Digest())
	require.Equal(t, at, g.state.Digest())
}
