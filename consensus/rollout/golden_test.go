package rollout

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// updating reports whether the test was run with -update, which package vector defines.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// goldenLog is a log of level 1 that touches every kind of decision.
func goldenLog(t *testing.T) *rig {
	g := started(t)
	open := members(g.state.Rollout.Open)
	require.NoError(t, g.observe(g.health(open[0], func(h *member.Health) { h.Phase, h.Running = member.Trial, h.Release })))
	require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbPause, Rollout: 2, Reason: "wind"})}))
	require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbResume, Rollout: 2})}))
	require.Error(t, g.advance())
	g.now += 60
	require.NoError(t, g.observe(g.health(open[0], func(h *member.Health) {
		h.Phase, h.Result, h.Reason = member.Reverted, member.Failed, "probe: no heartbeat"
	})))
	require.NoError(t, g.advance())
	require.NoError(t, g.apply(g.setVoters(0, 7)))
	p := Publish{Format: 1, Swarm: swarmID, ExpectTrust: g.state.Trust.Digest, ExpectRoster: g.state.Roster.Digest, Trust: g.state.Trust, Roster: g.state.Roster, Roles: g.state.Roles}
	p.Trust.Timestamp, p.Trust.Digest = 2, manifest.Sum([]byte("trust 2"))
	require.NoError(t, g.apply(&Decision{Kind: KindPublish, Publish: p.Seal().Sign(g.operator()).Encode()}))
	g.plan.Sim, g.plan.DespiteQuarantine, g.plan.Reason, g.plan.LeaseSeconds = true, true, "golden", 900
	require.NoError(t, g.apply(g.startOf("1.1.0")))
	require.NoError(t, g.advance())
	rep := Report{Format: 1, Stage: order.Sim, Release: g.state.Rollout.Plan.Release.Digest, Passed: true, By: "sim", Runs: 3}
	require.NoError(t, g.apply(&Decision{Kind: KindReport, Report: rep.Seal(envelope.TrustScope(g.state.TrustRoot)).Sign(testKey("bench")).Encode()}))
	require.Error(t, g.applyBytes([]byte("no decision")))
	g.finish()
	require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbRollback, Rollout: 3, Reason: "golden"})}))
	g.release("1.2.0", 9, func(r *manifest.Release) { r.Fallbacks = []manifest.Ref{g.releases["1.0.0"].Ref()} })
	g.release("1.3.0", 10)
	g.plan.Sim, g.plan.DespiteQuarantine, g.plan.Reason = false, false, ""
	require.NoError(t, g.apply(g.startOf("1.2.0")))
	g.finish()
	require.NoError(t, g.apply(g.startOf("1.3.0")))
	require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbRollback, Rollout: 5})}))
	require.NoError(t, g.advance())
	require.NoError(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbRollback, Rollout: 5, To: g.releases["1.0.0"].Ref()})}))
	require.NoError(t, g.stamped(g.now+year, &Decision{Kind: KindCheckpoint}))
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	return g
}

// limitedLog is a log of level 2, with a plan that level 1 refuses.
func limitedLog(t *testing.T) *rig {
	g := newRig(t, 10, 4, 1)
	g.state.Level = 2
	g.release("1.0.0", 1)
	g.release("1.1.0", 2)
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	g.finish()
	g.plan.Limit(narrow)
	require.NoError(t, g.apply(g.startOf("1.1.0")))
	require.NoError(t, g.advance())
	require.NoError(t, g.observe(g.health(members(g.state.Rollout.Open)[0], func(h *member.Health) { h.Phase, h.Running = member.Trial, h.Release })))
	return g
}

// TestGolden: what a level makes of a log is frozen. A build that changes it could not
// vote beside one that does not; such a change needs a new level.
func TestGolden(t *testing.T) {
	g := golden(t, 1, goldenLog)
	require.Equal(t, order.Reverted, g.state.Rollout.Status)
	g = golden(t, 2, limitedLog)
	require.Equal(t, narrow, g.state.Rollout.Plan.Transfer)
}

// golden compares what a log makes of the state with testdata, and returns the end.
func golden(t *testing.T, level uint, made func(*testing.T) *rig) *rig {
	path := fmt.Sprintf("testdata/level%d.golden", level)
	fresh := func() *rig {
		g := newRig(t, 10, 4, 1)
		g.state.Level = level
		return g
	}
	if updating() {
		g := fresh()
		out := fmt.Sprintf("expect: each line is a log entry and the digest of the state after it, level %d\n", level)
		for _, entry := range made(t).log {
			_ = g.applyBytes(entry)
			out += hex.EncodeToString(entry) + " " + g.state.Digest().String() + "\n"
		}
		require.NoError(t, os.WriteFile(path, []byte(out), 0o644))
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	g := fresh()
	for n, line := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		entry, digest, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(entry)
		require.NoError(t, err)
		_ = g.applyBytes(b)
		require.Equal(t, digest, g.state.Digest().String(), "level %d, entry %d", level, n+1)
	}
	return g
}

// FuzzApplyLog: whatever a log entry holds, Apply neither panics nor leaves a state
// that cannot be.
func FuzzApplyLog(f *testing.F) {
	g := started(f)
	g.check = false
	base := g.state.Clone()
	for _, entry := range g.log {
		f.Add(entry)
	}
	f.Add(g.startOf("1.1.0").Encode())
	f.Add([]byte{0xa1, 0x00, 0x02})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := base.Clone()
		err := s.ApplyLog(base.Index+1, data)
		require.NoError(t, s.check())
		if err != nil {
			s.Index, s.Time, s.Clock = base.Index, base.Time, base.Clock
			require.Equal(t, base.Digest(), s.Digest())
		}
		if d, err := DecodeDecision(data); err == nil {
			require.True(t, bytes.Equal(data, d.Encode()))
		}
	})
}

// FuzzDecodeState: a snapshot of any bytes is a state that reads back, or an error.
func FuzzDecodeState(f *testing.F) {
	f.Add(started(f).state.Encode())
	f.Add(newRig(f, 3, 3, 1).state.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeState(data)
		if err != nil {
			require.Nil(t, s)
			return
		}
		require.True(t, bytes.Equal(data, s.Encode()))
		_ = s.ApplyLog(s.Index+1, (&Decision{Format: 1, Kind: KindAdvance, Time: s.Time}).Encode())
		_ = s.ExplainState()
	})
}
