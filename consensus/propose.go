package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// Propose puts a decision into the log and waits until it is applied here; on the
// leader only, ErrNotLeader elsewhere. It stamps nothing. ErrRefused wraps why the
// decision does not hold; ErrUnsure says that nobody knows yet; ErrStopped that Run does not run. If
// ctx ends first, the decision may still be applied. d must not be changed meanwhile.
func (r *Replica) Propose(ctx context.Context, d *rollout.Decision) error {
	e := r.engine.Load()
	if e == nil {
		return ErrStopped
	}
	if !r.IsLeader() {
		return r.notLeader()
	}
	if d.SetVoters != nil {
		if err := r.mayChange(ctx, e, d.SetVoters); err != nil {
			return err
		}
	}
	r.mu.Lock()
	quiet := r.quiet
	r.mu.Unlock()
	if quiet != nil {
		select {
		case <-quiet:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.propose(ctx, e, d)
}

func (r *Replica) propose(ctx context.Context, e *engine, d *rollout.Decision) error {
	data := d.Encode()
	if len(data) > rollout.MaxDecisionBytes {
		return fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrRefused, len(data), rollout.MaxDecisionBytes)
	}
	f := e.raft.Apply(data, r.cfg.Heartbeat)
	if err := r.leading(e.await(ctx, f)); err != nil {
		return fmt.Errorf("propose %s: %w", d.Kind, err)
	}
	if reason, ok := f.Response().(error); ok {
		return fmt.Errorf("%w: %w", ErrRefused, reason)
	}
	return nil
}

// leading puts raft's errors of those who do not lead into our words.
func (r *Replica) leading(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return r.notLeader()
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %v", ErrUnsure, err)
	}
	return err
}

func (r *Replica) notLeader() error {
	v, ok := r.Leader()
	if !ok || v.Key == r.self.Key {
		return ErrNotLeader{}
	}
	return ErrNotLeader{Leader: v}
}

// HandOver gives the lead to the voter whose log is the newest: before this robot
// updates, leaves, or loses its seat. On a follower it does nothing. If no other voter can lead it
// returns why, and this one still does.
func (r *Replica) HandOver(ctx context.Context) error {
	e := r.engine.Load()
	if e == nil {
		return ErrStopped
	}
	if !r.IsLeader() {
		return nil
	}
	if err := r.transfer(ctx, e, func(order.Voter) bool { return true }); err != nil && !errors.Is(err, raft.ErrNotLeader) {
		return fmt.Errorf("hand over the lead: %w", err)
	}
	return nil
}

// transfer moves the lead to the seated voter that has acknowledged most, of those
// that may: raft itself could choose one that is only prepared, whom nobody would follow.
func (r *Replica) transfer(ctx context.Context, e *engine, may func(order.Voter) bool) error {
	var to order.Voter
	for _, v := range r.Certified().Order.Electorate.Voters {
		if v.Key != r.self.Key && may(v) && (to.Server == "" || e.guard.acknowledged(raft.ServerID(v.Server)) > e.guard.acknowledged(raft.ServerID(to.Server))) {
			to = v
		}
	}
	if to.Server == "" {
		return errors.New("there is no other voter")
	}
	return e.await(ctx, e.raft.LeadershipTransferToServer(raft.ServerID(to.Server), address(to)))
}
