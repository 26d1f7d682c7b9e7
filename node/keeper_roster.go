package node

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// takeRoster takes a newer roster, with the gossip key that it vouches for.
func (k *keeper) takeRoster(r *join.MetaReply, keep bool) error {
	if len(r.Roster) == 0 || k.now.Trust == nil {
		return nil
	}
	roster, e, err := member.OpenRoster(r.Roster, k.now.Swarm, k.now.Trust.Roles().Roster)
	if err != nil {
		return fmt.Errorf("roster refused: %w", err)
	}
	ref := order.RosterRef{Epoch: roster.Epoch, Digest: e.Digest()}
	if !k.wantsRoster(roster, ref) {
		return nil
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
	was, own := k.now, k.ownRoster
	forked := was.Roster != nil && (ref.Epoch < was.RosterRef.Epoch || k.docs.forked(roster, ref, was.RosterRef))
	k.now.Roster, k.now.RosterRef, k.now.roster, k.ownRoster = roster, ref, r.Roster, k.own
	if forked && roster.GossipKey <= k.now.keyN {
		k.unproven() // a key that only the roster that gave way vouched for
	}
	if forked && own && k.lost != nil {
		k.lost(Event{Kind: "not-published", Member: string(k.now.ID), Text: lostRoster(was.Roster, roster)})
	}
	return nil
}

// wantsRoster reports whether a roster replaces the one that is here. The one that
// the order names does, also when the one here has a higher epoch and was made from
// another: two laptops signed at once. What was made from another than the order
// names is not taken. It may be that the documents in between are not here; then the
// higher epoch counts, and the order after it sorts it out.
func (k *keeper) wantsRoster(roster *member.Roster, ref order.RosterRef) bool {
	known := k.now.RosterRef
	switch {
	case k.now.Roster == nil:
		return true
	case ref == known:
		return false
	case k.ledger == nil:
		return ref.Epoch > known.Epoch
	}
	named := k.ledger.Newest().Order.Roster
	if ref == named {
		return ref.Epoch >= known.Epoch || k.docs.forked(k.now.Roster, known, named)
	}
	return ref.Epoch > known.Epoch && !k.docs.forked(roster, ref, named)
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
		if err := saveVital(k.dir.path("membership"), m); err != nil {
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
