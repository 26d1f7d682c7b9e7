package order

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// MaxChain bounds the electorate changes that a Ledger follows at once; a
// robot further behind takes several steps.
const MaxChain = 64

// A Ledger is what one robot has verified of its swarm's orders. It never goes
// back. It is not safe for concurrent use, and does no I/O: whoever owns it
// saves Newest and Chain before acting on them and loads them with NewLedger.
type Ledger struct {
	genesis *Genesis
	digest  manifest.Digest // of the genesis envelope
	newest  Proven
	chain   []Proven // orders that changed the electorate, oldest first
}

// NewLedger starts at a verified genesis; e is its envelope.
func NewLedger(g *Genesis, e *envelope.Envelope) *Ledger {
	return &Ledger{genesis: g, digest: e.Digest(), newest: Proven{Order: &g.Order}}
}

// Newest is the newest order verified.
func (l *Ledger) Newest() Proven { return l.newest }

// Chain holds the orders of this generation that changed the electorate, oldest
// first: what another robot needs to get from the genesis to Newest.
func (l *Ledger) Chain() []Proven { return l.chain }

// Genesis is where the ledger's generation started.
func (l *Ledger) Genesis() *Genesis { return l.genesis }

// GenesisDigest names the genesis; it is the Parent of orders of the first electorate.
func (l *Ledger) GenesisDigest() manifest.Digest { return l.digest }

// line returns who decides after the first n changes of the electorate, and what
// the orders that they certify must name as Parent.
func (l *Ledger) line(n int) (*Electorate, manifest.Digest) {
	if n == 0 {
		return &l.genesis.Order.Electorate, l.digest
	}
	o := l.chain[n-1].Order
	return &o.Electorate, o.Digest()
}

// Electorate is who decides now.
func (l *Ledger) Electorate() *Electorate {
	e, _ := l.line(len(l.chain))
	return e
}

// Accept takes a newer order. An order that changes the electorate needs a quorum
// of both the old and the new one. It returns ErrOld for one that is not newer
// (nil if it is the same), ErrFork if one index has two certified orders, and
// ErrUncertified if the proof is not enough: then ask a peer for the Chain. ErrFork
// is never returned on the word of less than a quorum.
func (l *Ledger) Accept(p Proven) error {
	o := p.Order
	if o.Swarm != l.newest.Order.Swarm || o.Generation != l.newest.Order.Generation {
		return fmt.Errorf("%w: of %s %s, the ledger is at %s %s", ErrInvalid, o.Swarm, o.Pointer(), l.newest.Order.Swarm, l.newest.Order.Pointer())
	}
	if p.Certificate == nil {
		return fmt.Errorf("%w: no certificate", ErrUncertified)
	}
	if err := p.names(); err != nil {
		return err
	}
	change, err := l.follows(p)
	if err != nil {
		return err
	}
	return l.advance(p, change)
}

// follows says whether the order of p changes the electorate. Its error is nil only
// if those who must have certified the order did.
func (l *Ledger) follows(p Proven) (change bool, err error) {
	o := p.Order
	e, parent := l.line(len(l.chain))
	switch {
	case o.Electorate.Version < e.Version:
		return false, fmt.Errorf("%w: %s of electorate %d, now is %d", ErrOld, o.Pointer(), o.Electorate.Version, e.Version)
	case o.Electorate.Version > e.Version+1:
		return false, fmt.Errorf("%w: %s of electorate %d, known is %d", ErrUncertified, o.Pointer(), o.Electorate.Version, e.Version)
	case !p.Certificate.By(e):
		return false, l.stray(p)
	case o.Electorate.Version == e.Version+1:
		if !p.Certificate.By(&o.Electorate) {
			return false, fmt.Errorf("%w: %s has no quorum of its new voters", ErrUncertified, o.Pointer())
		}
		if o.Parent != parent { // an order after the change, whose voters are a quorum of both
			return false, fmt.Errorf("%w: %s comes after a change of voters that is not known here", ErrUncertified, o.Pointer())
		}
		return true, nil
	case !slices.Equal(o.Electorate.Voters, e.Voters):
		return false, fmt.Errorf("%w: %s has other voters under electorate %d", ErrFork, o.Pointer(), e.Version)
	case o.Parent != parent && o.Digest() != parent:
		return false, fmt.Errorf("%w: %s is of another line of voters", ErrFork, o.Pointer())
	}
	return false, nil
}

// stray is the error for an order that the electorate has not certified. It is a
// fork if the electorate before has: then it changed the voters in two ways.
func (l *Ledger) stray(p Proven) error {
	o, n := p.Order, len(l.chain)
	if e, _ := l.line(n); n > 0 && o.Electorate.Version == e.Version {
		old, parent := l.line(n - 1)
		if o.Parent == parent && p.Certificate.By(old) {
			return fmt.Errorf("%w: %s changes the voters in another way", ErrFork, o.Pointer())
		}
	}
	return fmt.Errorf("%w: %s", ErrUncertified, o.Pointer())
}

func (l *Ledger) advance(p Proven, change bool) error {
	now := l.newest.Order.Pointer()
	switch at := p.Order.Pointer(); {
	case at == now:
		if p.Order.Digest() != l.newest.Order.Digest() {
			return fmt.Errorf("%w: %s", ErrFork, at)
		}
		return nil
	case at.Before(now):
		return fmt.Errorf("%w: %s, newest is %s", ErrOld, at, now)
	}
	l.newest = p
	if change {
		l.chain = append(l.chain, p)
	}
	return nil
}
