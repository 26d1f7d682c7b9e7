package node

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// files lists what lies below a directory.
func files(t *testing.T, dir string) (out []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	}))
	return out
}

// A leader takes nothing from others that does not carry the signatures it must:
// neither to its log nor to its disk, which a stolen robot could otherwise fill.
func TestUnprovenProposalsAreRefusedBeforeTheyAreStored(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 0, "1.0.0")
	require.NoError(t, s.op.Begin(s.ctx, 1))
	s.wait("this node leads", func() bool { return s.op.Status().Self.Leader })
	v := s.op.View()
	l, _ := v.Trust.Release("app", "1.0.0")
	rel, err := s.op.docs.get("release", l.Ref.Digest)
	require.NoError(t, err)
	thief := newKey(t)
	unlisted := &manifest.Release{Format: 1, Component: "app", Version: "6.6.6", Counter: 66, Variants: []manifest.Variant{
		{Name: "all", Manifest: manifest.Sum([]byte("m")), ManifestBytes: 1, Bytes: 1, Driver: "dirslot"},
	}}
	plan := s.plan(manifest.Ref{}, l.Ref)
	p := func(by ...ed25519.PrivateKey) []byte { return sealedBy(plan.Seal(), by) }
	in := rollout.Intent{Format: rollout.IntentFormat, Swarm: v.Swarm, Counter: 9, Verb: rollout.VerbStart, Plan: plan.Seal().Digest()}
	intent := func(by ...ed25519.PrivateKey) []byte { return sealedBy(in.Seal(), by) }
	publish := rollout.Publish{Format: rollout.PublishFormat, Swarm: v.Swarm, Trust: v.Order.Trust, Roster: v.RosterRef, Roles: v.Trust.Roles()}
	report := rollout.Report{Format: rollout.ReportFormat, Stage: order.Sim, Release: l.Ref.Digest, Passed: true, By: "sim"}
	elsewhere := envelope.New(envelope.Intent, rollout.IntentFormat, envelope.SwarmScope("another-swarm"), in)

	propose := func(d rollout.Decision) verdict {
		d.Format, d.Time = rollout.DecisionFormat, time.Now().Unix()
		data, err := s.op.answerPropose(s.ctx, envelope.KeyOf(thief), canonical.Encode(proposal{Format: 1, Decision: d.Encode()}))
		require.NoError(t, err)
		var a verdict
		require.NoError(t, canonical.DecodeFormat(data, 2<<10, "verdict", 1, &a))
		return a
	}
	before, index := files(t, s.op.docs.dir), s.op.voter.replica.Load().State().Index
	for _, c := range []struct {
		name string
		d    rollout.Decision
	}{
		{"start: a release that is not listed", rollout.Decision{Kind: rollout.KindStart, Start: &rollout.Start{Intent: intent(s.operator), Plan: p(s.operator), Release: unlisted.Encode()}}},
		{"start: an unsigned plan", rollout.Decision{Kind: rollout.KindStart, Start: &rollout.Start{Intent: intent(s.operator), Plan: p(), Release: rel}}},
		{"start: a plan of another's", rollout.Decision{Kind: rollout.KindStart, Start: &rollout.Start{Intent: intent(s.operator), Plan: p(thief), Release: rel}}},
		{"start: an unsigned intent", rollout.Decision{Kind: rollout.KindStart, Start: &rollout.Start{Intent: intent(), Plan: p(s.operator), Release: rel}}},
		{"start: an intent of another's", rollout.Decision{Kind: rollout.KindStart, Start: &rollout.Start{Intent: intent(thief), Plan: p(s.operator), Release: rel}}},
		{"start: nothing", rollout.Decision{Kind: rollout.KindStart}},
		{"intent: unsigned", rollout.Decision{Kind: rollout.KindIntent, Intent: intent()}},
		{"intent: of another's", rollout.Decision{Kind: rollout.KindIntent, Intent: intent(thief)}},
		{"intent: for another swarm", rollout.Decision{Kind: rollout.KindIntent, Intent: elsewhere.Sign(s.operator).Encode()}},
		{"intent: a plan in its place", rollout.Decision{Kind: rollout.KindIntent, Intent: p(s.operator)}},
		{"publish: unsigned", rollout.Decision{Kind: rollout.KindPublish, Publish: sealedBy(publish.Seal(), nil)}},
		{"publish: of another's", rollout.Decision{Kind: rollout.KindPublish, Publish: sealedBy(publish.Seal(), []ed25519.PrivateKey{thief})}},
		{"report: unsigned", rollout.Decision{Kind: rollout.KindReport, Report: sealedBy(report.Seal(envelope.TrustScope(v.Root)), nil)}},
		{"report: of another's", rollout.Decision{Kind: rollout.KindReport, Report: sealedBy(report.Seal(envelope.TrustScope(v.Root)), []ed25519.PrivateKey{thief})}},
		{"report: for another trust root", rollout.Decision{Kind: rollout.KindReport, Report: sealedBy(report.Seal(envelope.TrustScope(manifest.Sum([]byte("x")))), []ed25519.PrivateKey{s.operator})}},
		{"advance: the leader's own", rollout.Decision{Kind: rollout.KindAdvance}},
		{"checkpoint: the leader's own", rollout.Decision{Kind: rollout.KindCheckpoint}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := propose(c.d)
			require.Equal(t, refused, a.Code, a.Text)
			require.NotEmpty(t, a.Text)
			require.Equal(t, before, files(t, s.op.docs.dir), "something of it was kept")
			require.Equal(t, index, s.op.voter.replica.Load().State().Index, "it went to the log")
		})
	}
	// A start that proves itself is kept and goes to the log, which refuses this one.
	a := propose(rollout.Decision{Kind: rollout.KindStart, Start: &rollout.Start{Intent: intent(s.operator), Plan: p(s.operator), Release: rel}})
	require.Equal(t, refused, a.Code)
	require.NotEqual(t, before, files(t, s.op.docs.dir))
	require.Greater(t, s.op.voter.replica.Load().State().Index, index)
}

// A leader that has not got the trust metadata yet by which a release is listed says
// so, and does not refuse: the proposer would give up.
func TestALeaderThatLagsDoesNotRefuse(t *testing.T) {
	b := newBench(t)
	s := &rollout.State{Trust: b.second.Ref()}
	require.False(t, lags(b.view, s, rollout.KindStart))
	require.False(t, lags(&View{Trust: b.first}, s, rollout.KindPublish), "that is how it gets it")
	require.True(t, lags(&View{Trust: b.first}, s, rollout.KindStart))
	require.True(t, lags(&View{}, s, rollout.KindStart))
}

// An intent whose answer was lost counts once, and whoever brings it again hears that
// it did; one that was said before is refused.
func TestAnAnswerThatWasLostIsNotARefusal(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 0, "1.0.0")
	require.NoError(t, s.op.Begin(s.ctx, 1))
	s.wait("this node leads", func() bool { return s.op.Status().Self.Leader })
	v := s.op.View()
	l, _ := v.Trust.Release("app", "1.0.0")
	in := rollout.Intent{Format: rollout.IntentFormat, Swarm: v.Swarm, Counter: 9, Verb: rollout.VerbRollback, Rollout: v.Order.Rollouts, To: l.Ref}
	d := &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindIntent, Intent: in.Seal().Sign(s.operator).Encode()}
	require.NoError(t, s.op.propose(s.ctx, d), "it is active already")
	err := s.op.propose(s.ctx, d)
	require.ErrorIs(t, err, ErrProposal)
	require.ErrorIs(t, err, errRepeated)

	in.Counter = 10
	d.Intent = in.Seal().Sign(s.operator).Encode()
	asks := 0
	require.NoError(t, s.op.insist(s.ctx, func(v *View) error {
		asks++
		err := s.op.proposeOnce(s.ctx, v, d)
		if asks == 1 {
			require.NoError(t, err)
			return errors.New("the answer was lost")
		}
		return err
	}))
	require.Equal(t, 2, asks)
}

func sealedBy(e *envelope.Envelope, by []ed25519.PrivateKey) []byte {
	for _, k := range by {
		e = e.Sign(k)
	}
	return e.Encode()
}
