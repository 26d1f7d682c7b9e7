package node

import "github.com/starling-swarm/starling/consensus/order"

// Proof is what shows that the view's order is the swarm's: the genesis envelope, the
// orders that changed the electorate since, oldest first, and the order with its
// certificate. Who does not trust this node's judgement can check them again. All
// are empty before the generation has started, and must not be changed.
func (v *View) Proof() (genesis []byte, chain []order.Proven, newest order.Proven) {
	return v.genesis, v.chain, v.proven
}

// RosterBytes is how long the sealed roster is.
func (v *View) RosterBytes() int { return len(v.roster) }

// HaltCounter is the highest counter of a halt token that this node has verified.
func (v *View) HaltCounter() uint64 { return v.haltN }

// Leads reports whether this node's replica leads, and in which raft term. It is
// the replica's own word, not what gossip says.
func (n *Node) Leads() (term uint64, leads bool) {
	r := n.voter.replica.Load()
	if r == nil {
		return 0, false
	}
	term = r.Term()
	return term, r.IsLeader() && r.Term() == term // it may have stepped down in between
}

// Longest are the lengths of the longest health report and of the longest gossip
// metadata that this node has heard of anybody, in bytes.
func (n *Node) Longest() (report, meta int) {
	for _, r := range n.health.all() {
		report = max(report, len(r.Sealed))
	}
	for _, m := range n.gossip.Members() {
		meta = max(meta, len(m.Meta.Encode()))
	}
	return report, meta
}
