package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/join"
)

func itoa(n int) string { return strconv.Itoa(n) }

// keeper owns what this node has verified: trust metadata, roster, genesis, the
// chain of orders, the halt token. Whatever arrives, from whomever, is offered
// to it; it verifies, writes down, and publishes a new View. Its run method is the
// only goroutine that changes anything.
type keeper struct {
	dir    dir
	docs   docs
	log    *slog.Logger
	offers chan offer // unbuffered; from any goroutine to run
	view   atomic.Pointer[View]

	// The fields below belong to run (and to open, before it).
	now    View
	bundle *trust.Bundle
	ledger *order.Ledger
	halt   *halt.File
	own    bool          // what is taken was made here
	saved  order.Pointer // of the newest order that is on disk
}

type offer struct {
	reply *join.MetaReply
	own   bool       // made or imported here, not heard from a peer
	done  chan error // of depth 1
}

// alarm is the file "alarm": why this robot holds still, and since which generation.
type alarm struct {
	Generation uint32 `json:"generation"`
	Text       string `json:"text"`
}

// storedOrders is the file "orders".
type storedOrders struct {
	Format uint         `cbor:"0,keyasint"`
	Chain  []join.Proof `cbor:"1,keyasint"`
	Order  []join.Proof `cbor:"2,keyasint"`
}

// openKeeper reads back what was verified before, and verifies it again.
func openKeeper(d dir, m membership, key envelope.Key, log *slog.Logger) (*keeper, error) {
	k := &keeper{dir: d, docs: docs{d.path("docs")}, log: log, offers: make(chan offer), halt: halt.Load(d.path("halt"))}
	k.now = View{Swarm: m.Swarm, Root: m.Root, Self: m.Index, ID: m.ID, key: key, keys: m.GossipKeys, keyN: m.GossipKey, learnt: time.Now()}
	if err := k.halt.Err(); err != nil {
		log.Error("halted", "err", err)
	}
	reply := &join.MetaReply{}
	for _, f := range []struct {
		name string
		into *[]byte
	}{{"trust", &reply.Trust}, {"roster", &reply.Roster}, {"genesis", &reply.Genesis}} {
		data, err := optional(d.path(f.name))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.name, err)
		}
		*f.into = data
	}
	data, err := optional(d.path("orders"))
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	if len(data) > 0 {
		var s storedOrders
		if err := canonical.DecodeFormat(data, 64<<20, "orders", 1, &s); err != nil {
			log.Error("orders unreadable, asking other members", "err", err)
		}
		reply.Chain, reply.Order = s.Chain, s.Order
	}
	a, _, err := load[alarm](d.path("alarm"))
	if err != nil {
		a.Text = err.Error() // what cannot be read holds still
	}
	k.now.Alarm = a.Text
	if err := k.take(reply, false); err != nil {
		log.Error("stored documents refused, asking other members", "err", err)
	}
	k.unproven()
	if k.ledger != nil && err == nil && a.Text != "" && k.ledger.Genesis().Order.Generation > a.Generation {
		k.now.Alarm = "" // power was lost before the file was removed
		if err := clearFile(d.path("alarm")); err != nil {
			return nil, err
		}
	}
	k.publish()
	return k, nil
}

// run takes offers until ctx ends.
func (k *keeper) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-k.offers:
			k.own = o.own
			err := k.take(o.reply, true)
			k.publish()
			o.done <- err
		}
	}
}

// offer verifies and keeps what is new in r. An error says what was refused; the
// parts before it were kept.
func (k *keeper) offer(ctx context.Context, r *join.MetaReply) error {
	return k.put(ctx, offer{r, false, make(chan error, 1)})
}

// offerOwn is offer for what this node's operator made, which comes before the
// swarm has decided on it.
func (k *keeper) offerOwn(ctx context.Context, r *join.MetaReply) error {
	return k.put(ctx, offer{r, true, make(chan error, 1)})
}

func (k *keeper) put(ctx context.Context, o offer) error {
	select {
	case k.offers <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// View is the newest view.
func (k *keeper) View() *View { return k.view.Load() }

// publish makes a new view if anything changed.
func (k *keeper) publish() {
	v := k.now
	v.Halted, v.HaltReason = k.halt.Halted()
	v.halt, v.haltN = k.halt.Sealed(), k.halt.Counter()
	if k.ledger != nil {
		v.proven, v.chain = k.ledger.Newest(), k.ledger.Chain()
		v.Order, v.Electorate = v.proven.Order, k.ledger.Electorate()
		v.Genesis, v.GenesisRef = k.ledger.Genesis(), k.ledger.GenesisDigest()
	}
	old := k.view.Load()
	if old != nil && old.same(&v) {
		return
	}
	v.past = make(chan struct{})
	if v.learnt = time.Now(); old != nil && v.floor().Equal(old.floor()) {
		v.learnt = old.learnt // or now would go back
	}
	k.view.Store(&v)
	if old != nil {
		close(old.past)
	}
}

// same reports whether nothing that others wait for differs.
func (v *View) same(w *View) bool {
	return v.Trust == w.Trust && v.RosterRef == w.RosterRef && v.GenesisRef == w.GenesisRef && v.Pointer() == w.Pointer() &&
		v.Halted == w.Halted && v.haltN == w.haltN && v.Alarm == w.Alarm && v.keyN == w.keyN && len(v.chain) == len(w.chain)
}

// take goes through the parts in the order in which they vouch for each other;
// trust metadata twice, for a newer order may be what names it.
// keep writes what is new to disk before it counts.
func (k *keeper) take(r *join.MetaReply, keep bool) error {
	var errs []error
	for _, part := range []func(*join.MetaReply, bool) error{
		k.takeTrust, k.takeGenesis, k.takeOrders, k.takeTrust, k.takeRoster, k.takeNamedKeys, k.takeHalt,
	} {
		errs = append(errs, part(r, keep))
	}
	err := errors.Join(errs...)
	if errors.Is(err, order.ErrFork) && k.now.Alarm == "" {
		k.now.Alarm = err.Error()
		k.log.Error("two certified truths: holding still until the operator starts a new generation", "err", err)
		a := alarm{Text: err.Error()}
		if k.ledger != nil {
			a.Generation = k.ledger.Genesis().Order.Generation
		}
		errs = append(errs, save(k.dir.path("alarm"), a))
		err = errors.Join(errs...)
	}
	return err
}

func (k *keeper) takeTrust(r *join.MetaReply, keep bool) error {
	if len(r.Trust) == 0 || (k.bundle != nil && manifest.Sum(r.Trust) == k.bundle.Digest()) {
		return nil
	}
	b, err := trust.DecodeBundle(r.Trust)
	if err != nil {
		return err
	}
	if k.bundle != nil && k.ledger != nil && !k.own && k.ledger.Newest().Order.Trust.Digest != b.Digest() {
		// Not decided (yet): of two operators who publish at once only one
		// will be. Kept, so that a voter can look at it.
		if _, err := trust.Open(k.now.Root, b, nil, k.now.floor()); err != nil {
			return fmt.Errorf("trust metadata refused: %w", err)
		}
		_, err := k.docs.put(join.TrustDocument, r.Trust)
		return err
	}
	s, err := trust.Open(k.now.Root, b, k.bundle, k.now.floor())
	if err != nil {
		return fmt.Errorf("trust metadata refused: %w", err)
	}
	if keep {
		if _, err := k.docs.put(join.TrustDocument, r.Trust); err != nil {
			return err
		}
		if err := durable.WriteFile(k.dir.path("trust"), r.Trust, 0o600); err != nil {
			return err
		}
	}
	k.bundle, k.now.Trust = b, s
	return nil
}

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
		case g.Order.Generation == known:
			return fmt.Errorf("%w: two genesis for generation %d", order.ErrFork, known)
		}
	}
	if keep {
		if err := durable.WriteFile(k.dir.path("genesis"), r.Genesis, 0o600); err != nil {
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

func (k *keeper) takeOrders(r *join.MetaReply, keep bool) error {
	if k.ledger == nil {
		return nil
	}
	refused := k.accept(append(append([]join.Proof(nil), r.Chain...), r.Order...))
	if !keep {
		k.saved = k.ledger.Newest().Order.Pointer()
	}
	if k.saved == k.ledger.Newest().Order.Pointer() {
		return refused
	}
	s := storedOrders{Format: 1, Order: []join.Proof{encodeProof(k.ledger.Newest())}}
	for _, p := range k.ledger.Chain() {
		s.Chain = append(s.Chain, encodeProof(p))
	}
	if err := durable.WriteFile(k.dir.path("orders"), canonical.Encode(s), 0o600); err != nil {
		return errors.Join(refused, err) // tried again with the next offer
	}
	k.saved = k.ledger.Newest().Order.Pointer()
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

func (k *keeper) takeRoster(r *join.MetaReply, keep bool) error {
	if len(r.Roster) == 0 || k.now.Trust == nil {
		return nil
	}
	roster, e, err := member.OpenRoster(r.Roster, k.now.Swarm, k.now.Trust.Roles().Roster)
	if err != nil {
		return fmt.Errorf("roster refused: %w", err)
	}
	ref := order.RosterRef{Epoch: roster.Epoch, Digest: e.Digest()}
	ordered := k.ledger != nil && k.ledger.Newest().Order.Roster == ref
	if known := k.now.RosterRef; k.now.Roster != nil && (ref.Epoch < known.Epoch || ref == known || (ref.Epoch == known.Epoch && !ordered)) {
		return nil // of two with one epoch, by two laptops, the order says which counts
	}
	if keep {
		// The key before the roster that names it: it may be here only.
		if err := k.takeKeys(r, roster, keep); err != nil {
			return err
		}
		if _, err := k.docs.put(join.RosterDocument, r.Roster); err != nil {
			return err
		}
		if err := durable.WriteFile(k.dir.path("roster"), r.Roster, 0o600); err != nil {
			return err
		}
	}
	k.now.Roster, k.now.RosterRef, k.now.roster = roster, ref, r.Roster
	return nil
}

// takeNamedKeys takes the gossip key of the roster that is known.
func (k *keeper) takeNamedKeys(r *join.MetaReply, keep bool) error {
	return k.takeKeys(r, k.now.Roster, keep)
}

// takeKeys takes the gossip key that roster vouches for, and keeps the one before
// for those who have not heard yet. Of what else came nothing is believed.
func (k *keeper) takeKeys(r *join.MetaReply, roster *member.Roster, keep bool) error {
	if len(r.GossipKeys) == 0 || roster == nil || r.GossipKey <= k.now.keyN || r.GossipKey != roster.GossipKey ||
		len(r.GossipKeys[0]) != gossip.KeyBytes || manifest.Sum(r.GossipKeys[0]) != roster.GossipProof {
		return nil
	}
	keys := [][]byte{r.GossipKeys[0]}
	if len(k.now.keys) > 0 {
		keys = append(keys, k.now.keys[0])
	}
	if keep {
		m, err := k.dir.membership()
		if err != nil {
			return err
		}
		m.GossipKeys, m.GossipKey = keys, r.GossipKey
		if err := save(k.dir.path("membership"), m); err != nil {
			return err
		}
	}
	k.now.keys, k.now.keyN = keys, r.GossipKey
	return nil
}

// unproven drops a gossip key that was written down before the roster that vouches
// for it, which a loss of power then prevented.
func (k *keeper) unproven() {
	if r := k.now.Roster; r != nil && len(k.now.keys) > 1 && manifest.Sum(k.now.keys[0]) != r.GossipProof {
		k.now.keys, k.now.keyN = k.now.keys[1:], k.now.keyN-1
	}
}

func (k *keeper) takeHalt(r *join.MetaReply, _ bool) error {
	if len(r.Halt) == 0 || k.now.Trust == nil {
		return nil
	}
	t, err := halt.Open(r.Halt, k.now.Swarm, k.now.Trust.Roles())
	if err != nil {
		return fmt.Errorf("halt token refused: %w", err)
	}
	if k.halt.Err() != nil && !t.Halted && !k.own {
		return nil // nobody knows which halt was lost: only a person at this robot ends it
	}
	if err := k.halt.Accept(t, r.Halt); err != nil && !errors.Is(err, halt.ErrOld) {
		return err
	}
	return nil
}
