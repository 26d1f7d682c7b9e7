package node

import (
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/join"
)

// storedOrders is the file "orders".
type storedOrders struct {
	Format uint         `cbor:"0,keyasint"`
	Chain  []join.Proof `cbor:"1,keyasint"`
	Order  []join.Proof `cbor:"2,keyasint"`
}

// takeGenesis takes the start of a newer generation, which ends an alarm.
func (k *keeper) takeGenesis(r *join.MetaReply, keep bool) error {
	if len(r.Genesis) == 0 || k.now.Trust == nil {
		return nil
	}
	g, e, err := order.OpenGenesis(r.Genesis, k.now.Swarm, k.now.Trust.Roles().Genesis)
	if err != nil {
		return fmt.Errorf("genesis refused: %w", err)
	}
	if k.ledger != nil {
		switch known := k.ledger.Genesis().Order.Generation; {
		case g.Order.Generation < known:
			return nil
		case g.Order.Generation == known && e.Digest() == k.ledger.GenesisDigest():
			return nil
		case g.Order.Generation == known && !planted.Is("second-genesis"):
			return fmt.Errorf("%w: two genesis for generation %d", order.ErrFork, known)
		}
	}
	if keep {
		if err := durable.WriteVital(k.dir.path("genesis"), r.Genesis, 0o600); err != nil {
			return err
		}
		if err := clearFile(k.dir.path("alarm")); err != nil {
			return err
		}
		k.now.Alarm = ""
	}
	k.ledger, k.now.genesis = order.NewLedger(g, e), r.Genesis
	k.log.Info("generation started", "generation", g.Order.Generation, "voters", len(g.Order.Electorate.Voters))
	return nil
}

// takeOrders takes the chain of electorates and the newest order. What is proven before
// one that is refused counts, and is written down.
func (k *keeper) takeOrders(r *join.MetaReply, keep bool) error {
	if k.ledger == nil {
		return nil
	}
	refused := k.accept(append(append([]join.Proof(nil), r.Chain...), r.Order...))
	if !keep {
		k.saved = k.ledger.Newest().Order.Pointer()
	}
	newest := k.ledger.Newest()
	if k.saved == newest.Order.Pointer() || newest.Certificate == nil { // the genesis proves its own order
		return refused
	}
	s := storedOrders{Format: 1, Order: []join.Proof{encodeProof(newest)}}
	for _, p := range k.ledger.Chain() {
		s.Chain = append(s.Chain, encodeProof(p))
	}
	if err := durable.WriteVital(k.dir.path("orders"), canonical.Encode(s), 0o600); err != nil {
		return errors.Join(refused, err) // tried again with the next offer
	}
	k.saved = newest.Order.Pointer()
	return refused
}

// accept takes orders up to the first that is refused.
func (k *keeper) accept(list []join.Proof) error {
	for _, p := range list {
		proven, err := decodeProof(p)
		if err != nil {
			return err
		}
		if proven.Order.Generation != k.ledger.Genesis().Order.Generation {
			continue // of another generation: its genesis decides
		}
		if err := k.ledger.Accept(proven); err != nil && !errors.Is(err, order.ErrOld) {
			return fmt.Errorf("order refused: %w", err)
		}
	}
	return nil
}

func encodeProof(p order.Proven) join.Proof {
	return join.Proof{Order: p.Order.Encode(), Certificate: p.Certificate.Encode()}
}

func decodeProof(p join.Proof) (order.Proven, error) {
	o, err := order.Decode(p.Order)
	if err != nil {
		return order.Proven{}, err
	}
	c, err := order.DecodeCertificate(p.Certificate)
	return order.Proven{Order: o, Certificate: c}, err
}
