package consensus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// preparedFor is how many heartbeats a prepared voter keeps its place in raft while
// its set-voters decision is awaited.
const preparedFor = 60

// A seat changes hands in this order, so that raft never counts on somebody who
// is not there and no certificate is ever out of reach:
//
//	PrepareVoter   the new one catches up without a vote, then gets one in raft
//	Endorse        a quorum of the voters sign that they want it: rollout.SetVoters
//	set-voters     the decision; certified by a quorum of the old and of the new
//	steer          the one that left is removed from raft
//
// Apply asks for the endorsements, so that a captured leader cannot have a change
// applied that the others would never certify. One that it proposes too early, with
// genuine endorsements, is brought to its end by steer under the next leader.

// PrepareVoter lets v catch up and makes it a voter of raft, so that a set-voters
// decision can seat it: before voters are asked to endorse that. v's replica must run. On the leader only, ErrNotLeader elsewhere.
// It waits until v has caught up; if ctx ends first, v stays without a vote and is
// removed after a while. It may be repeated.
func (r *Replica) PrepareVoter(ctx context.Context, v order.Voter) error {
	e := r.engine.Load()
	if e == nil {
		return ErrStopped
	}
	if !r.IsLeader() {
		return r.notLeader()
	}
	id, addr := raft.ServerID(v.Server), address(v)
	if _, _, err := parseAddress(addr); err != nil {
		return err
	}
	c, err := r.raftServers(ctx, e)
	if err != nil {
		return err
	}
	r.hold(v.Server)
	if suffrage(c, v) == raft.Voter {
		return nil
	}
	if len(c.Servers) > len(r.State().Electorate.Voters)+1 {
		return fmt.Errorf("%w: another seat is changing hands, wait until it has", ErrRefused)
	}
	if err := r.leading(e.await(ctx, e.raft.AddNonvoter(id, addr, 0, r.cfg.Heartbeat))); err != nil {
		return fmt.Errorf("add member %d without a vote: %w", v.Member, err)
	}
	if err := r.caughtUp(ctx, e, v); err != nil {
		return err
	}
	if err := r.leading(e.await(ctx, e.raft.AddVoter(id, addr, 0, r.cfg.Heartbeat))); err != nil {
		return fmt.Errorf("give member %d a vote: %w", v.Member, err)
	}
	r.hold(v.Server)
	return nil
}

// Prepared reports whether v has a vote in raft, as far as this voter knows: before
// that a voter endorses nothing that seats v.
func (r *Replica) Prepared(v order.Voter) bool {
	e := r.engine.Load()
	return e != nil && suffrage(e.raft.GetConfiguration().Configuration(), v) == raft.Voter
}

// hold keeps steer from removing a server for a while.
func (r *Replica) hold(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepared[server] = time.Now().Add(preparedFor * r.cfg.Heartbeat)
}

// caughtUp waits until v has acknowledged all that is in the log now.
func (r *Replica) caughtUp(ctx context.Context, e *engine, v order.Voter) error {
	goal := e.raft.LastIndex()
	look := time.NewTicker(max(r.cfg.Heartbeat/4, 5*time.Millisecond))
	defer look.Stop()
	for e.guard.acknowledged(raft.ServerID(v.Server)) < goal {
		r.hold(v.Server)
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("member %d has caught up to %d of %d: %w", v.Member, e.guard.acknowledged(raft.ServerID(v.Server)), goal, ctx.Err())
		}
		if !r.IsLeader() {
			return r.notLeader()
		}
	}
	return nil
}

func (r *Replica) raftServers(ctx context.Context, e *engine) (raft.Configuration, error) {
	f := e.raft.GetConfiguration()
	if err := e.await(ctx, f); err != nil {
		return raft.Configuration{}, fmt.Errorf("read raft's configuration: %w", err)
	}
	return f.Configuration(), nil
}

// suffrage is what v may do in c; raft.Staging, which raft no longer uses, stands
// for nothing.
func suffrage(c raft.Configuration, v order.Voter) raft.ServerSuffrage {
	for _, s := range c.Servers {
		if s.ID == raft.ServerID(v.Server) && s.Address == address(v) {
			return s.Suffrage
		}
	}
	return raft.Staging
}

// mayChange refuses a change of seats that could not be certified or that raft is
// not ready for. It binds honest leaders only; what all replicas rely on, Apply
// checks itself.
func (r *Replica) mayChange(ctx context.Context, e *engine, d *rollout.SetVoters) error {
	r.mu.Lock()
	certified, length := r.tally.ledger.Electorate().Version, len(r.tally.ledger.Chain())
	r.mu.Unlock()
	switch {
	case r.State().Electorate.Version != certified:
		return fmt.Errorf("%w: the last change of voters has no certificate yet; wait for it", ErrRefused)
	case length >= MaxChain:
		return fmt.Errorf("%w: voters changed %d times; begin a new generation", ErrRefused, length)
	case d.Add == nil:
		return nil
	}
	c, err := r.raftServers(ctx, e)
	if err != nil {
		return err
	}
	if suffrage(c, *d.Add) != raft.Voter {
		return fmt.Errorf("%w: member %d is not prepared; call PrepareVoter first", ErrRefused, d.Add.Member)
	}
	r.hold(d.Add.Server)
	return nil
}

// steer brings raft's configuration in line with the certified electorate, while
// this voter leads.
func (r *Replica) steer(ctx context.Context, e *engine) error {
	again := time.NewTicker(r.cfg.Heartbeat)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		if !r.IsLeader() {
			continue
		}
		if err := r.yield(ctx, e); err != nil && ctx.Err() == nil {
			r.log.Debug("lead not given up, trying again", "err", err)
		}
		if err := r.steerOnce(ctx, e); err != nil && ctx.Err() == nil {
			r.log.Debug("raft configuration not changed, trying again", "err", err)
		}
	}
}

func (r *Replica) steerOnce(ctx context.Context, e *engine) error {
	want, applied := r.Certified().Order.Electorate, r.State().Electorate
	c, err := r.raftServers(ctx, e)
	if err != nil {
		return err
	}
	// Who is to certify a change must apply it first, and have a vote in raft by the
	// time that the one which leaves is listened to no more: that is at the certificate.
	for _, v := range applied.Voters {
		if suffrage(c, v) != raft.Voter {
			r.log.Info("voter added to raft", "member", v.Member, "server", v.Server)
			return r.leading(e.await(ctx, e.raft.AddVoter(raft.ServerID(v.Server), address(v), 0, r.cfg.Heartbeat)))
		}
	}
	if applied.Version != want.Version {
		return nil // a change is under way: both sides still count
	}
	for _, s := range c.Servers {
		_, server, err := parseAddress(s.Address)
		seated := slices.ContainsFunc(want.Voters, func(v order.Voter) bool { return v.Server == server && address(v) == s.Address })
		if err != nil || seated || r.held(server) {
			continue
		}
		if server == r.cfg.Server {
			return r.HandOver(ctx) // the next leader removes this one
		}
		r.log.Info("voter removed from raft", "server", server)
		return r.leading(e.await(ctx, e.raft.RemoveServer(s.ID, 0, r.cfg.Heartbeat)))
	}
	return nil
}

// held reports whether server is being prepared.
func (r *Replica) held(server string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.prepared[server]
	if ok && time.Now().After(until) {
		delete(r.prepared, server)
		return false
	}
	return ok
}
