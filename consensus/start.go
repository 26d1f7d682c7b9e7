package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/consensus/order"
)

// raftConfig derives all of raft's times from H.
func (r *Replica) raftConfig() *raft.Config {
	h := r.cfg.Heartbeat
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(r.cfg.Server)
	// A leader gives up when it has not heard a quorum for as long as they wait for it.
	// It need not be sooner, as raft's own h/2 is: nothing here is read under a lease, and
	// on a full radio an answer takes seconds.
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = h, h, h
	// Followers learn what is committed within twice this time. Raft sends a message
	// each time even if nothing happens: h/20 would be two thirds of an idle voter's traffic.
	c.CommitTimeout = h / 5
	c.MaxAppendEntries = 16
	c.TrailingLogs = r.cfg.SnapshotEvery / 4
	// Only this package knows when a snapshot can be certified: compact takes them.
	c.SnapshotThreshold, c.SnapshotInterval = 1<<62, 365*24*time.Hour
	c.ShutdownOnRemove = false // a voter without a seat waits for its node to close it
	c.NoLegacyTelemetry = true
	c.Logger = newBridge(r.log)
	return c
}

// start opens the log, brings the memory of signatures up to it, and starts raft.
func (r *Replica) start(ctx context.Context) (_ *engine, _ chan raft.Observation, err error) {
	conf := r.raftConfig()
	e := &engine{tasks: &tasks{open: true}}
	if e.disk, err = openDisk(r.cfg.Dir, r.log, r.fail); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.disk.Close())
		}
	}()
	e.disk.applied, e.disk.restored = func() uint64 { return r.State().Index }, r.restored.Load
	if e.store, err = openStore(r.cfg.Dir, conf.Logger, r.freshLedger, fitsLedger); err != nil {
		return nil, nil, err
	}
	timeout := rpcTimeout(r.cfg.Heartbeat)
	e.layer = newLayer(ctx, r, timeout)
	has, err := raft.HasExistingState(e.disk, e.disk, e.store)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if err = r.remember(e, has); err != nil {
		return nil, nil, err
	}
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: e.layer, MaxPool: 2, MaxRPCsInFlight: 1, Timeout: timeout, Logger: conf.Logger,
	})
	t.TimeoutScale = 4 << 10 // a snapshot may take the timeout for each 4 KiB
	e.guard = newGuard(t, r.Term, r.fits)
	if founders := r.cfg.Genesis.Order.Electorate; !has && slices.Contains(founders.Voters, r.self) {
		if err = raft.BootstrapCluster(conf, e.disk, e.disk, e.store, e.guard, configuration(founders)); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%w: bootstrap: %v", ErrDamaged, err), t.Close())
		}
	}
	if e.raft, err = raft.NewRaft(conf, (*machine)(r), e.disk, e.disk, e.store, e.guard); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%w: start raft: %w", ErrDamaged, err), t.Close())
	}
	e.disk.armed.Store(true)
	notices := make(chan raft.Observation, 64) // from raft, which drops what does not fit
	e.raft.RegisterObserver(raft.NewObserver(notices, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation, raft.PeerObservation:
			return true
		}
		return false
	}))
	return e, notices, nil
}

// remember compares the memory of signatures and of snapshots with the log.
func (r *Replica) remember(e *engine, has bool) error {
	r.mu.Lock()
	lost, newest := r.lost(), r.tally.newest()
	r.mu.Unlock()
	if !has && lost != nil {
		return lost
	}
	last, err := e.disk.LastIndex()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	metas, err := e.store.List()
	if err != nil {
		return fmt.Errorf("%w: list snapshots: %v", ErrDamaged, err)
	}
	if len(metas) > 0 {
		r.cut.Store(metas[0].Index)
		last = max(last, metas[0].Index)
	}
	if r.vows.damaged && has {
		r.log.Error("memory of signatures damaged: nothing in the log so far will be signed again", "index", last)
	}
	return r.vows.raise(max(last, newest))
}

// configuration is raft's view of an electorate.
func configuration(e order.Electorate) raft.Configuration {
	var c raft.Configuration
	for _, v := range e.Voters {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(v.Server), Address: address(v)})
	}
	return c
}

// fitsLedger reports whether c can be the configuration of a voter that has
// verified this much: near one of the electorates so far.
func fitsLedger(c raft.Configuration, l *order.Ledger) error {
	if err := wellFormed(c); err != nil {
		return err
	}
	if near(c, &l.Genesis().Order.Electorate) {
		return nil
	}
	for _, p := range l.Chain() {
		if near(c, &p.Order.Electorate) {
			return nil
		}
	}
	return fmt.Errorf("%w: a configuration of %d servers that no electorate had", errGuard, len(c.Servers))
}

// fits is fitsLedger for what this replica knows, certified or not.
func (r *Replica) fits(c raft.Configuration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := fitsLedger(c, r.tally.ledger)
	if err != nil && wellFormed(c) == nil && slices.ContainsFunc(r.tally.electorates(), func(e *order.Electorate) bool { return near(c, e) }) {
		return nil
	}
	return err
}
