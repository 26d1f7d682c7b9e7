package consensus

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/canonical"
)

// engine is what lives while Run runs.
type engine struct {
	raft  *raft.Raft
	guard *guard
	layer *layer
	store *store
	disk  *disk
	tasks *tasks
}

// tasks are goroutines that come and go: a wait for raft, a greeting.
type tasks struct {
	mu   sync.Mutex
	open bool // guarded by mu
	wg   sync.WaitGroup
}

// spawn runs f, unless everything is about to end.
func (t *tasks) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return false
	}
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		f()
	}()
	return true
}

// end lets no more begin, and waits for those that run, limit at most.
func (t *tasks) end(limit time.Duration) {
	t.mu.Lock()
	t.open = false
	t.mu.Unlock()
	done := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// Run takes part in consensus until ctx ends, then returns nil. Other ends are
// ErrDamaged, ErrLost, ErrDiverged, order.ErrFork (two orders were certified for one
// index: hold still and tell a person), rollout.ErrTooNew (the swarm is at a higher
// feature level: update this robot), or that Streams.Accept failed. It can be called once.
func (r *Replica) Run(parent context.Context) error {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	r.mu.Lock()
	if r.closed || r.stop != nil {
		r.mu.Unlock()
		return ErrStopped
	}
	r.stop = stop
	r.mu.Unlock()
	defer close(r.ran)

	g, ctx := errgroup.WithContext(ctx)
	e, notices, err := r.start(ctx)
	if err != nil {
		return errors.Join(err, r.cfg.Streams.Close())
	}
	r.engine.Store(e)
	r.log.Info("voter running", "member", r.cfg.Self, "server", r.cfg.Server, "index", r.State().Index)
	g.Go(func() error { return e.guard.watch(ctx) })
	g.Go(func() error { return e.layer.accept(func(f func()) { e.tasks.spawn(f) }) })
	g.Go(func() error { return r.notice(ctx, notices) })
	g.Go(func() error { return r.sign(ctx) })
	g.Go(func() error { return r.keep(ctx, e) })
	g.Go(func() error { return r.deliver(ctx, e) })
	g.Go(func() error { return r.compact(ctx, e) })
	g.Go(func() error { return r.steer(ctx, e) })
	g.Go(func() error { // the last: ends what the others wait for
		<-ctx.Done()
		r.engine.Store(nil)
		err := e.layer.Close()
		// Raft forgets to answer what it has taken up when it shuts down; cut off as
		// it is now, it answers everything within the lease.
		e.tasks.end(2 * r.cfg.Heartbeat)
		return errors.Join(err, e.raft.Shutdown().Error())
	})
	err = g.Wait()
	e.tasks.wg.Wait()
	err = errors.Join(err, e.disk.Close())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	return err
}

// fail ends Run with err.
func (r *Replica) fail(err error) {
	r.mu.Lock()
	stop := r.stop
	r.mu.Unlock()
	r.log.Error("replica stops", "err", err)
	if stop != nil {
		stop(err)
	}
}

// notice tells Changed of elections.
func (r *Replica) notice(ctx context.Context, notices <-chan raft.Observation) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-notices:
			switch d := o.Data.(type) {
			case raft.RaftState:
				r.log.Info("raft state", "state", d.String(), "term", r.Term())
			case raft.LeaderObservation:
				r.log.Info("leader", "server", string(d.LeaderID), "term", r.Term())
			}
			poke(r.changed)
		}
	}
}

// keep saves what is certified, then publishes it.
func (r *Replica) keep(ctx context.Context, e *engine) error {
	again := time.NewTicker(r.cfg.Heartbeat)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wakeKeep:
		case <-again.C: // a full disk may have space again
		}
		r.mu.Lock()
		newest, chain := r.tally.ledger.Newest(), slices.Clone(r.tally.ledger.Chain())
		r.mu.Unlock()
		if newest.Order.Pointer() == r.Certified().Order.Pointer() {
			continue
		}
		p := newProof(chain, newest)
		if err := replace(filepath.Join(r.cfg.Dir, proofFile), canonical.Encode(&p)); err != nil {
			r.log.Warn("certificate not saved, trying again", "index", newest.Order.Index, "err", err)
			continue
		}
		r.proven.Store(&provenance{newest: newest, chain: chain})
		r.log.Info("order certified", "index", newest.Order.Index, "order", newest.Order.Digest().Short())
		e.layer.prune()
		poke(r.fresh)
		poke(r.wakeCut)
	}
}

// await waits for a raft future. Raft answers each within an election timeout, or
// when it shuts down, so that the goroutine ends though ctx may end first.
func (e *engine) await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	if !e.tasks.spawn(func() { done <- f.Error() }) {
		return ErrStopped
	}
	select {
	case err := <-done:
		if errors.Is(err, raft.ErrRaftShutdown) {
			return ErrStopped
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
