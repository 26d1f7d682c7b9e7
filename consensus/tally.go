package consensus

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

const (
	// maxCandidates bounds the orders applied and not certified. At the bound the
	// oldest that leaves the electorate alone is forgotten: a newer one stands for it.
	maxCandidates = 64
	// maxPerVoter bounds the signatures kept of one voter; at the bound the one for
	// the lowest index is forgotten. A voter that floods harms its own seat only,
	// and repeats what still counts.
	maxPerVoter = 16
	// maxEvidence bounds the equivocations kept; the first ones stay.
	maxEvidence = 8
)

// A candidate is an order that this replica applied and that has no certificate.
type candidate struct {
	state     *rollout.State // right after the decision; immutable
	order     *order.Order
	statement order.Statement
	change    bool // of the electorate
}

// A tally counts voters' signatures on orders and turns a quorum of them into a
// certificate. It does no I/O, reads no clock and is not safe for concurrent use.
//
// Signatures may come before the order they are for, and an order may be passed
// over by a newer one; but an order that changes the electorate stays until it is
// certified, for nothing after it can be.
type tally struct {
	ledger     *order.Ledger
	applied    uint64                             // index of the last decision applied
	forgotten  uint64                             // candidates up to here may be missing
	accepted   *rollout.State                     // newest state that is certified or that this voter signed
	candidates []candidate                        // by ascending index
	pool       map[envelope.Key][]SignedStatement // by ascending index
	evidence   []Evidence
}

func newTally(l *order.Ledger, start *rollout.State) *tally {
	return &tally{ledger: l, accepted: start, applied: start.Index, forgotten: start.Index, pool: map[envelope.Key][]SignedStatement{}}
}

// newest is the index of the newest certified order.
func (t *tally) newest() uint64 { return t.ledger.Newest().Order.Index }

// seat finds the voter with key k in the certified electorate or in one that waits
// for its certificate.
func (t *tally) seat(k envelope.Key) (order.Voter, bool) {
	for _, e := range t.electorates() {
		if i := e.Seat(k); i >= 0 {
			return e.Voters[i], true
		}
	}
	return order.Voter{}, false
}

// electorates are the certified one, then those that wait for their certificate.
func (t *tally) electorates() []*order.Electorate {
	out := []*order.Electorate{t.ledger.Electorate()}
	for i := range t.candidates {
		if t.candidates[i].change {
			out = append(out, &t.candidates[i].order.Electorate)
		}
	}
	return out
}

// former is the electorate before the last certified change, or nil.
func (t *tally) former() *order.Electorate {
	switch chain := t.ledger.Chain(); len(chain) {
	case 0:
		return nil
	case 1:
		return &t.ledger.Genesis().Order.Electorate
	default:
		return &chain[len(chain)-2].Order.Electorate
	}
}

// apply records that a decision was applied and left this state. It reports
// whether the order changed and waits for signatures; ErrDiverged says that
// voters have certified something else at this index.
func (t *tally) apply(s *rollout.State, index uint64) (bool, error) {
	before := t.applied
	t.applied = index
	cert := t.ledger.Newest().Certificate
	if s.OrderIndex != index {
		if cert != nil && before < cert.Statement.Index && cert.Statement.Index <= index {
			return false, diverged(cert.Statement.Index)
		}
		return false, t.contradicted(index, nil)
	}
	c := candidate{state: s, order: s.Order(), statement: s.Statement()}
	if cert != nil && before < cert.Statement.Index && cert.Statement.Index <= index {
		if cert.Statement != c.statement {
			return false, diverged(cert.Statement.Index)
		}
		t.accepted = s
	}
	if index <= t.newest() {
		return false, nil
	}
	version := t.ledger.Electorate().Version
	for _, p := range t.candidates {
		version = max(version, p.order.Electorate.Version)
	}
	c.change = c.order.Electorate.Version > version
	if len(t.candidates) == maxCandidates {
		t.forget()
	}
	t.candidates = append(t.candidates, c)
	return true, t.contradicted(index, &c.statement)
}

// forget drops the oldest candidate that leaves the electorate alone, or the
// oldest of all.
func (t *tally) forget() {
	i := max(0, slices.IndexFunc(t.candidates, func(c candidate) bool { return !c.change }))
	t.forgotten = max(t.forgotten, t.candidates[i].order.Index)
	t.candidates = slices.Delete(t.candidates, i, i+1)
}

// contradicted says ErrDiverged if a quorum signed another statement at index
// than mine; nil is no order at all.
func (t *tally) contradicted(index uint64, mine *order.Statement) error {
	count := map[order.Statement]int{}
	for k, of := range t.pool {
		if t.ledger.Electorate().Seat(k) < 0 {
			continue
		}
		for _, s := range of {
			if s.Statement.Index == index && (mine == nil || s.Statement != *mine) {
				count[s.Statement]++
			}
		}
	}
	for _, n := range count {
		if n >= order.Quorum(len(t.ledger.Electorate().Voters)) {
			return diverged(index)
		}
	}
	return nil
}

func diverged(index uint64) error {
	return fmt.Errorf("%w: at index %d voters certified another one", ErrDiverged, index)
}

// add takes a signature that is known to be right, by a voter with a seat. It
// reports whether it was new. ErrDiverged is as for apply.
func (t *tally) add(s SignedStatement) (bool, error) {
	k := s.Signature.Key
	of := t.pool[k]
	at, found := slices.BinarySearchFunc(of, s.Statement.Index, func(s SignedStatement, i uint64) int {
		switch {
		case s.Statement.Index < i:
			return -1
		case s.Statement.Index > i:
			return 1
		}
		return 0
	})
	if found {
		if of[at].Statement != s.Statement {
			t.accuse(of[at], s)
		}
		return false, nil
	}
	t.pool[k] = slices.Insert(of, at, s)
	if len(t.pool[k]) > maxPerVoter {
		t.pool[k] = slices.Delete(t.pool[k], 0, 1)
	}
	if i := s.Statement.Index; i <= t.applied && i > max(t.newest(), t.forgotten) {
		return true, t.contradicted(i, t.mine(i))
	}
	return true, nil
}

// mine is what this replica would say at an index it has applied.
func (t *tally) mine(index uint64) *order.Statement {
	for i := range t.candidates {
		if t.candidates[i].order.Index == index {
			return &t.candidates[i].statement
		}
	}
	return nil
}

// accuse keeps two statements of one voter for one index.
func (t *tally) accuse(a, b SignedStatement) {
	v, _ := t.seat(a.Signature.Key)
	known := slices.ContainsFunc(t.evidence, func(e Evidence) bool {
		return e.A.Signature.Key == a.Signature.Key && e.A.Statement.Index == a.Statement.Index
	})
	if !known && len(t.evidence) < maxEvidence {
		t.evidence = append(t.evidence, Evidence{Voter: v, A: a, B: b})
	}
}

// reset starts over at a state that a snapshot brought, certified by p.
func (t *tally) reset(s *rollout.State, l *order.Ledger) error {
	if t.ledger.Newest().Order.Pointer().Before(l.Newest().Order.Pointer()) {
		t.ledger = l
	} else if t.newest() == l.Newest().Order.Index && t.ledger.Newest().Order.Digest() != l.Newest().Order.Digest() {
		return fmt.Errorf("%w: %s", order.ErrFork, l.Newest().Order.Pointer())
	}
	t.applied, t.forgotten, t.accepted, t.candidates = s.Index, s.Index, s, nil
	return nil
}

// waiting are the candidates that want signatures: every change of electorate and
// the newest n.
func (t *tally) waiting(n int) []candidate {
	var out []candidate
	for i, c := range t.candidates {
		if c.change || i >= len(t.candidates)-n {
			out = append(out, c)
		}
	}
	return out
}

// signed notes that this voter signed c: the next check starts from there.
func (t *tally) signed(c candidate) {
	if c.state.Index > t.accepted.Index {
		t.accepted = c.state
	}
}
