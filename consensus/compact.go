package consensus

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/consensus/rollout"
)

// compact cuts the log: only at an index whose state is certified, for a snapshot
// without a certificate would be the leader's word. If none comes by itself, the
// leader proposes a checkpoint and keeps other proposals back until it is certified,
// for two heartbeats at most.
func (r *Replica) compact(ctx context.Context, e *engine) error {
	h := r.cfg.Heartbeat
	again := time.NewTicker(h)
	defer again.Stop()
	var tried time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wakeCut:
		case <-again.C:
		}
		switch {
		case r.State().Index < r.cut.Load()+r.cfg.SnapshotEvery:
			continue
		case r.atCertified():
			r.snapshot(ctx, e)
		case r.IsLeader() && time.Since(tried) > 10*h:
			tried = time.Now()
			r.checkpoint(ctx, e)
		}
	}
}

// atCertified reports whether the state can be snapshot right now.
func (r *Replica) atCertified() bool {
	c := r.Certified().Certificate
	return c != nil && c.Statement.Index == r.State().Index
}

func (r *Replica) snapshot(ctx context.Context, e *engine) {
	index := r.State().Index
	err := e.await(ctx, e.raft.Snapshot())
	switch {
	case err == nil:
		metas, err := e.store.List()
		if err == nil && len(metas) > 0 {
			r.cut.Store(metas[0].Index)
		}
		r.log.Info("log cut", "index", r.cut.Load())
	case errors.Is(err, raft.ErrNothingNewToSnapshot):
	case ctx.Err() == nil: // a decision came in between, or a change of seats is under way
		r.log.Debug("log not cut, trying again", "index", index, "err", err)
	}
}

// now is the time to stamp: the local one, but not below what is certified. The
// state's own is not asked: an earlier leader may have been wrong.
func (r *Replica) now() int64 { return max(time.Now().Unix(), r.Certified().Order.Time) }

// checkpoint proposes a new order index and waits until it is certified.
func (r *Replica) checkpoint(ctx context.Context, e *engine) {
	quiet := make(chan struct{})
	r.mu.Lock()
	r.quiet = quiet
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.quiet = nil
		r.mu.Unlock()
		close(quiet)
	}()
	ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.Heartbeat)
	defer cancel()
	d := &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindCheckpoint, Time: r.now()}
	if err := r.propose(ctx, e, d); err != nil {
		r.log.Debug("no checkpoint, trying again later", "err", err)
		return
	}
	for !r.atCertified() {
		select {
		case <-r.wakeCut:
		case <-ctx.Done():
			return
		}
	}
	r.snapshot(ctx, e)
}
