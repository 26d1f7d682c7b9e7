package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/consensus/rollout"
)

// refusedMost bounds how long the same content is not proposed again, in times of a
// call: each refusal is an entry of the log and of its history.
const refusedMost = 12

// A refusal is what the swarm has refused to publish, and until when it is not
// proposed again: twice as long each time. Other content is proposed at once.
type refusal struct {
	of    rollout.Publish
	until time.Time
	wait  time.Duration
}

// waits reports whether p was refused, and it is too early to propose it again.
func (r *refusal) waits(p *rollout.Publish, now time.Time) bool {
	return samePublish(&r.of, p) && now.Before(r.until)
}

// note records that p was refused.
func (r *refusal) note(p *rollout.Publish, now time.Time, t timing) {
	if !samePublish(&r.of, p) {
		r.of, r.wait = *p, t.retry
	} else {
		r.wait = min(2*r.wait, refusedMost*t.call)
	}
	r.until = now.Add(r.wait)
}

// samePublish compares what is published and in place of what; roles come with the
// trust metadata.
func samePublish(p, q *rollout.Publish) bool {
	return p.Trust == q.Trust && p.Roster == q.Roster && p.ExpectTrust == q.ExpectTrust && p.ExpectRoster == q.ExpectRoster
}

// mayPropose reports whether the trust metadata here is what the order names, or was
// made from it. Else it is older, or another laptop published first.
func (v *View) mayPropose() bool {
	return v.Trust.Ref() == v.Order.Trust || (v.undecided && v.base == v.Order.Trust.Digest)
}

// publish brings the roster and the trust metadata to the voters, each time the
// swarm's are older than those here.
func (o *operator) publish(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		v := o.n.keeper.View()
		select {
		case <-ctx.Done():
			return nil
		case <-v.past:
		case <-retry.C:
			retry.Reset(o.n.time.retry)
		}
		if err := o.publishOnce(ctx, o.n.keeper.View()); err != nil && ctx.Err() == nil {
			o.n.log.Warn("the swarm does not have it yet, trying again", "err", err)
		}
	}
}

// publishOnce proposes what the order in v does not have yet, if it was made from what
// the order has.
func (o *operator) publishOnce(ctx context.Context, v *View) error {
	if v.Order == nil { // the genesis will carry it
		return nil
	}
	if v.Order.Trust == v.Trust.Ref() && v.Order.Roster == v.RosterRef {
		return nil
	}
	if !v.mayPropose() || o.n.docs.forked(v.Roster, v.RosterRef, v.Order.Roster) {
		return nil // what the order names is on its way here, and ours gives way to it
	}
	p := &rollout.Publish{
		Format: rollout.PublishFormat, Swarm: v.Swarm, ExpectTrust: v.Order.Trust.Digest, ExpectRoster: v.Order.Roster.Digest,
		Trust: v.Trust.Ref(), Roster: v.RosterRef, Roles: v.Trust.Roles(),
	}
	if err := p.Roles.Check(); err != nil {
		return fmt.Errorf("publish trust metadata %d.%d: %w", p.Trust.Root, p.Trust.Targets, err)
	}
	if o.sent.Trust == p.Trust && o.sent.Roster == p.Roster && time.Since(o.sentAt) < o.n.time.call {
		return nil
	}
	if o.refusal.waits(p, time.Now()) {
		return nil
	}
	if v.Order.Trust == p.Trust && o.mayWait(v) && time.Since(o.sentAt) < o.n.joinPause(v) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.n.time.call)
	defer cancel()
	err := o.n.propose(ctx, &rollout.Decision{
		Format: rollout.DecisionFormat, Kind: rollout.KindPublish, Publish: p.Seal().Sign(o.key).Encode(),
	})
	if errors.Is(err, ErrProposal) {
		o.refusal.note(p, time.Now(), o.n.time)
	}
	if err == nil {
		o.sent, o.sentAt = *p, time.Now()
	}
	return err
}

// joinPause is how long a roster that only lets robots in waits for more of them. Each
// roster goes to all members whole: in a crowd, one for each robot that joins would be
// megabytes for each. A swarm of 300 waits six seconds.
func (n *Node) joinPause(v *View) time.Duration {
	if !n.crowded(v) {
		return 0
	}
	return time.Duration(len(v.Roster.Members)) * time.Second / 50
}

// mayWait reports whether the roster in v is the swarm's, or only lets robots in beside it.
func (o *operator) mayWait(v *View) bool {
	p := o.patient.Load()
	return v.Order != nil && (v.RosterRef == v.Order.Roster || p != nil && *p == v.RosterRef.Digest)
}
