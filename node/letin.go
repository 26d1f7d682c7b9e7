package node

import (
	"context"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// joinShare of the time for a call is what a robot's request to join waits here for
// the swarm; the rest is for the way.
const joinShare = 2

// whenKnown holds an acceptance back until the swarm has the roster with the robot in
// it: before that other members take the robot for a stranger, and of two operators'
// rosters only one will count. Before the first generation there is nobody to wait
// for. If it takes too long the robot is told to ask again, which changes nothing.
func (n *Node) whenKnown(ctx context.Context, robot envelope.Key, r join.Reply) join.Reply {
	if r.Refusal != join.None {
		return r
	}
	patience := n.time.call / joinShare
	if v := n.keeper.View(); n.crowded(v) {
		if m := n.ordered(v, robot); m != nil {
			r.Index, r.ID, r.Roster = m.Index, m.ID, v.Order.Roster.Digest
			return r
		}
		patience = 0 // others are in line, and strangers' connections are few
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wait := join.Reply{Format: join.ProtocolFormat, Refusal: join.Wait}
	with := map[manifest.Digest]bool{} // rosters that have the robot in them
	for {
		v := n.keeper.View()
		m := v.Member(robot)
		if m == nil {
			return wait // another operator's roster came first: asked again, it gets into the next
		}
		with[v.RosterRef.Digest] = true
		if v.Order == nil || with[v.Order.Roster.Digest] {
			r.Index, r.ID, r.Roster = m.Index, m.ID, v.RosterRef.Digest
			return r
		}
		select {
		case <-v.past:
		case <-ctx.Done():
			return wait
		}
	}
}

// ordered is the robot in the roster that the order names, or nil. In a crowd the one
// here is mostly newer: it has those in it who came since.
func (n *Node) ordered(v *View, robot envelope.Key) *member.Member {
	if v.Order == nil || v.Trust == nil {
		return nil
	}
	data, err := n.docs.get(join.RosterDocument, v.Order.Roster.Digest)
	if err != nil {
		return nil // not here yet: the robot asks again
	}
	roster, _, err := member.OpenRoster(data, v.Swarm, v.Trust.Roles().Roster)
	if err != nil {
		return nil // the keeper says what is wrong with it
	}
	return roster.ByKey(robot)
}
