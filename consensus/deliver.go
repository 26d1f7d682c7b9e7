package consensus

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

const (
	// maxAddressees bounds the voters that signatures go to: an old electorate and
	// a new one.
	maxAddressees = 2 * order.MaxVoters
	// maxOwed bounds the certificates sent to one that lacks them, oldest first; it
	// asks again for the rest.
	maxOwed = 4
)

// addressee is what deliver remembers of one voter.
type addressee struct {
	busy     bool                 // a push is under way
	sent     map[uint64]time.Time // when the signature for an index was handed over
	failures int
	retry    time.Time // not before; zero is any time
	settled  time.Time // when certificates were last sent
}

// delivery is how a push ended.
type delivery struct {
	to   envelope.Key
	sent []SignedStatement
	err  error
}

// deliver hands this voter's signatures to the others, again every H while they
// wait for a certificate, and certificates to voters that turn out to lack them.
func (r *Replica) deliver(ctx context.Context, e *engine) error {
	h := r.cfg.Heartbeat
	again := time.NewTicker(h)
	defer again.Stop()
	to := map[envelope.Key]*addressee{}
	done := make(chan delivery) // from pushes to here
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wakeDeliver:
		case <-again.C:
		case d := <-done:
			to[d.to].note(d, h)
		}
		own, voters := r.outbox()
		for _, v := range voters {
			a := to[v.Key]
			if a == nil {
				a = &addressee{sent: map[uint64]time.Time{}}
				to[v.Key] = a
			}
			list := r.due(a, v, own)
			if len(list) == 0 {
				continue
			}
			a.busy = e.tasks.spawn(func() {
				d := r.push(ctx, v, list)
				select {
				case done <- d:
				case <-ctx.Done():
				}
			})
		}
		r.retire(to, voters)
	}
}

// retire forgets voters that lost their seat.
func (r *Replica) retire(to map[envelope.Key]*addressee, voters []order.Voter) {
	if len(to) <= len(voters) {
		return
	}
	for k, a := range to {
		seated := false
		for _, v := range voters {
			seated = seated || v.Key == k
		}
		if !seated && !a.busy {
			delete(to, k)
		}
	}
}

// note records how a push ended.
func (a *addressee) note(d delivery, h time.Duration) {
	a.busy = false
	for _, s := range d.sent {
		a.sent[s.Statement.Index] = time.Now()
	}
	if d.err == nil {
		a.failures, a.retry = 0, time.Time{}
		return
	}
	a.retry = time.Now().Add(h << min(a.failures, 2))
	a.failures++
}

// outbox is what this voter has to say and to whom.
func (r *Replica) outbox() ([]SignedStatement, []order.Voter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var voters []order.Voter
	seen := map[envelope.Key]bool{r.self.Key: true}
	to := r.tally.electorates()
	if f, chain := r.tally.former(), r.tally.ledger.Chain(); f != nil {
		left := &order.Electorate{} // who left should have the certificate of that
		for _, v := range f.Voters {
			if _, asked := r.owed[v.Key]; asked || r.tally.newest() == chain[len(chain)-1].Order.Index {
				left.Voters = append(left.Voters, v)
			}
		}
		to = append(to, left)
	}
	for _, e := range to {
		for _, v := range e.Voters {
			if !seen[v.Key] && len(voters) < maxAddressees {
				seen[v.Key] = true
				voters = append(voters, v)
			}
		}
	}
	own := r.tally.own(r.self.Key)
	if s, ok := r.objection(); ok {
		own = append(own, s)
	}
	return own, voters
}

// own are k's signatures for candidates that change the electorate and for the
// newest that it signed; then the one for the newest certified order, which some may
// not have yet.
func (t *tally) own(k envelope.Key) []SignedStatement {
	var out []SignedStatement
	newest := true
	for i := len(t.candidates) - 1; i >= 0; i-- {
		c := t.candidates[i]
		sig, ok := t.said(k, c.statement)
		if ok && (newest || c.change) {
			newest = false
			out = append(out, SignedStatement{Statement: c.statement, Signature: sig, Certified: t.newest()})
		}
	}
	if cert := t.ledger.Newest().Certificate; cert != nil {
		if sig, ok := t.said(k, cert.Statement); ok {
			out = append(out, SignedStatement{Statement: cert.Statement, Signature: sig, Certified: t.newest()})
		}
	}
	return out
}

// settled reports whether the sender waits for nothing at this index.
func (s SignedStatement) settled() bool { return s.Certified >= s.Statement.Index }

// due is what a wants now. It forgets what no longer waits.
func (r *Replica) due(a *addressee, v order.Voter, own []SignedStatement) []SignedStatement {
	now, h := time.Now(), r.cfg.Heartbeat
	if a.busy || now.Before(a.retry) {
		return nil
	}
	var list []SignedStatement
	waiting := map[uint64]time.Time{}
	for i, s := range own {
		at, ok := a.sent[s.Statement.Index]
		if ok {
			waiting[s.Statement.Index] = at
		}
		// What is settled is said once, unless there is nothing else to say while
		// something waits for others' signatures: then it is a question.
		repeat := !s.settled() || (i == 0 && r.wanting())
		if (!ok && (repeat || a.failures == 0)) || (repeat && now.Sub(at) >= h) {
			list = append(list, s)
		}
	}
	a.sent = waiting
	if now.Sub(a.settled) < h {
		return list
	}
	r.mu.Lock()
	since, owed := r.owed[v.Key]
	delete(r.owed, v.Key)
	if owed {
		list = append(list, r.tally.lacking(since)...)
	}
	r.mu.Unlock()
	if owed {
		a.settled = now
	}
	return list
}

// wanting reports whether an order waits for its certificate.
func (r *Replica) wanting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tally.candidates) > 0
}

// lacking are the signatures of the certificates that somebody lacks who has those
// up to index since.
func (t *tally) lacking(since uint64) []SignedStatement {
	var lacks []*order.Certificate
	for _, p := range append(slices.Clone(t.ledger.Chain()), t.ledger.Newest()) {
		if p.Certificate != nil && p.Order.Index > since {
			lacks = append(lacks, p.Certificate)
			since = p.Order.Index
		}
	}
	var out []SignedStatement
	for _, c := range lacks[:min(len(lacks), maxOwed)] {
		for _, sig := range c.Signatures {
			out = append(out, SignedStatement{Statement: c.Statement, Signature: sig, Certified: t.newest()})
		}
	}
	return out
}

// push hands over one signature after the other until one cannot be.
func (r *Replica) push(ctx context.Context, to order.Voter, list []SignedStatement) delivery {
	d := delivery{to: to.Key}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout(r.cfg.Heartbeat))
	defer cancel()
	for _, s := range list {
		if d.err = r.cfg.Push(ctx, to, s); d.err != nil {
			if !errors.Is(d.err, context.Canceled) {
				r.log.Debug("signature not delivered, trying again", "peer", to.Member, "index", s.Statement.Index, "err", d.err)
			}
			return d
		}
		d.sent = append(d.sent, s)
	}
	return d
}
