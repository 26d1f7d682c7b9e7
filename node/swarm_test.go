package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/join"
)

// swarm is an operator's node and robots in one process, on loopback.
type swarm struct {
	t        *testing.T
	ctx      context.Context
	dir      string
	owner    ed25519.PrivateKey
	operator ed25519.PrivateKey
	op       *member0
	robots   []*member0
	counter  uint64
	noCanary bool
	transfer rollout.Transfer // what plans ask of transfers
	hooks    string           // of robots added from now on
	// heartbeat is raft's in nodes started from now on; zero is the profile's. On a busy
	// machine that of the profile local costs a leader its lead again and again.
	heartbeat time.Duration
	crowd     int // members of a swarm that is one, for nodes started from now on; zero is the usual
	// older is the newest feature level that nodes started from now on read; zero is this build's.
	older uint
}

// member0 is one running node.
type member0 struct {
	*Node
	cfg  Config
	stop context.CancelFunc
	gone chan struct{} // closed when it has ended and is closed
	err  error
}

func newKey(t *testing.T) ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return k
}

func testLog(t *testing.T) *slog.Logger {
	if os.Getenv("STARLING_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("test", t.Name())
}

func loopback(dir string) Config {
	return Config{Dir: dir, Gossip: "127.0.0.1:0", Bulk: "127.0.0.1:0", Control: "127.0.0.1:0", Advertise: "127.0.0.1", Profile: "local"}
}

// start runs a node until the test ends or stop is called.
func (s *swarm) start(cfg Config) *member0 {
	if l := testLog(s.t); l != nil {
		cfg.Log = l.With("me", filepath.Base(cfg.Dir))
	}
	n, err := New(cfg)
	require.NoError(s.t, err)
	if s.heartbeat > 0 {
		n.time.heartbeat = s.heartbeat
	}
	if s.crowd > 0 {
		n.crowd = s.crowd
	}
	n.older = s.older
	ctx, cancel := context.WithCancel(s.ctx)
	m := &member0{Node: n, cfg: cfg, stop: cancel, gone: make(chan struct{})}
	go func() {
		defer close(m.gone)
		m.err = errors.Join(n.Run(ctx), n.Close())
	}()
	s.t.Cleanup(func() {
		cancel()
		<-m.gone
		require.NoError(s.t, m.err)
	})
	return m
}

func newSwarm(t *testing.T, robots int, releases ...string) *swarm {
	return newSwarmFor(t, 5*time.Minute, robots, releases...)
}

// newSwarmFor is newSwarm for a test that may take as long as limit.
func newSwarmFor(t *testing.T, limit time.Duration, robots int, releases ...string) *swarm {
	s := &swarm{t: t}
	s.begin(limit, robots, releases...)
	return s
}

// newSteadySwarm is a swarm that mostly keeps its leader.
func newSteadySwarm(t *testing.T, robots int, releases ...string) *swarm {
	s := &swarm{t: t, heartbeat: 2 * time.Second}
	s.begin(6*time.Minute, robots, releases...)
	return s
}

// begin starts the operator's node with the releases, and robots.
func (s *swarm) begin(limit time.Duration, robots int, releases ...string) {
	t := s.t
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	s.ctx, s.dir, s.owner, s.operator = ctx, t.TempDir(), newKey(t), newKey(t)
	b, err := trust.Init([]envelope.Key{envelope.KeyOf(s.owner)}, 1, []envelope.Key{envelope.KeyOf(s.operator)}, s.signers(), time.Now())
	require.NoError(t, err)
	var stars []string
	for _, v := range releases {
		var rel *manifest.Release
		star := filepath.Join(s.dir, v+".star")
		rel = s.build(v, star)
		b, err = trust.Publish(b, []*manifest.Release{rel}, s.signers(), time.Now())
		require.NoError(t, err)
		stars = append(stars, star)
	}
	dir := filepath.Join(s.dir, "operator")
	require.NoError(t, Found(dir, "orchard-3", "op", b, s.operator))
	cfg := loopback(dir)
	cfg.OperatorKey = s.operator
	s.op = s.start(cfg)
	s.wait("operator ready", func() bool { return s.op.taking() })
	for _, star := range stars {
		_, err := s.op.Import(ctx, star)
		require.NoError(t, err)
	}
	for i := range robots {
		s.addRobot(fmt.Sprintf("r%02d", i+1))
	}
}

func (s *swarm) signers() trust.Signers {
	return trust.Signers{Owner: []ed25519.PrivateKey{s.owner}, Operator: []ed25519.PrivateKey{s.operator}}
}

// sick is a version that begins well and then falls ill.
const sick = "1.2.0"

// build makes a release of a script that runs, and of some bulk.
func (s *swarm) build(version, star string) *manifest.Release {
	dir := filepath.Join(s.dir, "src-"+version)
	require.NoError(s.t, os.MkdirAll(dir, 0o755))
	script := "#!/bin/sh\necho ok > \"$STARLING_DATA/health\"\n"
	if version == sick {
		script += "sleep 0.3\necho 'navigation lost heartbeat' > \"$STARLING_DATA/health\"\n"
	}
	script += "exec sleep 600\n"
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "run"), []byte(script), 0o755))
	bulk := make([]byte, 600<<10)
	r := mrand.New(mrand.NewPCG(7, uint64(len(version))+uint64(version[2])))
	for i := range bulk {
		bulk[i] = byte(r.Uint32())
	}
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "model.bin"), bulk, 0o644))
	s.counter++
	rel, err := bundle.Build(s.ctx, bundle.Spec{
		Component: "app", Version: version, Counter: s.counter,
		Variants: []bundle.VariantSpec{{Name: "all", Path: dir, Driver: "dirslot", Run: []string{"run"}}},
	}, s.owner, star, nil)
	require.NoError(s.t, err)
	return rel
}

func (s *swarm) addRobot(name string) *member0 {
	i, err := join.New(join.Invite{
		Swarm: "orchard-3", Root: s.op.View().Root, Operator: s.op.key(), Addrs: []string{s.op.bulk.Addr().String()},
		Labels: map[string]string{"model": "mk1"}, Expires: time.Now().Add(time.Hour), Uses: 1,
	})
	require.NoError(s.t, err)
	require.NoError(s.t, s.op.operator.book.Add(i))
	dir := filepath.Join(s.dir, name)
	cfg := loopback(dir)
	cfg.Name, cfg.Invite = name, i
	cfg.Components = []Component{s.component(dir)}
	m := s.start(cfg)
	s.robots = append(s.robots, m)
	return m
}

func (s *swarm) component(dir string) Component {
	root := filepath.Join(dir, "slots")
	d, err := install.NewDirSlot(install.DirSlotConfig{Root: root, Component: "app", Grace: time.Second})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, d.Stop(context.Background())) })
	return Component{Installer: d, Hooks: install.Hooks{Dir: s.hooks}, MinHealthy: time.Second, HealthyDeadline: time.Minute, Watches: []install.Watch{{
		Name: "health", Prober: install.FileProbe{Path: filepath.Join(root, "app", "data", "health"), Contains: "ok"},
		Every: 50 * time.Millisecond, Timeout: time.Second, FailAfter: 2, StartAfter: 30 * time.Second,
	}}}
}

// wait looks again at each change of any node until cond holds.
func (s *swarm) wait(what string, cond func() bool) {
	s.t.Helper()
	for !cond() {
		var changed <-chan struct{} = s.op.Changed()
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond): // other nodes change without telling the operator's
		case <-s.ctx.Done():
			for _, m := range append([]*member0{s.op}, s.robots...) {
				if m.taking() {
					v := m.View()
					s.t.Logf("%s: order %s, members %d, robots %d", v.ID, v.Pointer(), len(m.gossip.Members()), len(m.robots))
					for _, r := range m.Node.robots {
						s.t.Logf("   %s", r.status().Status)
					}
				}
			}
			require.Fail(s.t, "timed out waiting for: "+what)
		}
	}
}

func (s *swarm) all(version string) func() bool {
	return func() bool {
		for _, m := range s.robots {
			if !m.taking() {
				return false
			}
			for _, r := range m.Node.robots {
				if st := r.status(); st.Committed.Version != version || st.Running.Version != version {
					return false
				}
			}
		}
		return true
	}
}

func (s *swarm) plan(from, to manifest.Ref) *rollout.Plan {
	p := rollout.DefaultPlan()
	p.Swarm, p.Release, p.From = "orchard-3", to, from
	p.Created, p.Expires = time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	p.CanaryGate = rollout.Gate{SoakSeconds: 1, OnFail: rollout.Revert}
	p.WaveGate = rollout.Gate{SoakSeconds: 0, OnFail: rollout.Hold}
	p.SoakGate = rollout.Gate{SoakSeconds: 0, OnFail: rollout.Hold}
	p.Waves, p.BatchPermille = []uint16{500, 1000}, 500
	p.MinHealthySeconds, p.HealthyDeadlineSeconds, p.SilenceDeadlineSeconds, p.InstallDeadlineSeconds = 1, 60, 90, 60
	if to.Version == sick {
		p.MinHealthySeconds = 30 // however slow it is to fall ill
	}
	p.Prefetch = rollout.FetchAll
	p.Limit(s.transfer)
	if s.noCanary {
		p.CanaryPermille, p.CanaryMin = 0, 0
		p.InstallDeadlineSeconds = 6 // nobody waits long for robots that are away
	}
	return &p
}

func (s *swarm) publish(rel *manifest.Release, star string) {
	_, err := s.op.Import(s.ctx, star)
	require.NoError(s.t, err)
	b, err := trust.Publish(s.op.View().Trust.Bundle(), []*manifest.Release{rel}, s.signers(), time.Now())
	require.NoError(s.t, err)
	require.NoError(s.t, s.op.keeper.offerOwn(s.ctx, &join.MetaReply{Trust: b.Encode()}))
	s.wait("trust published", func() bool { return s.op.View().Order.Trust == s.op.View().Trust.Ref() })
}

func (s *swarm) rollOut(rel *manifest.Release) { require.NoError(s.t, s.tryRollOut(rel)) }

func (s *swarm) tryRollOut(rel *manifest.Release) error {
	v := s.op.View()
	p := s.plan(v.Order.Component("app").Active, rel.Ref())
	sealed := p.Seal().Sign(s.operator)
	x, err := rollout.NewExtract(p, rel, v.Roster, v.RosterRef, v.Order.Trust.Digest)
	require.NoError(s.t, err)
	in := rollout.Intent{Format: rollout.IntentFormat, Swarm: v.Swarm, Counter: uint64(time.Now().UnixNano()), Verb: rollout.VerbStart, Plan: sealed.Digest(), Extract: x.Digest()}
	for _, d := range [][2]any{{join.PlanDocument, sealed.Encode()}, {join.ReleaseDocument, rel.Encode()}} {
		_, err := s.op.docs.put(d[0].(join.DocumentKind), d[1].([]byte))
		require.NoError(s.t, err)
	}
	return s.op.propose(s.ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindStart, Start: &rollout.Start{
		Intent: in.Seal().Sign(s.operator).Encode(), Plan: sealed.Encode(), Release: rel.Encode(), Extract: x,
	}})
}

func (s *swarm) status() order.Status {
	if o := s.op.View().Order; o != nil && o.Rollout != nil {
		return o.Rollout.Status
	}
	return order.Running
}

func TestASwarmTakesAGoodReleaseAndThrowsBackABadOne(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 6, "1.0.0")
	s.wait("all on 1.0.0", s.all("1.0.0"))

	star := filepath.Join(s.dir, "1.1.0.star")
	good := s.build("1.1.0", star)
	s.publish(good, star)
	s.rollOut(good)
	s.wait("1.1.0 done", func() bool { return s.status() == order.Finished })
	s.wait("all on 1.1.0", s.all("1.1.0"))

	star = filepath.Join(s.dir, sick+".star")
	bad := s.build(sick, star)
	s.publish(bad, star)
	s.rollOut(bad)
	s.wait("it is taken back", func() bool { return s.status() == order.Reverted })
	s.wait("all on 1.1.0 again", s.all("1.1.0"))
	o := s.op.View().Order
	require.True(t, o.Quarantined(bad.Digest()))
	t.Log(rollout.Named(rollout.Explain(o), s.op.View().Roster))
	require.Equal(t, member.ID("op"), s.op.View().ID)
}

// restart runs a node again in the directory of one that was stopped.
func (s *swarm) restart(m *member0) *member0 {
	cfg := m.cfg
	cfg.Invite = nil
	cfg.Components = []Component{s.component(cfg.Dir)}
	return s.start(cfg)
}

func TestARobotThatWasAwayCatchesUp(t *testing.T) {
	if testing.Short() {
		t.Skip("two whole rollouts")
	}
	t.Parallel()
	s := newSwarm(t, 5, "1.0.0")
	s.noCanary = true // the robot that is away might be the only one
	s.wait("all on 1.0.0", s.all("1.0.0"))
	away := s.robots[4]
	away.stop()
	<-away.gone
	s.robots = s.robots[:4]
	for _, v := range []string{"1.1.0", "1.3.0"} {
		star := filepath.Join(s.dir, v+".star")
		rel := s.build(v, star)
		s.publish(rel, star)
		s.rollOut(rel)
		s.wait(v+" done", func() bool {
			return s.status() == order.Finished && s.op.View().Order.Component("app").Active.Version == v
		})
	}
	s.wait("four on 1.3.0", s.all("1.3.0"))
	s.robots = append(s.robots, s.restart(away))
	s.wait("the fifth on 1.3.0", s.all("1.3.0"))
}
