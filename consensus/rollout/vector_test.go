package rollout

import (
	"testing"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// fullPlan has something else than zero in every field.
func fullPlan() Plan {
	p := DefaultPlan()
	p.Swarm = swarmID
	p.Release = manifest.Ref{Version: "1.5.0", Counter: 7, Digest: manifest.Sum([]byte("release 1.5.0"))}
	p.From = manifest.Ref{Version: "1.4.2", Counter: 6, Digest: manifest.Sum([]byte("release 1.4.2"))}
	p.Seed = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	p.Created, p.Expires = epoch0, epoch0+14*86400
	p.Sim, p.HIL, p.Waived = true, true, "the bench is being moved"
	p.CanaryGate.MaxFailures, p.CanaryGate.MaxFailuresPermille, p.CanaryGate.OnPass = 1, 20, Hold
	p.Floors, p.BatchMax = []Floor{{Label: "site", Value: "north", MinAvailable: 3}}, 4
	p.LeaseSeconds, p.DespiteQuarantine, p.Reason = 7200, true, "fixed the heartbeat"
	return p
}

// TestVectors freezes the bytes of what people sign for a rollout, and of the log
// entry that starts one.
func TestVectors(t *testing.T) {
	op, keys := testKey("operator"), envelope.Only(envelope.KeyOf(testKey("operator")))
	p := fullPlan()
	sealed := p.Seal().Sign(op)
	data := vector.Check(t, "plan", "envelope with a plan that has every field set, signed by the key of seed sha256(\"operator\")", sealed.Encode())
	plan, _, err := OpenPlan(data, swarmID, keys)
	require.NoError(t, err)
	require.Equal(t, p, *plan)

	in := Intent{Format: 1, Swarm: swarmID, Counter: 42, Verb: VerbRollback, Rollout: 9, To: p.From, Reason: "drifts in wind"}
	data = vector.Check(t, "intent-rollback", "envelope with an intent to roll back, signed by the same", in.Seal().Sign(op).Encode())
	var back Intent
	_, err = open(data, envelope.Intent, swarmID, keys, IntentFormat, &back)
	require.NoError(t, err)
	require.Equal(t, in, back)

	pub := Publish{
		Format: 1, Swarm: swarmID, ExpectTrust: manifest.Sum([]byte("trust 1")), ExpectRoster: manifest.Sum([]byte("roster 1")),
		Trust:  order.TrustRef{Root: 1, Timestamp: 4, Snapshot: 3, Targets: 2, Digest: manifest.Sum([]byte("trust 2"))},
		Roster: order.RosterRef{Epoch: 2, Digest: manifest.Sum([]byte("roster 2"))},
		Roles:  order.Roles{Plan: keys, Roster: keys, Genesis: keys, Report: keys, Estop: keys, EstopClear: envelope.Keys{Keys: []envelope.Key{envelope.KeyOf(testKey("a")), envelope.KeyOf(testKey("b"))}, Threshold: 2}},
	}
	data = vector.Check(t, "publish", "envelope with a publish of trust metadata and roster, signed by the same", pub.Seal().Sign(op).Encode())
	var pubBack Publish
	_, err = open(data, envelope.Publish, swarmID, keys, PublishFormat, &pubBack)
	require.NoError(t, err)
	require.Equal(t, pub, pubBack)

	rep := Report{Format: 1, Stage: order.HIL, Release: p.Release.Digest, Passed: true, By: "bench 2", Runs: 12, Failed: 1, Summary: "one flake", Details: manifest.Sum([]byte("details"))}
	scope := envelope.TrustScope(manifest.Sum([]byte("root")))
	data = vector.Check(t, "report", "envelope with a hil report for the trust root sha256(\"root\"), signed by the key of seed sha256(\"bench\")", rep.Seal(scope).Sign(testKey("bench")).Encode())
	repBack, _, err := OpenReport(data, scope, envelope.Only(envelope.KeyOf(testKey("bench"))))
	require.NoError(t, err)
	require.Equal(t, rep, *repBack)
}

// TestDecisionVectors freezes log entries that carry more than an envelope.
func TestDecisionVectors(t *testing.T) {
	g := newRig(t, 3, 3, 2)
	rel := g.release("1.0.0", 1)
	g.plan.Floors = []Floor{{Label: "model", Value: "mk1", MinAvailable: 1}}
	d := g.startOf("1.0.0")
	data := vector.Check(t, "extract", "an extract of three robots, two of them of model mk1", canonical.Encode(&d.Start.Extract))
	require.Equal(t, manifest.Sum(data), d.Start.Extract.Digest())
	vector.Check(t, "intent-start", "envelope with the intent to start a plan with this extract", d.Start.Intent)
	d.Format, d.Time, d.Start.From = DecisionFormat, g.now, rel.Encode()
	data = vector.Check(t, "start", "a decision that starts a rollout with that plan and extract", d.Encode())
	again, err := DecodeDecision(data)
	require.NoError(t, err)
	require.Equal(t, d, again)

	i, v := member.Index(2), g.voter(1)
	v.Server = "r1-2"
	set := &Decision{Format: DecisionFormat, Kind: KindSetVoters, Time: g.now, SetVoters: &SetVoters{Remove: &i, Add: &v}}
	vector.Check(t, "set-voters-signed", "what voters sign to endorse member 1 in place of 2", set.SetVoters.signed(g.state))
	for i := range 2 {
		set.SetVoters.Endorse(g.state, robotKey(member.Index(i)))
	}
	data = vector.Check(t, "set-voters", "a decision that puts member 1 in place of 2, endorsed by two voters of three", set.Encode())
	again, err = DecodeDecision(data)
	require.NoError(t, err)
	require.Equal(t, set, again)
}
