package consensus

import (
	"context"
	"errors"
	"time"
)

// signAhead is how many of the newest orders are signed one by one. Voters that fall
// further behind sign the newest ones only, and so meet each other again.
const signAhead = 16

// sign gives this voter's word for what it applied and could check.
func (r *Replica) sign(ctx context.Context) error {
	again := time.NewTicker(r.cfg.Heartbeat)
	defer again.Stop()
	told := uint64(0) // the last index whose refusal was logged
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wakeSign:
		case <-again.C: // the Checker may know more by now
		}
		todo := r.unsigned()
		for _, c := range todo {
			if ctx.Err() != nil {
				return nil
			}
			if err := r.signOne(c); err != nil && c.order.Index > told {
				told = c.order.Index
				r.log.Warn("order not signed", "index", c.order.Index, "err", err)
			}
		}
		if len(todo) > 0 {
			poke(r.wakeDeliver)
		}
	}
}

// unsigned are the candidates that want this voter's word, by ascending index.
func (r *Replica) unsigned() []candidate {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []candidate
	for _, c := range r.tally.waiting(signAhead) {
		if _, done := r.tally.said(r.self.Key, c.statement); done {
			continue
		}
		if r.tally.ledger.Electorate().Seat(r.self.Key) >= 0 || c.order.Electorate.Seat(r.self.Key) >= 0 {
			out = append(out, c)
		}
	}
	return out
}

// signOne checks, promises on the disk, signs and counts.
func (r *Replica) signOne(c candidate) error {
	r.mu.Lock()
	prev := r.tally.accepted
	r.mu.Unlock()
	if prev.Index >= c.state.Index {
		return nil // overtaken by a certificate, or by a later signature
	}
	if err := r.cfg.Checker(prev, c.state); err != nil {
		if errors.Is(err, ErrAhead) {
			r.mu.Lock()
			r.ahead = max(r.ahead, c.order.Index)
			r.mu.Unlock()
		}
		return err
	}
	if err := r.vows.keep(c.statement); err != nil {
		if errors.Is(err, ErrVow) {
			r.log.Error("order not signed", "index", c.order.Index, "err", err)
		}
		return err
	}
	s := SignedStatement{Statement: c.statement, Signature: c.statement.Sign(r.cfg.Key)}
	r.count(func(t *tally) error {
		_, err := t.add(s)
		t.signed(c)
		return err
	})
	return nil
}
