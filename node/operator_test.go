package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
)

// A generation starts with robots that are on: a seat of one that is off would only
// be missing.
func TestFoundersAreRobotsThatAreOn(t *testing.T) {
	r := &member.Roster{Members: []member.Member{
		{Index: 0, ID: "op", Role: member.Operator}, {Index: 1, ID: "off"}, {Index: 2, ID: "r02"}, {Index: 3, ID: "gone", Revoked: true},
		{Index: 4, ID: "novote", NoVote: true}, {Index: 5, ID: "r05"}, {Index: 6, ID: "base", Role: member.Base}, {Index: 7, ID: "left"}, {Index: 8, ID: "r08"}, {Index: 9, ID: "r09"},
	}}
	there := map[member.Index]gossip.Member{}
	for _, i := range []member.Index{0, 2, 3, 4, 5, 6, 8, 9} {
		there[i] = gossip.Member{Index: i, State: gossip.Alive}
	}
	there[7] = gossip.Member{Index: 7, State: gossip.Left}
	v := &View{Roster: r, Self: 0}
	var names []string
	for _, s := range founders(v, there, foundingVoters, 0) {
		names = append(names, s.Server)
	}
	require.Equal(t, []string{"r02", "r05", "base", "r08"}, names)
	require.Contains(t, beforeVoters(v, there), "as soon as it has heard them")
	other := &View{Roster: r, Self: 4}
	require.Contains(t, beforeVoters(other, there), "as soon as it has heard them")
	delete(there, founder)
	require.Contains(t, beforeVoters(v, there), "as soon as it has heard them", "the founder itself")
	require.Equal(t, "op founded the swarm and starts the first generation: switch it on; without it: starling begin on another operator's node", beforeVoters(other, there))

	delete(there, 8)
	delete(there, 9)
	require.Len(t, founders(v, there, foundingVoters, 0), 3)
	there[2] = gossip.Member{Index: 2, State: gossip.Alive, Since: time.Now()}
	require.Len(t, founders(v, there, foundingVoters, time.Minute), 2, "one that has just come may be gone already")
	require.Equal(t, "nothing is decided before 4 robots that may vote are on; 3 of 7 are: switch on 1 of off, left, r08, r09", beforeVoters(v, there))
	v.Roster = &member.Roster{Members: r.Members[:3]}
	require.Equal(t, "nothing is decided before 4 robots that may vote have joined and are on; 2 have joined, and of them off is off or out of reach", beforeVoters(v, there))
	v.Roster = &member.Roster{Members: r.Members[:1]}
	require.Equal(t, "nothing is decided before 4 robots that may vote have joined; 0 have", beforeVoters(v, there))
}

// Two operators' nodes that do not hear each other yet must not both write a genesis.
func TestOnlyTheFounderStartsUnasked(t *testing.T) {
	require.True(t, startsUnasked(&View{Self: founder}))
	require.False(t, startsUnasked(&View{Self: 3}), "another operator's node")
	require.False(t, startsUnasked(&View{Self: founder, Order: &order.Order{}}), "there is one")
}
