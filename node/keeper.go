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
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
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
	lost   func(Event) // told what was signed here and will not be the swarm's; nil on robots
	offers chan offer  // unbuffered; from any goroutine to run
	view   atomic.Pointer[View]

	// The fields below belong to run (and to open, before it).
	now    View
	bundle *trust.Bundle
	ledger *order.Ledger
	halt   *halt.File
	own    bool // what is taken was made here
	// undecided says that no order has named bundle yet; base is then the newest
	// that one has named, or nil.
	undecided bool
	base      *trust.Bundle
	ownRoster bool          // the roster was made here since the start
	saved     order.Pointer // of the newest order that is on disk
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
	if len(data) > 0 && !planted.Is("forget-orders") {
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
	if err := k.loadBase(reply.Trust); err != nil {
		return nil, err
	}
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
	if v.undecided = k.undecided; k.base != nil {
		v.base = k.base.Digest()
	}
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
	return v.Trust == w.Trust && v.undecided == w.undecided && v.base == w.base && v.RosterRef == w.RosterRef && v.GenesisRef == w.GenesisRef && v.Pointer() == w.Pointer() &&
		v.Halted == w.Halted && v.haltN == w.haltN && v.Alarm == w.Alarm && v.keyN == w.keyN && len(v.chain) == len(w.chain)
}

// take goes through the parts in the order in which they vouch for each other;
// trust metadata twice, for a newer order may be what names it.
// keep writes what is new to disk before it counts.
func (k *keeper) take(r *join.MetaReply, keep bool) error {
	var errs []error
	for _, part := range []func(*join.MetaReply, bool) error{
		k.takeTrust, k.takeGenesis, k.takeOrders, k.settleTrust, k.takeTrust, k.takeRoster, k.takeNamedKeys, k.takeHalt,
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
		errs = append(errs, saveVital(k.dir.path("alarm"), a))
		err = errors.Join(errs...)
	}
	return err
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
