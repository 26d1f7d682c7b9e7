package consensus

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// machine is raft's view of the Replica: three short methods around rollout.State.
type machine Replica

// Apply implements raft.FSM. What it returns is why the decision does not hold.
func (m *machine) Apply(l *raft.Log) any {
	r := (*Replica)(m)
	next := r.State().Clone()
	err := next.ApplyLog(l.Index, l.Data)
	switch {
	case errors.Is(err, rollout.ErrTooNew):
		r.fail(err)
		return err
	case errors.Is(err, rollout.ErrApplied):
		return err
	}
	r.state.Store(next)
	var ask bool
	r.count(func(t *tally) (err error) {
		ask, err = t.apply(next, l.Index)
		return err
	})
	if ask {
		poke(r.wakeSign)
	}
	if err != nil {
		r.log.Info("decision refused", "index", l.Index, "err", err)
	}
	poke(r.wakeCut)
	poke(r.changed)
	if err != nil {
		return err // a nil error in an any would not be nil
	}
	return nil
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	r := (*Replica)(m)
	s := r.State()
	r.mu.Lock()
	newest, chain := r.tally.ledger.Newest(), r.tally.ledger.Chain()
	r.mu.Unlock()
	if newest.Certificate == nil || s.Index != s.OrderIndex || s.Statement() != newest.Certificate.Statement {
		return nil, fmt.Errorf("%w: it is at %d, the newest certificate is for %s", ErrNotCertified, s.Index, newest.Order.Pointer())
	}
	return frozen(canonical.Encode(snapshot{Format: SnapshotFormat, Proof: newProof(chain, newest), State: s.Encode()})), nil
}

// Restore implements raft.FSM. The state stays as it is if the snapshot is not what
// voters certified.
func (m *machine) Restore(from io.ReadCloser) error {
	r := (*Replica)(m)
	data, err := io.ReadAll(io.LimitReader(from, int64(MaxSnapshotBytes)+1))
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	s, l, err := openSnapshot(data, r.freshLedger)
	if err != nil {
		return err
	}
	r.count(func(t *tally) error { return t.reset(s, l) })
	r.state.Store(s)
	r.cut.Store(s.Index)
	r.restored.Store(s.Index)
	poke(r.wakeKeep)
	poke(r.changed)
	return nil
}

// count lets f change the tally, then assembles the certificates that became
// possible.
func (r *Replica) count(f func(*tally) error) {
	r.mu.Lock()
	accused := len(r.tally.evidence)
	before := r.tally.newest()
	err := f(r.tally)
	if err == nil {
		err = r.tally.certify()
	}
	moved := r.tally.newest() != before
	evidence := r.tally.evidence[accused:]
	r.mu.Unlock()
	for _, e := range evidence {
		r.log.Error("voter signed two orders for one index", "member", e.Voter.Member, "index", e.A.Statement.Index, "evidence", e.String())
	}
	if err != nil {
		r.fail(err)
	}
	if moved {
		poke(r.wakeKeep)
		poke(r.wakeDeliver)
	}
}

// seated reports whether the key k has a seat that is certified: only such may
// speak raft.
func (r *Replica) seated(k envelope.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tally.ledger.Electorate().Seat(k) >= 0
}

// AddSignature takes a signature that a voter handed over. The signature may be
// another voter's. Errors are ErrStranger, order.ErrUncertified for a wrong
// signature, and order.ErrInvalid for one of another swarm or generation: drop it.
// One for an older order is not kept, but answered with the certificates that from
// lacks.
func (r *Replica) AddSignature(from envelope.Key, s SignedStatement) error {
	g := &r.cfg.Genesis.Order
	if s.Statement.Swarm != g.Swarm || s.Statement.Generation != g.Generation || s.Statement.Index == 0 {
		return fmt.Errorf("%w: a signature for %q g%d/%d", order.ErrInvalid, s.Statement.Swarm, s.Statement.Generation, s.Statement.Index)
	}
	if s.Ahead {
		return r.object(from, s)
	}
	r.mu.Lock()
	_, sender := r.tally.seat(from)
	_, signer := r.tally.seat(s.Signature.Key)
	newest := r.tally.newest()
	if f := r.tally.former(); f != nil && f.Seat(from) >= 0 && s.Statement.Index <= newest {
		sender, signer = true, signer || s.Signature.Key == from // it may ask for the certificate that unseated it
	}
	r.mu.Unlock()
	if !sender || !signer {
		return fmt.Errorf("%w: a signature of %s from %s", ErrStranger, s.Signature.Key.Short(), from.Short())
	}
	if !s.Statement.Verify(s.Signature) {
		return fmt.Errorf("%w: a wrong signature of %s", order.ErrUncertified, s.Signature.Key.Short())
	}
	known := true
	if s.Statement.Index >= newest {
		r.count(func(t *tally) error {
			added, err := t.add(s)
			known = !added
			return err
		})
	}
	if known && s.Signature.Key == from && s.Certified < newest {
		r.mu.Lock()
		r.owed[from] = s.Certified
		r.mu.Unlock()
		poke(r.wakeDeliver)
	}
	return nil
}

// AddCertified takes an order that the node learned elsewhere, with its proof;
// changes of the electorate come first, oldest first. Without it a voter that was
// away while others took its friends' seats would listen to nobody. Errors are those
// of order.Ledger.Accept; ErrOld is none.
func (r *Replica) AddCertified(p order.Proven) error {
	if p.Order == nil || p.Certificate == nil {
		return fmt.Errorf("%w: no certificate", order.ErrUncertified)
	}
	var result error
	r.count(func(t *tally) error {
		if result = t.witness(p.Certificate); result == nil {
			result = t.learn(p)
		}
		if errors.Is(result, ErrDiverged) || errors.Is(result, order.ErrFork) {
			return result
		}
		return nil
	})
	if harmless(result) {
		return nil
	}
	return result
}
