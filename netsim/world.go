package netsim

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim/disk"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/node"
)

// Start is when the simulated world begins: a bubble's clock starts in 2000, before
// this software was written.
var Start = time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC)

// A World is one swarm in virtual time: the machines, the network between them, and
// the truth about both. The story, the faults and the watcher are goroutines of their
// own; what they share is guarded.
type World struct {
	scenario *scenario.Scenario
	seed     uint64
	swarm    string
	dir      string // of all state directories; on a RAM disk if there is one
	log      *slog.Logger
	trace    *exact.Writer // digests the notes
	events   *exact.Writer // takes notes and packets; nil if nobody asked
	net      *fabric.Net
	owner    ed25519.PrivateKey
	truth    *truth
	checks   *checks
	watch    *watch
	moves    *moves
	disks    *disk.Set     // nil if files are the host's own
	reserves bool          // nodes hold space back: disks will fill
	clocks   bool          // each machine has its own
	given    *rollout.Plan // of a rehearsal; else nil

	populated chan struct{} // closed when all who are not late are there

	mu        sync.Mutex
	operators []*operator         // guarded by mu, like all below; first the one that founds the swarm
	bases     []*robot            // without payloads
	robots    []*robot            // as they were switched on
	releases  []*release          // as built, oldest first
	byName    map[string]*machine // all of them
	counters  map[string]uint64   // of releases, by component
	halts     uint64              // the counter of halt tokens
	pending   int                 // faults that are still to come or to be lifted
	tale      tale                // how far the story is
	tolled    map[int]toll        // by index in the scenario's faults
}

// clone copies a slice that others append to.
func clone[T any](w *World, s *[]T) []T {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(*s)
}

func (w *World) allRobots() []*robot { return clone(w, &w.robots) }

// machineNamed is a machine, or nil if it is not there (yet).
func (w *World) machineNamed(name string) *machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byName[name]
}

func add[T any](w *World, s *[]T, x T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*s = append(*s, x)
}

// count adds one to a counter and returns it.
func (w *World) count(c *uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	*c++
	return *c
}

// built are the releases so far, oldest first.
func (w *World) built() []*release {
	return clone(w, &w.releases)
}

// release finds a release by digest, or is nil.
func (w *World) release(d manifest.Digest) *release {
	for _, r := range w.built() {
		if r.Digest() == d {
			return r
		}
	}
	return nil
}

// named finds a release by its name in the scenario.
func (w *World) named(name scenario.Ref) (*release, error) {
	for _, r := range w.built() {
		if r.spec.Ref() == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("no release %s has been built", name)
}

// components are those that the scenario has releases of, in order.
func (w *World) components() []string {
	var names []string
	for _, r := range w.scenario.Releases {
		if !slices.Contains(names, r.Component) {
			names = append(names, r.Component)
		}
	}
	return names
}

// machine plugs a computer into the network.
func (w *World) machine(m *machine, name, radio string, reach float64) error {
	kind, ok := fabric.Preset(radio)
	if !ok {
		return fmt.Errorf("no radio %q", radio)
	}
	if reach > 0 {
		kind.Range = reach
	}
	host, err := w.net.AddHost(name, kind, w.moves.place(name))
	if err != nil {
		return err
	}
	ip := host.IP()
	m.name, m.host = name, host
	if w.disks != nil {
		m.disk = w.disks.Add(name)
	}
	m.cfg = node.Config{
		Dir: filepath.Join(w.dir, name), Name: name, Network: network{host}, Advertise: ip, Profile: w.scenario.World.Profile, ControlBytesPerSec: int64(w.scenario.World.Control),
		Gossip: net.JoinHostPort(ip, "7946"), Bulk: net.JoinHostPort(ip, "7947"), Control: net.JoinHostPort(ip, "7948"),
		Log: w.log.With("me", name), NoReserve: !w.reserves, // disks fill by fault only
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byName[name] = m
	m.number = exact.Machine(len(w.byName))
	return nil
}

// populate makes the swarm: operators first, then base machines, then robots that
// are not late, one after the other as people carry them out.
func (w *World) populate(ctx context.Context) error {
	s := w.scenario
	var first []*release
	have := map[string]bool{}
	for i := range s.Releases {
		r, err := w.build(ctx, &s.Releases[i])
		if err != nil {
			return err
		}
		if !have[r.Component] {
			have[r.Component] = true
			first = append(first, r)
		}
	}
	for i, spec := range s.Operators {
		o := &operator{w: w, key: w.operatorKey(i)}
		if err := w.machine(&o.machine, spec.Name, spec.Radio, spec.Range); err != nil {
			return err
		}
		o.cfg.OperatorKey = o.key
		add(w, &w.operators, o)
		if i > 0 {
			continue // brought in by welcome
		}
		if err := w.found(ctx, o, first); err != nil {
			return fmt.Errorf("the operator's node: %w", err)
		}
	}
	for i := range s.Base.Count {
		r := &robot{}
		if err := w.machine(&r.machine, fmt.Sprintf("base-%d", i+1), s.Base.Radio, s.Base.Range); err != nil {
			return err
		}
		add(w, &w.bases, r)
		if err := w.letIn(ctx, r, node.InviteRequest{Role: "base"}); err != nil {
			return err
		}
	}
	for g := range s.Fleet {
		if s.Fleet[g].Late {
			continue
		}
		for i := range s.Fleet[g].Count {
			if err := w.addRobot(ctx, &s.Fleet[g], i); err != nil {
				return err
			}
			time.Sleep(joinGap)
		}
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	return w.welcome(ctx)
}

// foundingVoters are as many as start a swarm by themselves.
const foundingVoters = 4

// begin starts a swarm of fewer than that by hand, as starling begin does: with all who
// may vote. It is tried again until they have been heard of.
func (w *World) begin(ctx context.Context) error {
	n := len(clone(w, &w.bases)) + len(w.allRobots())
	if n >= foundingVoters {
		return nil
	}
	o := clone(w, &w.operators)[0]
	for {
		node, err := o.on()
		if err == nil && node.View().Order == nil {
			err = node.Begin(ctx, n)
		}
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		w.truth.note(o.name, "step-failed", "begin: %v", err)
		if err := sleepUntil(ctx, time.Now().Add(again)); err != nil {
			return err
		}
	}
}

// welcome lets further operators' laptops in: as base machines without a vote, which
// hold the operators' key.
func (w *World) welcome(ctx context.Context) error {
	all := clone(w, &w.operators)
	for _, o := range all[1:] {
		i, err := all[0].invite(ctx, node.InviteRequest{Role: "base", NoVote: true})
		if err != nil {
			return fmt.Errorf("invite %s: %w", o.name, err)
		}
		o.cfg.Invite = i
		if err := o.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// joinGap is how long it takes to switch on the next robot.
const joinGap = 50 * time.Millisecond

// addRobot makes robot i of a group and boots it with an invite.
func (w *World) addRobot(ctx context.Context, g *scenario.Group, i int) error {
	r := &robot{group: g, model: g.Model}
	if err := w.machine(&r.machine, g.Robot(i), g.Radio, g.Range); err != nil {
		return err
	}
	if err := w.equip(r, r.cfg.Dir); err != nil {
		return err
	}
	r.cfg.DownloadBytesPerSec = int64(g.Device.Flash) / int64(g.Device.Slow)
	add(w, &w.robots, r)
	labels := map[string]string{"model": g.Model}
	for k, v := range g.Labels {
		labels[k] = v
	}
	return w.letIn(ctx, r, node.InviteRequest{Labels: labels})
}

// letIn gives a machine an invite and boots it.
func (w *World) letIn(ctx context.Context, r *robot, q node.InviteRequest) error {
	i, err := clone(w, &w.operators)[0].invite(ctx, q)
	if err != nil {
		return fmt.Errorf("invite %s: %w", r.name, err)
	}
	r.cfg.Invite = i
	return r.start(ctx)
}

// machines are all machines, in the scenario's order.
func (w *World) machines() []*machine {
	var list []*machine
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.operators {
		list = append(list, &o.machine)
	}
	for _, r := range w.bases {
		list = append(list, &r.machine)
	}
	for _, r := range w.robots {
		list = append(list, &r.machine)
	}
	return list
}

// robotNamed is a robot, or nil.
func (w *World) robotNamed(name string) *robot {
	for _, r := range slices.Concat(clone(w, &w.bases), w.allRobots()) {
		if r.name == name {
			return r
		}
	}
	return nil
}

// stop ends all machines.
func (w *World) stop() {
	for _, m := range w.machines() {
		m.crash()
	}
}
