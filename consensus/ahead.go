package consensus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// yieldEvery is how many heartbeats a voter that led again after it had yielded
// waits before it yields once more: an election and a decision take a few.
const yieldEvery = 10

// A voter signs no order whose time is ahead of its own. A leader whose clock is
// ahead of a quorum's would so lead for ever, and nothing it proposes would count.
// Nobody need be wrong on purpose, and nobody knows whose clock is right. So a voter
// that refuses for the time says so, and a leader that hears it from so many that no
// quorum is left gives the lead to one of them. An earlier time is one that all can
// sign. The word is not signed: it comes over the voter's own connection, it moves
// the lead and nothing else, and fewer than a blocking part of the voters are not heard.

// objection is this voter's word that it does not sign the newest order for its
// time, if that is so. The caller holds mu.
func (r *Replica) objection() (SignedStatement, bool) {
	n := len(r.tally.candidates)
	if n == 0 || r.tally.candidates[n-1].order.Index != r.ahead {
		return SignedStatement{}, false
	}
	g := &r.cfg.Genesis.Order
	return SignedStatement{
		Statement: order.Statement{Swarm: g.Swarm, Generation: g.Generation, Index: r.ahead},
		Signature: envelope.Signature{Key: r.self.Key}, Certified: r.tally.newest(), Ahead: true,
	}, true
}

// object records the word of a voter that an order's time is ahead of its own.
func (r *Replica) object(from envelope.Key, s SignedStatement) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, seated := r.tally.seat(from); !seated || s.Signature.Key != from {
		return fmt.Errorf("%w: an objection of %s from %s", ErrStranger, s.Signature.Key.Short(), from.Short())
	}
	r.objections[from] = s.Statement.Index
	return nil
}

// objectors are the voters without whom there is no quorum for the newest order, if
// so many object to its time; else nil.
func (r *Replica) objectors() []order.Voter {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []order.Voter
	voters := r.tally.ledger.Electorate().Voters
	for k := range r.objections {
		if r.tally.ledger.Electorate().Seat(k) < 0 {
			delete(r.objections, k)
		}
	}
	for _, v := range voters {
		if at := r.objections[v.Key]; at > r.tally.newest() && r.tally.mine(at) != nil && v.Key != r.self.Key {
			out = append(out, v)
		}
	}
	if len(out) <= len(voters)-order.Quorum(len(voters)) {
		return nil
	}
	return out
}

// yield gives the lead to a voter that objects to the time, if so many do that
// nothing this one proposes would be certified.
func (r *Replica) yield(ctx context.Context, e *engine) error {
	to := r.objectors()
	if len(to) == 0 || time.Since(r.yielded) < yieldEvery*r.cfg.Heartbeat {
		return nil
	}
	r.yielded = time.Now()
	r.log.Warn("a quorum finds the order's time ahead of its own: giving up the lead; look at this machine's clock", "voters", len(to))
	return r.transfer(ctx, e, func(v order.Voter) bool { return slices.Contains(to, v) })
}
