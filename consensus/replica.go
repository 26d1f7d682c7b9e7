// Package consensus is a voter's copy of what the swarm decides.
//
// Decisions go through a log that hashicorp/raft replicates among the voters.
// Raft orders, it never authorises: it believes whoever leads. So the Replica
// believes nothing that raft brings. Each decision is checked by rollout.State; each
// voter that applied a decision which changed the order asks its own Checker, writes
// down what it is about to sign, signs, and sends the signature to the others. A quorum
// of signatures makes an order.Certificate, and only a certified order counts with
// robots. A captured leader can thereby delay, and nothing else.
//
// The same holds inside: only keys with a certified seat may speak raft to a
// Replica, entries that raft would choke on are refused, and a snapshot is let in
// only if its certificate, followed from the genesis on, proves it.
//
//	r, err := consensus.New(consensus.Config{Dir: dir, Key: key, Genesis: g, …})
//	go r.Run(ctx)
//	for range r.NewCertificate() {
//		gossip(r.Certified())
//	}
package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// Replica is one voter. Its methods may be called from any goroutine; what they
// return is shared and must not be changed.
type Replica struct {
	cfg  Config
	log  *slog.Logger
	self order.Voter
	lock *flock.Flock
	vows *vows // owned by Run

	yielded time.Time // when the lead was last given up for the time; owned by steer

	state  atomic.Pointer[rollout.State]
	proven atomic.Pointer[provenance]
	engine atomic.Pointer[engine] // nil unless Run runs
	cut    atomic.Uint64          // index of the last snapshot
	// restored is the index of the snapshot that the state started from.
	restored atomic.Uint64

	// Signals, each of capacity 1: a full one is merged with the next. Nobody closes them.
	changed, fresh                           chan struct{}
	wakeSign, wakeKeep, wakeDeliver, wakeCut chan struct{}
	ran                                      chan struct{} // closed when Run has ended, or can no longer start

	mu    sync.Mutex // guards what follows; never held over I/O, channels or callbacks
	tally *tally
	owed  map[envelope.Key]uint64 // voters that lack the certificate of this index
	ahead uint64                  // highest index that this voter refused for its time
	// objections are the indexes that voters, by key, refused for their time.
	objections map[envelope.Key]uint64
	prepared   map[string]time.Time    // server ids that PrepareVoter works on, until when
	quiet      chan struct{}           // proposals wait until it closes; nil is none
	stop       context.CancelCauseFunc // ends Run; nil before
	closed     bool
}

// provenance is what is certified, on the disk, and therefore published.
type provenance struct {
	newest order.Proven
	chain  []order.Proven
}

// New checks the config, takes the directory and reads what was certified before.
// Errors are those of Validate, ErrBusy, ErrOther, ErrLost and ErrDamaged.
func New(cfg Config) (*Replica, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = DefaultHeartbeat
	}
	if cfg.SnapshotEvery == 0 {
		cfg.SnapshotEvery = DefaultSnapshotEvery
	}
	if cfg.Checker == nil {
		cfg.Checker = func(_, _ *rollout.State) error { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	signal := func() chan struct{} { return make(chan struct{}, 1) }
	r := &Replica{
		cfg: cfg, log: cfg.Log, self: order.Voter{Member: cfg.Self, Key: envelope.KeyOf(cfg.Key), Server: cfg.Server},
		changed: signal(), fresh: signal(), wakeSign: signal(), wakeKeep: signal(), wakeDeliver: signal(), wakeCut: signal(),
		ran: make(chan struct{}), owed: map[envelope.Key]uint64{}, prepared: map[string]time.Time{}, objections: map[envelope.Key]uint64{},
	}
	start := rollout.NewState(cfg.Genesis, cfg.GenesisDigest, cfg.TrustRoot)
	r.state.Store(start)
	r.tally = newTally(r.freshLedger(), start)
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.release())
	}
	return r, nil
}

func (r *Replica) freshLedger() *order.Ledger {
	return order.NewLedger(r.cfg.Genesis, r.cfg.Genesis.Seal())
}

// open takes the directory and loads what this seat promised and proved.
func (r *Replica) open() error {
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	r.lock = flock.New(filepath.Join(r.cfg.Dir, lockFile))
	if ok, err := r.lock.TryLock(); err != nil {
		return fmt.Errorf("%w: lock: %v", ErrDamaged, err)
	} else if !ok {
		return fmt.Errorf("%w: %s", ErrBusy, r.cfg.Dir)
	}
	var err error
	if r.vows, err = openVows(filepath.Join(r.cfg.Dir, vowFile), r.cfg.GenesisDigest); err != nil {
		return err
	}
	r.loadProof()
	for _, p := range r.cfg.Known {
		if err := r.tally.learn(p); !harmless(err) {
			return fmt.Errorf("consensus: an order in Known: %w", err)
		}
	}
	if !Exists(r.cfg.Dir) {
		return r.lost()
	}
	return nil
}

// loadProof takes up the file of certificates. One that cannot be read is no loss: the
// others have it, and everything in it proves itself.
func (r *Replica) loadProof() {
	data, err := readLimited(filepath.Join(r.cfg.Dir, proofFile), int64(maxProofBytes))
	if errors.Is(err, os.ErrNotExist) {
		r.publish()
		return
	}
	var p proof
	if err == nil {
		err = canonical.DecodeFormat(data, maxProofBytes, "certificates", SnapshotFormat, &p)
	}
	var l *order.Ledger
	if err == nil {
		l, err = p.open(r.freshLedger)
	}
	if err != nil {
		r.log.Warn("certificates unreadable, starting from the genesis", "err", err)
	} else {
		r.tally.ledger = l
	}
	r.publish()
}

// lost returns ErrLost if this very seat has taken part in something certified. The
// caller holds mu, or is New.
func (r *Replica) lost() error {
	seat := func(e *order.Electorate) bool { return slices.Contains(e.Voters, r.self) }
	l := r.tally.ledger
	if l.Newest().Certificate == nil {
		return nil
	}
	was := seat(&l.Genesis().Order.Electorate)
	for _, p := range l.Chain() {
		was = was || seat(&p.Order.Electorate)
	}
	if was {
		return fmt.Errorf("%w: server %s, the swarm is at %s", ErrLost, r.cfg.Server, l.Newest().Order.Pointer())
	}
	return nil
}

// publish makes what the ledger holds visible.
func (r *Replica) publish() {
	r.proven.Store(&provenance{newest: r.tally.ledger.Newest(), chain: slices.Clone(r.tally.ledger.Chain())})
}

// Close ends Run, waits for it, and gives the directory back.
func (r *Replica) Close() error {
	r.mu.Lock()
	first, stop := !r.closed, r.stop
	r.closed = true
	r.mu.Unlock()
	if !first {
		<-r.ran
		return nil
	}
	if stop == nil {
		close(r.ran)
	} else {
		stop(nil)
		<-r.ran
	}
	return r.release()
}

func (r *Replica) release() error {
	var errs []error
	if r.vows != nil {
		errs = append(errs, r.vows.close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Close())
	}
	return errors.Join(errs...)
}

// State is the state after the last decision applied, certified or not.
func (r *Replica) State() *rollout.State { return r.state.Load() }

// Certified is the newest certified order; its Certificate is nil before the first.
func (r *Replica) Certified() order.Proven { return r.proven.Load().newest }

// Chain are the certified orders that changed the electorate, oldest first.
func (r *Replica) Chain() []order.Proven { return r.proven.Load().chain }

// Changed receives when the state, the leader or the raft configuration may have changed.
func (r *Replica) Changed() <-chan struct{} { return r.changed }

// NewCertificate receives when Certified has a newer order, already on the disk.
func (r *Replica) NewCertificate() <-chan struct{} { return r.fresh }

// Evidence is proof against hostile voters, at most one entry for each voter and index.
func (r *Replica) Evidence() []Evidence {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tally.evidence)
}

// Signatures are this voter's own signatures that wait for a certificate.
func (r *Replica) Signatures() []SignedStatement {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(r.tally.own(r.self.Key), SignedStatement.settled)
}

// IsLeader reports whether this voter leads, as far as it knows.
func (r *Replica) IsLeader() bool {
	e := r.engine.Load()
	return e != nil && e.raft.State() == raft.Leader
}

// Term is raft's current term, zero before Run.
func (r *Replica) Term() uint64 {
	if e := r.engine.Load(); e != nil {
		return e.raft.CurrentTerm()
	}
	return 0
}

// Leader is the voter that leads, and whether there is one that this voter knows of.
func (r *Replica) Leader() (order.Voter, bool) {
	e := r.engine.Load()
	if e == nil {
		return order.Voter{}, false
	}
	_, id := e.raft.LeaderWithID()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, el := range r.tally.electorates() {
		for _, v := range el.Voters {
			if v.Server == string(id) {
				return v, true
			}
		}
	}
	return order.Voter{}, false
}

// poke wakes whoever listens to a signal of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has not looked yet since the last time
	}
}
