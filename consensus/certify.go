package consensus

import (
	"errors"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
)

// certify assembles every certificate that the signatures allow. Errors are those
// of learn.
func (t *tally) certify() error {
	for {
		c, ok := t.ripe()
		if !ok {
			return nil
		}
		if err := t.learn(order.Proven{Order: c.order, Certificate: order.NewCertificate(c.statement, t.signatures(c))}); err != nil {
			return err
		}
	}
}

// ripe returns the newest candidate that has signatures enough and whose
// electorate is the certified one or the next.
func (t *tally) ripe() (candidate, bool) {
	e := t.ledger.Electorate()
	for _, c := range slices.Backward(t.candidates) {
		switch {
		case c.order.Electorate.Version > e.Version+1 || (c.order.Electorate.Version == e.Version+1 && !c.change):
			continue
		case !t.quorum(c.statement, e) || (c.change && !t.quorum(c.statement, &c.order.Electorate)):
			continue
		}
		return c, true
	}
	return candidate{}, false
}

// quorum reports whether a quorum of e has signed s.
func (t *tally) quorum(s order.Statement, e *order.Electorate) bool {
	n := 0
	for _, v := range e.Voters {
		if _, ok := t.said(v.Key, s); ok {
			n++
		}
	}
	if planted.Is("quorum-of-one") {
		return n > 0
	}
	return n >= order.Quorum(len(e.Voters))
}

// said returns k's signature on s.
func (t *tally) said(k envelope.Key, s order.Statement) (envelope.Signature, bool) {
	for _, have := range t.pool[k] {
		if have.Statement == s {
			return have.Signature, true
		}
	}
	return envelope.Signature{}, false
}

// signatures are all on c by those whose word counts for it.
func (t *tally) signatures(c candidate) []envelope.Signature {
	var out []envelope.Signature
	have := map[envelope.Key]bool{}
	for _, e := range []*order.Electorate{t.ledger.Electorate(), &c.order.Electorate} {
		for _, v := range e.Voters {
			if sig, ok := t.said(v.Key, c.statement); ok && !have[v.Key] {
				have[v.Key] = true
				out = append(out, sig)
			}
		}
	}
	return out
}

// learn takes a certified order, assembled here or elsewhere. Errors are those of
// Ledger.Accept and ErrDiverged.
func (t *tally) learn(p order.Proven) error {
	before := t.newest()
	if err := t.ledger.Accept(p); err != nil {
		return err
	}
	at := t.newest()
	if at == before {
		return nil
	}
	i := slices.IndexFunc(t.candidates, func(c candidate) bool { return c.order.Index == at })
	same := i >= 0 && t.candidates[i].statement == p.Certificate.Statement
	if same {
		t.accepted = t.candidates[i].state
	}
	t.candidates = slices.DeleteFunc(t.candidates, func(c candidate) bool { return c.order.Index <= at })
	for k, of := range t.pool {
		t.pool[k] = slices.DeleteFunc(of, func(s SignedStatement) bool { return s.Statement.Index < at })
		if _, ok := t.seat(k); !ok || len(t.pool[k]) == 0 {
			delete(t.pool, k)
		}
	}
	if at <= t.applied && at > t.forgotten && !same {
		return diverged(at)
	}
	return nil
}

// witness counts the signatures of a certificate that came from elsewhere, so that
// a voter that signed otherwise here is found out.
func (t *tally) witness(c *order.Certificate) error {
	g := t.ledger.Newest().Order
	if s := &c.Statement; s.Swarm != g.Swarm || s.Generation != g.Generation || s.Index == 0 || s.Index < g.Index {
		return nil
	}
	for _, sig := range c.Signatures {
		if _, ok := t.seat(sig.Key); ok && c.Statement.Verify(sig) {
			if _, err := t.add(SignedStatement{Statement: c.Statement, Signature: sig}); err != nil {
				return err
			}
		}
	}
	return nil
}

// harmless reports whether an error of learn means that nothing new was said.
func harmless(err error) bool { return err == nil || errors.Is(err, order.ErrOld) }
