package node

import (
	"context"
	"math/rand/v2"

	"github.com/starling-swarm/starling/gossip/member"
)

// findKey pulls from everybody whose address is known, operators first, until the
// gossip key of the roster is here: those who have it look dead to gossip without it.
func (n *Node) findKey(ctx context.Context, v *View) bool {
	all := n.book.all()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, operators := range []bool{true, false} {
		for _, a := range all {
			m := v.Roster.At(a.Member)
			if m == nil || a.Member == v.Self || (m.Role == member.Operator) != operators {
				continue
			}
			if err := n.pull(ctx, m.Key, ""); err != nil && ctx.Err() == nil {
				n.log.Debug("gossip key not pulled", "peer", m.ID, "err", err)
			}
			if n.keeper.View().keyN > v.keyN || ctx.Err() != nil {
				return true
			}
		}
	}
	return false
}
