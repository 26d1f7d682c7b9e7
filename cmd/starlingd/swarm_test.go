//go:build unix

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node"
)

const (
	swarmName = "orchard-3"
	// patience bounds each wait. Everything takes seconds; a loaded machine is slow.
	patience = 5 * time.Minute
)

// swarm is an operator's node in this process and robots in processes of their own,
// on loopback.
type swarm struct {
	t               *testing.T
	ctx             context.Context
	dir             string
	owner, operator ed25519.PrivateKey
	op              *node.Node
	robots          []*robot
	releases        map[string]*released // by version
}

// released is a release and the image that is in it.
type released struct {
	*manifest.Release
	image *manifest.Manifest
	star  string
}

// newSwarm starts an operator's node that knows release 1.0.0, and robots that
// install it as their first.
func newSwarm(t *testing.T, robots int) *swarm {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &swarm{t: t, ctx: ctx, dir: tempDir(t), owner: newKey(t), operator: newKey(t), releases: map[string]*released{}}
	b, err := trust.Init([]envelope.Key{envelope.KeyOf(s.owner)}, 1, []envelope.Key{envelope.KeyOf(s.operator)}, s.signers(), time.Now())
	require.NoError(t, err)
	first := s.build("1.0.0", "exec sleep 600")
	b, err = trust.Publish(b, []*manifest.Release{first.Release}, s.signers(), time.Now())
	require.NoError(t, err)
	s.startOperator(b)
	_, err = s.op.Import(ctx, first.star)
	require.NoError(t, err)
	invite, err := s.op.Invite(ctx, node.InviteRequest{Uses: robots})
	require.NoError(t, err)
	path := filepath.Join(s.dir, "invite")
	require.NoError(t, os.WriteFile(path, invite.Encode(), 0o600))
	for i := range robots {
		s.robots = append(s.robots, newRobot(t, s.dir, fmt.Sprintf("r%d", i+1), path))
		s.robots[i].start("")
	}
	s.until("every robot runs 1.0.0", func() bool { return s.op.View().Order != nil && s.settled("1.0.0") })
	return s
}

func newKey(t *testing.T) ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return k
}

func (s *swarm) signers() trust.Signers {
	return trust.Signers{Owner: []ed25519.PrivateKey{s.owner}, Operator: []ed25519.PrivateKey{s.operator}}
}

// startOperator runs the operator's node until the test ends.
func (s *swarm) startOperator(b *trust.Bundle) {
	dir := filepath.Join(s.dir, "operator")
	require.NoError(s.t, node.Found(dir, swarmName, "op", b, s.operator))
	log, err := os.Create(filepath.Join(s.dir, "operator.log"))
	require.NoError(s.t, err)
	n, err := node.New(node.Config{
		Dir: dir, Gossip: "127.0.0.1:0", Bulk: "127.0.0.1:0", Control: "127.0.0.1:0", Profile: "local",
		OperatorKey: s.operator, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		require.NoError(s.t, <-done)
		require.NoError(s.t, n.Close())
		require.NoError(s.t, log.Close())
		if s.t.Failed() {
			data, err := os.ReadFile(log.Name())
			require.NoError(s.t, err)
			s.t.Logf("log of the operator's node:\n%s", lastLines(string(data), 120))
		}
	})
	s.op = n
	select {
	case <-n.Ready():
	case <-time.After(patience):
		require.Fail(s.t, "the operator's node does not start")
	}
}

// build makes a release of a script and some bulk. The script says that it is well,
// then does what then says.
func (s *swarm) build(version, then string) *released {
	dir := filepath.Join(s.dir, "src-"+version)
	require.NoError(s.t, os.MkdirAll(dir, 0o755))
	script := "#!/bin/sh\necho ok " + version + " > \"$STARLING_DATA/health\"\n" + then + "\n"
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "run"), []byte(script), 0o755))
	counter := uint64(len(s.releases) + 1)
	bulk := make([]byte, 600<<10)
	random := mrand.New(mrand.NewPCG(7, counter))
	for i := range bulk {
		bulk[i] = byte(random.Uint32())
	}
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "model.bin"), bulk, 0o644))
	out := &released{star: filepath.Join(s.dir, version+".star")}
	var err error
	out.Release, err = bundle.Build(s.ctx, bundle.Spec{
		Component: "app", Version: version, Counter: counter,
		Variants: []bundle.VariantSpec{{Name: "all", Path: dir, Driver: "dirslot", Run: []string{"run"}}},
	}, s.owner, out.star, nil)
	require.NoError(s.t, err)
	b, err := bundle.Open(out.star)
	require.NoError(s.t, err)
	defer b.Close()
	out.image, err = b.Manifest(out.Variants[0].Manifest)
	require.NoError(s.t, err)
	s.releases[version] = out
	return out
}

// publish signs and imports a new release. What happens after its payload has said
// that it is well is the line then.
func (s *swarm) publish(version, then string) *released {
	rel := s.build(version, then)
	_, err := s.op.Import(s.ctx, rel.star)
	require.NoError(s.t, err)
	b, err := trust.Publish(s.op.View().Trust.Bundle(), []*manifest.Release{rel.Release}, s.signers(), time.Now())
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	published, err := s.op.TakeTrust(ctx, b.Encode())
	require.NoError(s.t, err)
	require.True(s.t, published, "the voters do not have the trust metadata")
	return rel
}

// plan is quick: a second of trial, and every robot fetches from the start.
func (s *swarm) plan(rel *released) *rollout.Plan {
	p := rollout.DefaultPlan()
	p.Swarm, p.Release, p.From = swarmName, rel.Ref(), s.op.View().Order.Component("app").Active
	p.Created, p.Expires = time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	p.CanaryGate = rollout.Gate{OnFail: rollout.Revert}
	p.WaveGate = rollout.Gate{OnFail: rollout.Hold}
	p.SoakGate = rollout.Gate{OnFail: rollout.Hold}
	p.Waves, p.BatchPermille = []uint16{1000}, 500
	p.MinHealthySeconds, p.HealthyDeadlineSeconds, p.SilenceDeadlineSeconds, p.InstallDeadlineSeconds = 1, 60, 90, 60
	p.Prefetch = rollout.FetchAll
	return &p
}

// extract is what a start carries of the roster.
func (s *swarm) extract(p *rollout.Plan, rel *released) rollout.Extract {
	v := s.op.View()
	x, err := rollout.NewExtract(p, rel.Release, v.Roster, v.RosterRef, v.Order.Trust.Digest)
	require.NoError(s.t, err)
	return x
}

// canaries are who will meet the release first.
func (s *swarm) canaries(p *rollout.Plan, rel *released) (names []string) {
	v := s.op.View()
	preview, err := rollout.NewPreview(p, s.extract(p, rel), *v.Electorate)
	require.NoError(s.t, err)
	return v.Roster.Names(preview.Canaries)
}

// start signs the plan and brings it to the swarm.
func (s *swarm) start(p *rollout.Plan, rel *released) {
	sealed, x := p.Seal().Sign(s.operator), s.extract(p, rel)
	in := rollout.Intent{
		Format: rollout.IntentFormat, Swarm: swarmName, Counter: uint64(time.Now().UnixNano()), Verb: rollout.VerbStart, Plan: sealed.Digest(), Extract: x.Digest(),
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	require.NoError(s.t, s.op.Propose(ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindStart, Start: &rollout.Start{
		Intent: in.Seal().Sign(s.operator).Encode(), Plan: sealed.Encode(), Release: rel.Encode(), Extract: x,
	}}))
}

// over reports whether the rollout of rel has ended, and how.
func (s *swarm) over(rel *released) (order.Status, bool) {
	o := s.op.View().Order
	if o.Rollout == nil || o.Rollout.Release.Digest != rel.Digest() {
		return order.Running, false
	}
	return o.Rollout.Status, o.Rollout.Status.Final()
}

// until looks at the swarm again and again, and at every payload, until done.
func (s *swarm) until(what string, done func() bool) {
	s.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond) // processes change without telling us
	defer tick.Stop()
	for {
		for _, r := range s.robots {
			r.payload()
		}
		if done() {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			s.describe()
			require.Fail(s.t, "timed out waiting for: "+what)
		}
	}
}

// describe logs how everybody stands.
func (s *swarm) describe() {
	if o := s.op.View().Order; o != nil {
		s.t.Log(rollout.Named(rollout.Explain(o), s.op.View().Roster))
	}
	for _, r := range s.robots {
		s.t.Logf("%s: payloads %+v", r.name, r.payloads())
		if st := r.status(s.ctx); st != nil {
			s.t.Logf("%s: %s; %+v", r.name, st.Summary, st.Here)
		}
	}
}

// whole says why what the robot runs is not one whole release of these versions,
// the daemon of which takes part.
func (s *swarm) whole(r *robot, versions ...string) error {
	p, ok := r.payload()
	if !ok {
		return fmt.Errorf("%s runs nothing", r.name)
	}
	if !slices.Contains(versions, p.version) {
		return fmt.Errorf("%s runs %q, want one of %v", r.name, p.version, versions)
	}
	return store.Verify(s.ctx, p.slot, s.releases[p.version].image)
}

// settled reports whether every robot has committed version, runs it whole, and
// says so.
func (s *swarm) settled(version string) bool {
	return !slices.ContainsFunc(s.robots, func(r *robot) bool {
		st := r.status(s.ctx)
		if st == nil || !st.Joined || len(st.Here) != 1 {
			return true
		}
		c := st.Here[0]
		return c.Committed == nil || c.Committed.Version != version || c.Running == nil || c.Running.Version != version ||
			c.Phase == "trial" || c.Phase == "reverting" || s.whole(r, version) != nil
	})
}

// restart kills all daemons at once and starts them again, each with the fail point
// that points gives it by name. The payloads do not notice.
func (s *swarm) restart(points map[string]string) {
	before := map[string]payload{}
	for _, r := range s.robots {
		r.kill()
		p, ok := r.payload()
		require.True(s.t, ok, "%s runs nothing after its daemon was killed", r.name)
		before[r.name] = p
	}
	for _, r := range s.robots {
		require.NoError(s.t, s.whole(r, before[r.name].version))
		r.start(points[r.name])
	}
	s.until("all daemons are back", func() bool {
		return !slices.ContainsFunc(s.robots, func(r *robot) bool { return !s.back(r) || !r.adopted(before[r.name]) })
	})
	for _, r := range s.robots {
		p, _ := r.payload()
		require.Equal(s.t, before[r.name], p, "%s was disturbed by the restart of its daemon", r.name)
	}
}

// back reports whether the robot's daemon takes part again. One that has ended fails
// the test.
func (s *swarm) back(r *robot) bool {
	require.False(s.t, r.ended(), "the daemon of %s has ended", r.name)
	st := r.status(s.ctx)
	return st != nil && st.Joined
}

// adopted reports whether the daemon has said that it looks after p again.
func (r *robot) adopted(p payload) bool {
	return r.said(fmt.Sprintf("msg=\"payload adopted\" component=app pid=%d ", p.pid))
}

// looksAfter is what the daemon says of a payload that it starts or takes over.
var looksAfter = regexp.MustCompile(`msg="payload (?:started|adopted)" component=app pid=\d+ slot=(\w)`)

// firstSlot is the slot of the first payload that the daemon has looked after since its
// last start; "" if there was none yet.
func (r *robot) firstSlot() string {
	if m := looksAfter.FindStringSubmatch(r.log(r.from)); m != nil {
		return m[1]
	}
	return ""
}

// noBugs fails the test if a daemon has panicked, or raced.
func (s *swarm) noBugs() {
	for _, r := range s.robots {
		for _, bad := range []string{"panic:", "fatal error:", "DATA RACE"} {
			require.False(s.t, strings.Contains(r.log(0), bad), "%s says %q", r.name, bad)
		}
	}
}
