package node

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// answerMeta hands a member what it missed.
func (n *Node) answerMeta(_ context.Context, peer envelope.Key, request []byte) ([]byte, error) {
	q, err := join.DecodeMetaRequest(request)
	if err != nil {
		return nil, err
	}
	v := n.keeper.View()
	r := join.MetaReply{Format: join.MetaFormat}
	if v.Trust != nil && v.Trust.Ref().Digest != q.Trust {
		r.Trust = v.Trust.Bundle().Encode()
	}
	if v.RosterRef.Digest != q.Roster {
		r.Roster = v.roster
	}
	if v.Order != nil {
		n.answerOrders(v, q, &r)
	}
	if v.haltN > q.Halt {
		r.Halt = v.halt
	}
	if v.keyN > q.Gossip {
		r.GossipKeys, r.GossipKey = v.keys, v.keyN
	}
	r.Addresses = n.addresses(v)
	return canonical.Encode(r), nil
}

func (n *Node) answerOrders(v *View, q *join.MetaRequest, r *join.MetaReply) {
	if v.GenesisRef != q.Genesis {
		r.Genesis = v.genesis
		q.Voters = 0
	}
	for _, p := range v.chain {
		if p.Order.Electorate.Version > q.Voters && len(r.Chain) < 64 {
			r.Chain = append(r.Chain, encodeProof(p))
		}
	}
	if planted.Is("far-behind") && v.Pointer().Index > q.Order.Index+8 {
		return
	}
	if v.proven.Certificate != nil && (q.Order.Before(v.Pointer()) || v.GenesisRef != q.Genesis) {
		r.Order = []join.Proof{encodeProof(v.proven)}
	}
}

// addresses is where members are, this node first.
func (n *Node) addresses(v *View) []join.Address {
	out := []join.Address{}
	if self, ok := n.self(v); ok {
		out = append(out, self)
	}
	all := n.book.all()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, a := range all {
		if len(out) < join.MaxAddresses && v.Roster != nil && v.Roster.At(a.Member) != nil {
			out = append(out, a)
		}
	}
	return out
}

// pull asks one member what was missed, and keeps what proves itself. addr is
// where to ask, or empty to look it up.
func (n *Node) pull(ctx context.Context, from envelope.Key, addr string) error {
	return n.pullSince(ctx, from, addr, n.keeper.View().Pointer())
}

// pullSince is pull for orders after the one at since: an earlier one than is known
// asks for proof of what is known already.
func (n *Node) pullSince(ctx context.Context, from envelope.Key, addr string, since order.Pointer) error {
	v := n.keeper.View()
	q := join.MetaRequest{Format: join.MetaFormat, Roster: v.RosterRef.Digest, Genesis: v.GenesisRef, Order: since, Halt: v.haltN, Gossip: v.keyN}
	if v.Trust != nil {
		q.Trust = v.Trust.Ref().Digest
	}
	if v.Electorate != nil {
		q.Voters = v.Electorate.Version
	}
	ctx, cancel := context.WithTimeout(ctx, n.time.call)
	defer cancel()
	data, err := n.call(ctx, from, addr, join.MetaProtocol, canonical.Encode(q), join.MaxMetaReplyBytes)
	if err != nil {
		return err
	}
	r, err := join.DecodeMetaReply(data)
	if err != nil {
		return err
	}
	err = n.keeper.offer(ctx, r)
	for _, a := range r.Addresses {
		if a.Member != v.Self {
			// A member knows its own address best; what it says of others
			// counts only if we know nothing.
			m := n.keeper.View().Member(from)
			n.book.learn(a, m == nil || a.Member != m.Index)
		}
	}
	return err
}

func (n *Node) call(ctx context.Context, to envelope.Key, addr, protocol string, request []byte, limit int) ([]byte, error) {
	if addr != "" {
		return n.bulk.CallAt(ctx, addr, to, protocol, request, limit)
	}
	return n.bulk.Call(ctx, to, protocol, request, limit)
}

// follow keeps up with what the swarm has decided: it pulls what is announced, and
// now and then asks somebody though nothing was.
func (n *Node) follow(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var announced order.Pointer
	var keys uint32
	for {
		v := n.keeper.View()
		if at := v.Pointer(); v.Order != nil && announced.Before(at) {
			n.gossip.Announce(gossip.Pointer{Pointer: at, Digest: v.Order.Digest()})
			announced = at
		}
		n.wantNamed(v)
		if v.keyN != keys {
			if err := n.gossip.SetKeys(v.keys); err != nil {
				n.log.Warn("gossip keys refused", "err", err)
			}
			keys = v.keyN
		}
		select {
		case <-ctx.Done():
			return nil
		case <-v.past:
			n.changed()
		case h := <-n.gossip.Pointers():
			since := v.Pointer()
			if v.Order != nil && since == h.Pointer.Pointer && h.Digest != v.Order.Digest() {
				since = order.Pointer{} // two truths for one place? let it prove its own
			}
			if key := v.keyOf(h.From); !key.IsZero() && since.Before(h.Pointer.Pointer) {
				if err := n.pullSince(ctx, key, "", since); err != nil && ctx.Err() == nil {
					n.log.Debug("order not pulled", "peer", v.nameOf(h.From), "err", err)
				}
			}
		case <-timer.C:
			n.catchUp(ctx)
			timer.Reset(jitter(n.time.meta))
		}
	}
}

// wantNamed asks for what the order names and this node does not have.
func (n *Node) wantNamed(v *View) {
	if v.Order == nil {
		return
	}
	if v.Trust == nil || v.Trust.Ref().Digest != v.Order.Trust.Digest {
		n.want(join.TrustDocument, v.Order.Trust.Digest)
	}
	if v.RosterRef.Epoch < v.Order.Roster.Epoch || (v.RosterRef != v.Order.Roster && n.docs.forked(v.Roster, v.RosterRef, v.Order.Roster)) {
		n.want(join.RosterDocument, v.Order.Roster.Digest)
	}
}

// catchUp pulls from one member: one that gossip holds alive, or else one from
// memory or from the invite.
func (n *Node) catchUp(ctx context.Context) {
	v := n.keeper.View()
	if v.Roster != nil && v.Roster.GossipKey > v.keyN && n.findKey(ctx, v) {
		return
	}
	for i, key := range n.catchUpFrom(v) {
		if i == 2 {
			return
		}
		if err := n.pull(ctx, key, ""); err == nil || ctx.Err() != nil {
			return
		}
	}
	for _, a := range n.book.all() {
		if key := v.keyOf(a.Member); !key.IsZero() && a.Member != v.Self && n.pull(ctx, key, "") == nil {
			return
		}
	}
	for _, addr := range n.member.Addrs {
		if v.Member(n.key()) == nil || len(n.gossip.Members()) < 2 {
			if err := n.pull(ctx, n.member.Operator, addr); err == nil || ctx.Err() != nil {
				return
			}
		}
	}
}

// otherEvery: every so many times a robot of a crowd asks another member what it missed,
// or two that are wrong together would ask each other for ever.
const otherEvery = 4

// catchUpFrom lists whom to ask what was missed. A small swarm asks its operators first,
// who have it first; so does a crowd before the first order, which has all from them.
// Later that would take all their air: each robot asks somebody near, and mostly the
// same one again, to whom a connection stands.
func (n *Node) catchUpFrom(v *View) []envelope.Key {
	all := n.candidates()
	if !n.crowded(v) || v.Order == nil {
		return all
	}
	isOperator := func(k envelope.Key) bool {
		m := v.Member(k)
		return m != nil && m.Role == member.Operator
	}
	for len(all) > 1 && isOperator(all[0]) { // they come first
		all = all[1:]
	}
	if rand.IntN(otherEvery) == 0 {
		return all
	}
	connected := n.bulk.Connected()
	if i := slices.IndexFunc(all, func(k envelope.Key) bool { return slices.Contains(connected, k) }); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	return all
}
