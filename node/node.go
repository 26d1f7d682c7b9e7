// Package node is Starling's runtime on one machine: it joins a swarm, keeps up
// with what the swarm decides, fetches releases from other members, installs them
// through the robot's Installer, and reports how they fare. If it is a voter it
// takes part in the deciding.
//
//	n, err := node.New(node.Config{Dir: dir, Invite: invite, Components: components})
//	if err != nil { … }
//	defer n.Close()
//	err = n.Run(ctx) // blocks; nil when ctx ends it
//
// The package is where the others meet: gossip says who is there, consensus what
// is decided, artifacts brings the bytes, update says what this robot does next,
// install does it. None of them knows the others.
package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// Config is what a Node is made of.
type Config struct {
	// Dir holds all state; see the package's dir. One node at a time runs in it.
	Dir string
	// Name is what the robot wishes to be called when it joins; empty is "robot".
	Name string
	// Invite lets the node join if Dir belongs to no swarm yet.
	Invite *join.Invite
	// Network is the way to other machines; nil is the operating system's.
	Network Network
	// Gossip, Bulk and Control are the addresses to listen at, "host:port". Port 0
	// picks a free one at the first start and keeps it.
	Gossip, Bulk, Control string
	// Advertise is the IP address that others reach this machine at; empty is
	// found out from the route to the operator's node.
	Advertise string
	// Profile is "lan" (the default), "mesh", "narrow" or "local"; the same in a whole swarm.
	Profile string
	// Components are the parts of the robot's software; none for a machine that
	// runs no payload.
	Components []Component
	// UploadBytesPerSec and DownloadBytesPerSec limit bulk transfers; 0 is no limit.
	// PeerBytesPerSec limits what is sent to any one member.
	UploadBytesPerSec, DownloadBytesPerSec, PeerBytesPerSec int64
	// ControlBytesPerSec limits what is sent beside images and documents: reports,
	// certificates and whatever else members ask of each other wait for their turn. Gossip,
	// Raft, answers and the stop are counted and never wait. Zero is no limit.
	ControlBytesPerSec int64
	// Interfaces are the network interfaces by which image bytes may leave and enter;
	// none is all. What else the node says uses any.
	Interfaces []string
	// OnlyWhen must all hold for images to be fetched. While one does not, the robot
	// still serves others, at a tenth of its upload rate.
	OnlyWhen []Condition
	// ReserveBytes of disk space are never used for images.
	ReserveBytes int64
	// StoreHigh and StoreLow are the watermarks of images beside the slots: above the
	// one, those that nobody needs are removed, the oldest first, until below the other.
	// A zero StoreHigh never removes any.
	StoreHigh, StoreLow Watermark
	// NoReserve does without the file of 1 MiB in Dir that holds space for what must be
	// written on a full disk.
	NoReserve bool
	// OperatorKey, on an operator's node, signs rosters, genesis and publishing.
	OperatorKey ed25519.PrivateKey
	// FailPoint is called at named steps of an update, so that a test can end the
	// process there; nil is never. A step is a phase ("app/armed"), when the record
	// of it is on disk and nothing else has begun, or "app/activated", when a slot
	// runs and the record does not know yet.
	FailPoint func(step string)
	// Log takes what happens; nil discards.
	Log *slog.Logger
}

// A Node is one member of a swarm. New makes it, Run runs it once, Close frees it.
type Node struct {
	cfg    Config
	dir    dir
	time   timing
	log    *slog.Logger
	events *events
	began  time.Time // when New made it: what is only counted in memory counts from here

	lock          *flock.Flock
	reserve       *durable.Reserve // nil if there is none
	priv          ed25519.PrivateKey
	packets       net.PacketConn
	streams       net.Listener
	bulk, control *p2p.Host
	exchange      *artifacts.Exchange
	conditions    *conditions
	planned       planned
	ways          *ways
	gossiped      atomic.Uint64 // bytes of gossip that look has seen
	docs          docs
	packer        join.Packer // of documents on the way
	book          *book
	robots        []*robot
	operator      *operator // nil on robots
	health        *healthTable

	// Set by Run in this order, before anything that uses them is started.
	member membership
	keeper *keeper
	gossip *gossip.Membership
	voter  *voter
	host   string // the address others reach us at

	relays    chan []byte   // failing reports to pass on; of depth 64, a full one drops
	telling   chan struct{} // of depth 1: report now
	passing   *passing
	passTo    atomic.Uint32 // which voter this robot tells how it is, in a crowd
	crowd     int           // members of a swarm that is one
	older     uint          // a test has this node read no more than this level; 0 is order.Level
	wants     chan wanted   // documents to gather; of depth 64, a full one drops
	catchups  catchups
	faults    faults
	asking    asking
	accused   accused
	turns     turns
	sequence  atomic.Uint64 // of the last health report
	refusals  atomic.Uint32 // how often a voter did not let this robot catch up
	leaving   atomic.Bool
	inLine    atomic.Bool   // the operator's node has let this one in, and the swarm does not know yet
	goodbye   chan struct{} // closed when report has said that this node leaves, or ended
	releases  releaseCache
	stock     *stock
	clones    clones
	lastPhase atomic.Pointer[Event]

	ready  chan struct{} // closed when the node has joined and takes part
	wake   *broadcast    // something that people look at has changed
	closed sync.Once
	err    error // of Close
}

// ErrConfig is wrapped by New's complaints about a Config.
var ErrConfig = errors.New("node: bad config")

// New checks cfg, takes the directory for this process and opens the ports. It
// starts no goroutine. Errors wrap ErrConfig, ErrLocked or ErrPortTaken, or are
// those of the file system.
func New(cfg Config) (*Node, error) {
	if cfg.Dir == "" {
		return nil, fmt.Errorf("%w: Dir is empty: say where the node keeps its state", ErrConfig)
	}
	t, err := timingOf(cfg.Profile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	held, err := newConditions(cfg.OnlyWhen)
	if err != nil {
		return nil, err
	}
	if cfg.Network == nil {
		cfg.Network = OSNetwork{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Name == "" {
		cfg.Name = "robot"
	}
	n := &Node{
		conditions: held, ways: newWays(cfg.Interfaces),
		cfg: cfg, dir: dir(cfg.Dir), time: t, log: cfg.Log, ready: make(chan struct{}), goodbye: make(chan struct{}), wake: newBroadcast(), stock: newStock(), health: newHealthTable(), began: time.Now(),
		relays: make(chan []byte, 64), telling: make(chan struct{}, 1), passing: newPassing(), crowd: crowd, wants: make(chan wanted, 64),
		catchups: catchups{at: map[member.Index]time.Time{}}, turns: turns{given: map[turn]grant{}},
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// open takes what must be open to have an address.
func (n *Node) open() (err error) {
	if n.lock, err = n.dir.lock(); err != nil {
		return err
	}
	n.openReserve()
	if n.priv, err = n.dir.key(); err != nil {
		return err
	}
	if n.book, err = openBook(n.dir.path("peers")); err != nil {
		n.log.Warn("addresses of the last run unreadable, starting without", "err", err)
	}
	if n.events, err = openEvents(n.dir.path("history")); err != nil {
		return err
	}
	n.docs = docs{n.dir.path("docs")}
	if n.member, err = n.dir.membership(); err != nil && !(errors.Is(err, ErrNotJoined) && n.cfg.Invite != nil) {
		return err
	}
	if err := n.listen(); err != nil {
		return err
	}
	if n.cfg.OperatorKey != nil {
		if n.operator, err = n.newOperator(); err != nil {
			return err
		}
	}
	if err := n.openRobots(); err != nil {
		return err
	}
	n.exchange, err = artifacts.New(artifacts.Config{
		Peers: peers{n}, Self: n.key(), Seed: n.cfg.OperatorKey != nil, Retry: n.time.fetch,
		UploadBytesPerSec: n.cfg.UploadBytesPerSec, DownloadBytesPerSec: n.cfg.DownloadBytesPerSec, PeerBytesPerSec: n.cfg.PeerBytesPerSec, ControlBytesPerSec: n.cfg.ControlBytesPerSec, Look: n.look,
		Events: n.transferEvent, Log: n.log,
	})
	n.planned.limits = n.ownLimits()
	return err
}

// Key is the node's identity.
func (n *Node) key() envelope.Key { return envelope.KeyOf(n.priv) }

// Ready is closed when the node has joined its swarm and takes part.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// View is what the node has verified of its swarm; nil before it has joined.
func (n *Node) View() *View {
	select {
	case <-n.ready:
		return n.keeper.View()
	default:
		return nil
	}
}

// Run joins the swarm if that is still to be done, and takes part until ctx ends.
// It returns nil if ctx ended it, else the first cause. It runs once.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	n.handle()
	g.Go(func() error { return n.bulk.Run(ctx) })
	g.Go(func() error { return n.control.Run(ctx) })
	g.Go(func() error { return n.takePart(ctx, g) })
	if err := g.Wait(); err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	} else {
		return err
	}
}

// takePart joins, then starts what runs for as long as the node does.
func (n *Node) takePart(ctx context.Context, g *errgroup.Group) error {
	if n.member.Swarm == "" {
		if err := n.join(ctx); err != nil {
			return err
		}
	}
	k, err := openKeeper(n.dir, n.member, n.key(), n.log)
	if err != nil {
		return err
	}
	if n.operator != nil {
		k.lost = n.note
	}
	n.keeper = k
	n.heed()
	g.Go(func() error { return k.run(ctx) })
	n.log.Info("member of the swarm", "swarm", n.member.Swarm, "member", n.member.ID, "platform", platform())
	for _, r := range n.robots { // first: what is installed runs, and goes back, without anybody
		g.Go(func() error { return r.run(ctx) })
	}
	g.Go(func() error { return n.tendReserve(ctx) })
	if err := n.resumeSeeds(ctx); err != nil {
		return err
	}
	g.Go(func() error { return n.tendStore(ctx) })
	if err := n.firstPull(ctx); err != nil {
		return err
	}
	if err := n.startGossip(ctx); err != nil {
		return err
	}
	if n.voter, err = n.newVoter(); err != nil {
		return err
	}
	close(n.ready)
	g.Go(func() error { return n.gossip.Run(ctx) })
	g.Go(func() error { return n.remember(ctx) })
	g.Go(func() error { return n.follow(ctx) })
	g.Go(func() error { return n.vote(ctx) })
	g.Go(func() error { return n.report(ctx) })
	g.Go(func() error { return n.passReports(ctx) })
	g.Go(func() error { return n.gather(ctx) })
	g.Go(func() error { return n.advertise(ctx) })
	g.Go(func() error { return n.watchOrders(ctx) })
	g.Go(func() error { return n.watchClones(ctx) })
	g.Go(func() error { return n.passHalts(ctx) })
	if n.operator != nil {
		g.Go(func() error { return n.operator.run(ctx) })
	}
	return nil
}

// Close frees what New opened, in reverse order. It may be called at any time, and
// twice.
func (n *Node) Close() error {
	n.closed.Do(func() {
		var errs []error
		errs = append(errs, n.stock.close())
		for _, r := range n.robots {
			errs = append(errs, r.close())
		}
		if n.control != nil {
			errs = append(errs, n.control.Close())
		}
		if n.bulk != nil {
			errs = append(errs, n.bulk.Close())
		}
		switch {
		case n.gossip != nil:
			errs = append(errs, n.gossip.Close())
		case n.streams != nil:
			errs = append(errs, n.streams.Close(), n.packets.Close())
		}
		if n.events != nil {
			errs = append(errs, n.events.close())
		}
		if n.reserve != nil {
			n.reserve.Close()
		}
		if n.lock != nil {
			errs = append(errs, n.lock.Unlock())
		}
		n.err = errors.Join(errs...)
	})
	return n.err
}

// platform is what the node says of the machine it runs on.
func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// labels are those of the roster and the platform.
func labels(m *member.Member) map[string]string {
	out := map[string]string{member.PlatformLabel: platform()}
	for k, v := range m.Labels {
		out[k] = v
	}
	return out
}
