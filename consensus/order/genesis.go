package order

import (
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// GenesisFormat is the newest genesis format this build reads and writes.
const GenesisFormat = 1

// A Genesis starts a generation with its founding voters and a full order, whose
// Index is 0. It is signed by role genesis.
type Genesis struct {
	Format uint  `cbor:"0,keyasint"`
	Order  Order `cbor:"1,keyasint"`
	// After is the newest order that the operator knew of the generation before;
	// its zero value in the first generation.
	After  Pointer `cbor:"2,keyasint"`
	Reason string  `cbor:"3,keyasint"`
	// Roles are the keys that count when the generation starts; publishing new
	// trust metadata changes them.
	Roles Roles `cbor:"4,keyasint"`
	// Counters are the highest intent counters known, by key.
	Counters []Counter `cbor:"5,keyasint"`
}

// Roles says which keys may sign what, as delegated by the trust root.
type Roles struct {
	Plan       envelope.Keys `cbor:"0,keyasint" json:"plan"` // plans, intents, publishing
	Roster     envelope.Keys `cbor:"1,keyasint" json:"roster"`
	Genesis    envelope.Keys `cbor:"2,keyasint" json:"genesis"`
	Report     envelope.Keys `cbor:"3,keyasint" json:"report"`      // sim and hil
	Estop      envelope.Keys `cbor:"4,keyasint" json:"estop"`       // to halt
	EstopClear envelope.Keys `cbor:"5,keyasint" json:"estop_clear"` // to end a halt
}

// Check reports the first role whose keys could not work; errors wrap ErrInvalid.
func (r *Roles) Check() error {
	for _, role := range []struct {
		name string
		envelope.Keys
	}{{"plan", r.Plan}, {"roster", r.Roster}, {"genesis", r.Genesis}, {"report", r.Report}, {"estop", r.Estop}, {"estop_clear", r.EstopClear}} {
		if err := role.Check(); err != nil {
			return fmt.Errorf("%w: role %s: %v", ErrInvalid, role.name, err)
		}
	}
	return nil
}

// A Counter is the last intent counter that a key used.
type Counter struct {
	_     struct{} `cbor:",toarray"`
	Key   envelope.Key
	Value uint64
}

// MaxCounters bounds the operators' keys that have ever sent an intent.
const MaxCounters = 16

// Seal puts g into an unsigned envelope.
func (g *Genesis) Seal() *envelope.Envelope {
	return envelope.New(envelope.Genesis, GenesisFormat, envelope.SwarmScope(g.Order.Swarm), g)
}

// OpenGenesis verifies and parses a genesis of swarm signed by keys.
func OpenGenesis(data []byte, swarm string, keys envelope.Keys) (*Genesis, *envelope.Envelope, error) {
	e, err := envelope.Decode(data, envelope.Genesis)
	if err != nil {
		return nil, nil, err
	}
	if err := e.Verify(envelope.SwarmScope(swarm), keys); err != nil {
		return nil, nil, err
	}
	var g Genesis
	if err := e.Open(GenesisFormat, &g); err != nil {
		return nil, nil, err
	}
	if g.Format != GenesisFormat || g.Order.Swarm != swarm || g.Order.Index != 0 || g.Order.Electorate.Version != 1 || !g.Order.Parent.IsZero() || len(g.Reason) > MaxReasonBytes || len(g.Counters) > MaxCounters {
		return nil, nil, fmt.Errorf("%w: genesis of %q at index %d", ErrInvalid, g.Order.Swarm, g.Order.Index)
	}
	if err := errors.Join(g.Order.Check(), g.Roles.Check()); err != nil {
		return nil, nil, err
	}
	return &g, e, nil
}
