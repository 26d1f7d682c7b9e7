// Package gossip says who is there, and what they last said in 16 bytes.
//
// A Membership runs hashicorp/memberlist (SWIM with Lifeguard) over sockets it
// is handed, so that whole swarms run in memory unchanged. Members are named by
// their index in the roster; whoever is not in it is dropped, one by one, and
// does not hinder anybody else's join. Each member says a Meta of itself, and
// announces a Pointer to the newest order it holds; a pointer reaches the
// others as a broadcast, in ping acknowledgements and in full state exchanges.
// A member passes on only what its caller announced, so whoever is named as
// the sender of a pointer claims to hold the order, and a liar's pointer goes
// one hop.
//
// memberlist by itself never finds a member again after a long partition. A
// loop of ours tries those that are not alive, for as long as the node runs.
//
// All of this is a hint. Everybody who holds the gossip key can lie about
// everybody; nothing that installs software may trust it.
//
//	m, err := gossip.New(gossip.Config{Self: 3, Swarm: "field", Keys: keys, …})
//	go m.Run(ctx)
//	m.Announce(newest)
//	for h := range m.Pointers() { … } // pull the order from h.From, verify it, Announce it
package gossip

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/gossip/member"
)

var (
	// ErrRan is returned by a second Run, or one after Close: make a new Membership.
	ErrRan = errors.New("gossip: a membership runs once")
	// ErrNotRunning is returned by Leave when nothing runs, so that nobody can
	// be told: call it before ending Run.
	ErrNotRunning = errors.New("gossip: not running")
)

// A Membership is one node's part in the gossip of one swarm. Its methods may
// be called by several goroutines at once.
type Membership struct {
	cfg       Config
	log       *slog.Logger
	advertise netip.AddrPort
	keyring   *memberlist.Keyring
	run       uint64 // random: tells this run from a clone's
	table     *table
	board     *board
	queue     *memberlist.TransmitLimitedQueue // of the pointer
	count     counters
	trips     trips
	meta      atomic.Pointer[Meta]
	list      atomic.Pointer[memberlist.Memberlist] // nil until Run has made it
	keys      keyLock

	started atomic.Bool
	left    atomic.Bool   // Leave was carried out
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when Run returns
	once    sync.Once     // of Close

	changes   chan struct{}   // depth 1, merged
	metaNews  chan struct{}   // depth 1, merged; read by speak
	boardNews chan struct{}   // depth 1, merged; read by hand
	heard     chan Heard      // unbuffered, sent by hand alone: always the best at this moment
	events    chan event      // to tell; full: dropped and counted
	clashes   chan Conflict   // to judge; full: dropped and counted, they repeat
	asks      chan ask        // to reply; full: dropped and counted, they repeat
	answers   chan answer     // to judge; full: dropped and counted
	conflicts chan Conflict   // to the caller; full: dropped and counted
	leaving   chan chan error // to speak, which answers
}

// queueDepth bounds events, clashes, asks, answers and conflicts.
const queueDepth = 64

// New checks cfg and returns a Membership that does nothing until Run. Errors
// wrap ErrConfig.
func New(cfg Config) (*Membership, error) {
	m, err := build(cfg)
	if err != nil {
		if cfg.Packets != nil {
			err = errors.Join(err, ignoreClosed(cfg.Packets.Close()))
		}
		if cfg.Streams != nil {
			err = errors.Join(err, ignoreClosed(cfg.Streams.Close()))
		}
		return nil, err
	}
	return m, nil
}

func build(cfg Config) (*Membership, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	advertise, err := cfg.address()
	if err != nil {
		return nil, err
	}
	keyring := &memberlist.Keyring{}
	if err := replaceKeys(keyring, cfg.Keys); err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := &Membership{
		cfg: cfg, log: log, advertise: advertise, keyring: keyring,
		table: newTable(cfg.Self), board: newBoard(cfg.Profile.Rejoin()),
		keys: newKeyLock(),
		stop: make(chan struct{}), done: make(chan struct{}),
		changes: make(chan struct{}, 1), metaNews: make(chan struct{}, 1), boardNews: make(chan struct{}, 1),
		heard: make(chan Heard), events: make(chan event, queueDepth), clashes: make(chan Conflict, queueDepth),
		asks: make(chan ask, queueDepth), answers: make(chan answer, queueDepth),
		conflicts: make(chan Conflict, queueDepth), leaving: make(chan chan error),
	}
	m.meta.Store(&cfg.Meta)
	m.queue = &memberlist.TransmitLimitedQueue{NumNodes: m.table.alive, RetransmitMult: cfg.Profile.memberlist().RetransmitMult}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("gossip: no randomness: %w", err)
	}
	m.run = binary.BigEndian.Uint64(seed[:])
	return m, nil
}

// Run takes part until ctx ends or Close is called, and then returns nil. It
// says no goodbye: the others will find this node dead; see Leave.
func (m *Membership) Run(ctx context.Context) error {
	if !m.started.CompareAndSwap(false, true) {
		return ErrRan
	}
	defer close(m.done)
	g, ctx := errgroup.WithContext(ctx)
	t := newTransport(ctx, &m.cfg, m.advertise, &m.count)
	bridge := newBridge(m.log, &m.count, m.suspect)
	list, err := m.create(t, bridge)
	if err != nil {
		return errors.Join(fmt.Errorf("gossip: start memberlist: %w", err), t.Shutdown())
	}
	m.list.Store(list)

	g.Go(t.readPackets)
	g.Go(t.acceptStreams)
	g.Go(func() error { return m.speak(ctx, list) })
	g.Go(func() error { return m.rejoin(ctx, list) })
	g.Go(func() error { return m.hand(ctx) })
	g.Go(func() error { return m.judge(ctx, list) })
	g.Go(func() error { return m.reply(ctx, list) })
	g.Go(func() error { return m.tell(ctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-m.stop:
		}
		bridge.mute.Store(true)
		if err := t.Shutdown(); err != nil {
			return fmt.Errorf("gossip: close the sockets: %w", err)
		}
		return errStopped
	})
	if err = g.Wait(); errors.Is(err, errStopped) {
		err = nil
	}
	// Only now, when nobody calls it any more: a Leave after Shutdown panics.
	return errors.Join(err, list.Shutdown())
}

// errStopped ends Run's group without being an error.
var errStopped = errors.New("gossip: stopped")

func (m *Membership) create(t *transport, b *bridge) (*memberlist.Memberlist, error) {
	c := m.cfg.Profile.memberlist()
	c.Name = strconv.Itoa(int(m.cfg.Self))
	c.Label = m.cfg.Swarm
	c.Keyring = m.keyring
	c.Transport = t
	c.BindPort = int(m.advertise.Port())
	c.Logger = b.logger()
	d := &delegate{m}
	c.Delegate, c.Events, c.Conflict, c.Ping, c.Alive = d, d, d, d, d
	return memberlist.Create(c)
}

// Close frees the sockets and ends Run. It may be called at any time, and twice.
func (m *Membership) Close() error {
	var err error
	m.once.Do(func() {
		close(m.stop)
		if m.started.CompareAndSwap(false, true) { // Run never came, and now cannot
			err = ignoreClosed(m.cfg.Packets.Close(), m.cfg.Streams.Close())
			close(m.done)
		}
	})
	<-m.done
	return err
}

// Members returns everybody heard of in this run, dead or alive and self
// included, by index. Nobody changes the slice: neither should the caller. It
// is empty before Run.
func (m *Membership) Members() []Member { return m.table.all() }

// Lookup returns one of Members.
func (m *Membership) Lookup(i member.Index) (Member, bool) { return m.table.lookup(i) }

// Changes has a value when something in Members changed since it was last
// received from. It never closes.
func (m *Membership) Changes() <-chan struct{} { return m.changes }

// Conflicts has members that run twice; see Conflict. It never closes; of more
// than 64 unread ones the rest is lost, but a conflict is found again and again.
func (m *Membership) Conflicts() <-chan Conflict { return m.conflicts }

// Announce tells everybody, now and when they join, of an order that this node
// holds, has verified and can serve. Only a later pointer replaces an earlier one.
func (m *Membership) Announce(p Pointer) {
	if m.board.announce(p) {
		m.queue.QueueBroadcast(broadcast((&statement{heard: Heard{p, m.cfg.Self}}).encode(kindPointer)))
		nudge(m.boardNews)
	}
}

// Pointers has pointers that others announced and that are later than the one
// this node announced, or that contradict it. What is received is the best
// choice at that moment. The same pointer from the same member comes again
// after a while, until this node announces it or a later one. It never closes.
func (m *Membership) Pointers() <-chan Heard { return m.heard }

// Stats returns the counters.
func (m *Membership) Stats() Stats {
	s := m.count.stats()
	s.Alive = m.table.alive()
	if list := m.list.Load(); list != nil {
		s.Health = list.GetHealthScore()
	}
	return s
}

// nudge puts a value into a channel of depth 1, if there is none.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
