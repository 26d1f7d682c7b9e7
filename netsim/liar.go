package netsim

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/node"
)

// Protocols of a node's control host, as they go over the wire.
const (
	raftProtocol    = "/starling/raft/1"
	signProtocol    = "/starling/sign/1"
	reportProtocol  = "/starling/report/1"
	proposeProtocol = "/starling/propose/1"
)

// A villain is a machine in the wrong hands. Its node is off; a program with its keys
// has taken its address, takes part in the gossip as a member does, and speaks the
// protocols as it likes. Its payload runs on.
type villain struct {
	w       *World
	m       *machine
	rate    float64 // of its answers that are lies
	key     ed25519.PrivateKey
	view    *node.View // what the robot knew when it was taken
	keys    [][]byte   // of gossip
	bulk    *p2p.Host
	control *p2p.Host
	gossip  *gossip.Membership // nil if the lie is about gossip itself
	seat    *capturedSeat      // nil unless the lie is about deciding

	mu   sync.Mutex
	dice *rand.Rand // guarded by mu
	told int        // guarded by mu: lies so far
	old  []byte     // guarded by mu: what the swarm had decided when it was taken, if it has asked
}

// A lie is what a villain does besides being there.
type lie struct {
	// answers registers what it says to those who ask.
	answers func(v *villain)
	// acts goes on lying until ctx ends; nil only answers.
	acts func(ctx context.Context, v *villain) error
	// silent leaves the gossip to acts.
	silent bool
}

// lies are those that this simulator knows, by Lie.How; but a stranger has no machine
// to take, see stranger.
var lies = map[string]lie{
	scenario.LieCorrupt:     {answers: servePieces(corrupt)},
	scenario.LieStall:       {answers: servePieces(stall)},
	scenario.LieHave:        {answers: servePieces(refuse)},
	scenario.LieCertificate: {answers: answerStale, acts: announceFuture},
	scenario.LieHealth:      {acts: forgeHealth},
	scenario.LieMembership:  {acts: forgeMembership, silent: true},
	scenario.LieVoter:       {acts: signTwice},
	scenario.LieLeader:      {answers: sitDown, acts: decideAll},
}

// lie takes machines over, each as soon as it has its first releases: a robot that
// never joined has nothing to betray.
func (w *World) lie(ctx context.Context, f *scenario.Fault, names []string) (func(), error) {
	lying, free := context.WithCancel(ctx)
	var out sync.WaitGroup
	lift := func() {
		free()
		out.Wait()
	}
	if f.Lie.How == scenario.LieStranger {
		s, err := w.newStranger(lying)
		if err != nil {
			free()
			return nil, err
		}
		out.Go(func() { s.run(lying) })
		return lift, nil
	}
	w.each(names, func(m *machine) {
		out.Go(func() {
			if err := w.capture(ctx, lying, m, f.Lie, f.Draw); err != nil && ctx.Err() == nil {
				w.truth.note(m.name, "lie-failed", "%v", err)
			}
		})
	})
	return lift, nil
}

// capture is one machine in the wrong hands for as long as lying goes on. Then its own
// node starts again, unless ctx, the run, ends too.
func (w *World) capture(ctx, lying context.Context, m *machine, l *scenario.Lie, draw uint64) error {
	if err := w.betrayable(lying, m); err != nil {
		return err
	}
	life, view := m.alive(), m.view()
	if life == nil || view == nil || !m.crash() {
		return errors.New("it is off")
	}
	<-life.gone // it writes nothing any more: the directory is the villain's
	v := &villain{w: w, m: m, rate: l.Rate.Float(), view: view}
	v.dice = rand.New(rand.NewChaCha8(w.draw("lie", m.name, l.How, draw)))
	m.host.Start()
	w.truth.note(m.name, "lie", "%s: it is in the wrong hands", l.How)
	err := v.run(lying, lies[l.How])
	if m.alive() == nil {
		m.host.Crash()
	}
	v.mu.Lock()
	w.truth.note(m.name, "lie-over", "%s: it has lied %d times", l.How, v.told)
	v.mu.Unlock()
	if ctx.Err() == nil {
		w.boot(ctx, m)
	}
	return err
}

// betrayable waits until a machine has joined, and committed what it joined with.
func (w *World) betrayable(ctx context.Context, m *machine) error {
	for {
		ready := m.view() != nil && m.view().Me() != nil && m.view().Order != nil
		if r := w.robotNamed(m.name); r != nil {
			for _, p := range r.parts {
				ready = ready && !w.truth.standing(p).committed.IsZero()
			}
		}
		if ready {
			return nil
		}
		if err := sleepUntil(ctx, time.Now().Add(tick)); err != nil {
			return err
		}
	}
}

// run is there, and lies, until ctx ends.
func (v *villain) run(ctx context.Context, l lie) error {
	if err := v.steal(); err != nil {
		return err
	}
	if err := v.listen(ctx, l.silent); err != nil {
		return err
	}
	if l.answers != nil {
		l.answers(v)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.bulk.Run(ctx) })
	g.Go(func() error { return v.control.Run(ctx) })
	if v.gossip != nil {
		g.Go(func() error { return v.gossip.Run(ctx) })
	}
	if l.acts != nil {
		g.Go(func() error { return l.acts(ctx, v) })
	}
	return g.Wait()
}

// steal reads the robot's keys from its disk.
func (v *villain) steal() error {
	data, err := os.ReadFile(filepath.Join(v.m.cfg.Dir, "key"))
	if err != nil {
		return err
	}
	if v.key, _, err = trust.OpenKey(data, nil); err != nil {
		return err
	}
	var known struct {
		Keys [][]byte `json:"gossip_keys"`
	}
	if data, err = os.ReadFile(filepath.Join(v.m.cfg.Dir, "membership")); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &known); err != nil {
		return fmt.Errorf("its membership: %w", err)
	}
	v.keys = known.Keys
	return nil
}

// listen takes the robot's addresses.
func (v *villain) listen(ctx context.Context, silent bool) (err error) {
	if v.bulk, err = v.p2p(ctx, v.m.cfg.Bulk, func(m *machine) string { return m.cfg.Bulk }); err != nil {
		return err
	}
	if v.control, err = v.p2p(ctx, v.m.cfg.Control, func(m *machine) string { return m.cfg.Control }); err != nil || silent {
		return err
	}
	v.gossip, err = v.gossiper(ctx, v.view.Self)
	return err
}

func (v *villain) p2p(ctx context.Context, addr string, where func(*machine) string) (*p2p.Host, error) {
	l, err := v.m.host.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return p2p.New(p2p.Config{
		Key: v.key, Listener: l, Dial: v.m.host.Dial, Log: v.m.cfg.Log,
		Resolve: func(k envelope.Key) []string { return v.w.addresses(k, where) },
		Known:   func(k envelope.Key) bool { return len(v.w.addresses(k, where)) > 0 },
	})
}

// addresses are where the member with a key really is.
func (w *World) addresses(k envelope.Key, where func(*machine) string) []string {
	view := w.anyView()
	if view == nil || view.Member(k) == nil {
		return nil
	}
	m := w.machineNamed(string(view.Member(k).ID))
	if m == nil {
		return nil
	}
	return []string{where(m)}
}

// lies decides whether the next answer is a lie, and counts it.
func (v *villain) lies() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dice.Float64() >= v.rate {
		return false
	}
	v.told++
	return true
}

// repeat does f now and every so often until ctx ends.
func repeat(ctx context.Context, every time.Duration, f func()) {
	for {
		f()
		if sleepUntil(ctx, time.Now().Add(every)) != nil {
			return
		}
	}
}

// voters are the other seats of the newest electorate.
func (v *villain) voters() (keys []envelope.Key) {
	o := v.w.watch.order()
	if o == nil {
		return nil
	}
	for _, s := range o.Electorate.Voters {
		if s.Key != envelope.KeyOf(v.key) {
			keys = append(keys, s.Key)
		}
	}
	return keys
}
