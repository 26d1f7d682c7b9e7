package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/consensus/order"
)

// BeginAnew starts the generation after the one named, when its quorum is gone for good
// or a part of the swarm moves away: with so many voters, the robots that may vote and
// are here, and this operator's node if one is missing. What the swarm has decided stays,
// as far as this node knows it; a rollout that was under way is over, and who had taken
// its release goes back to what is active. Whoever hears of the new generation ignores
// the old one. Naming the old one keeps two operators, or one in doubt about an answer,
// from starting two.
func (n *Node) BeginAnew(ctx context.Context, after uint32, voters int) error {
	return n.asOperator(ctx, func(ctx context.Context, v *View) error {
		switch {
		case v.Order == nil:
			return fmt.Errorf("%w: no generation has started yet: starling begin", ErrRequest)
		case v.Order.Generation != after:
			return fmt.Errorf("%w: generation %d is to end, and this is generation %d", ErrRequest, after, v.Order.Generation)
		case voters < 1 || voters > order.MaxVoters:
			return fmt.Errorf("%w: %d voters: want 1 to %d", ErrRequest, voters, order.MaxVoters)
		}
		seats, err := n.seats(v, voters)
		if err != nil {
			return err
		}
		g := v.nextGenesis(seats, fmt.Sprintf("the operator ended generation %d", after))
		if r := n.voter.replica.Load(); r != nil {
			g.Counters = r.State().Counters
		}
		return n.operator.writeGenesis(ctx, g)
	})
}

// seats are those of a generation: the first robots that may vote and are there, and
// this node if there is one too few.
func (n *Node) seats(v *View, voters int) ([]order.Voter, error) {
	there := n.heardOf()
	seats := founders(v, there, voters, 0)
	if me := v.Me(); me != nil && len(seats) < min(voters, foundingVoters) {
		seats = append(seats, order.Voter{Member: me.Index, Key: me.Key, Server: string(me.ID)})
	}
	if len(seats) < voters {
		return nil, fmt.Errorf("%w: %d voters asked for and only %d can be found, this node among them; %s", ErrRequest, voters, len(seats), beforeVoters(v, there))
	}
	slices.SortFunc(seats, func(a, b order.Voter) int { return int(a.Member) - int(b.Member) })
	return seats, nil
}

// nextGenesis is the start of the generation after that of v.Order. The number of
// rollouts rises by one, so that no word of an operator on an earlier one counts again.
func (v *View) nextGenesis(voters []order.Voter, reason string) *order.Genesis {
	o := v.Order
	return &order.Genesis{
		Format: order.GenesisFormat, Reason: reason, Roles: v.Trust.Roles(), After: v.Pointer(),
		Order: order.Order{
			Format: order.Format, Swarm: v.Swarm, Generation: o.Generation + 1, Level: o.Level, Time: v.now().Unix(),
			Electorate: order.Electorate{Version: 1, Voters: voters}, Roster: v.RosterRef, Trust: v.Trust.Ref(),
			Components: o.Components, Quarantine: o.Quarantine, Halt: max(v.haltN, o.Halt), Rollouts: o.Rollouts + 1,
		},
	}
}
