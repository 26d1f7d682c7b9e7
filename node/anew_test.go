package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/join"
)

// What a swarm has decided outlives its generation; a rollout that was under way, and
// all that an operator has said of it, does not.
func TestAGenerationGoesOnWhereTheLastOneStood(t *testing.T) {
	k, operator, reopen := openTestKeeper(t)
	h := foundHouse(k, operator, 1, "start")
	bad := manifest.Sum([]byte("bad"))
	active := order.Component{Name: "app", Active: manifest.Ref{Version: "1.0", Counter: 1, Digest: manifest.Sum([]byte("1.0"))}, Floor: 1}
	last := h.certify(7, 3, func(o *order.Order) {
		o.Components, o.Quarantine, o.Halt, o.Rollouts = []order.Component{active}, []manifest.Digest{bad}, 4, 2
		o.Rollout = &order.Rollout{
			ID: 2, Component: "app", Release: manifest.Ref{Version: "1.1", Counter: 2, Digest: manifest.Sum([]byte("1.1"))}, From: active.Active,
			Plan: bad, Status: order.Running, Stage: order.Canary, Start: 6,
		}
	})
	require.NoError(t, k.take(&join.MetaReply{Genesis: h.sealed.Encode(), Order: proofs(last)}, true))
	k.publish()
	require.Equal(t, last.Order.Pointer(), k.View().Pointer())

	g := k.View().nextGenesis(h.genesis.Order.Electorate.Voters[:3], "half of the swarm has left")
	require.NoError(t, k.take(&join.MetaReply{Genesis: g.Seal().Sign(operator).Encode()}, true))
	k.publish()
	for _, v := range []*View{k.View(), reopen().View()} {
		require.Equal(t, order.Pointer{Generation: 2}, v.Pointer())
		require.Equal(t, last.Order.Pointer(), v.Genesis.After)
		require.Empty(t, v.Alarm)
		require.Equal(t, []order.Component{active}, v.Order.Components)
		require.Equal(t, []manifest.Digest{bad}, v.Order.Quarantine)
		require.Equal(t, uint64(4), v.Order.Halt)
		require.Nil(t, v.Order.Rollout)
		require.Equal(t, uint64(3), v.Order.Rollouts, "a word on rollout 2 does not count again")
		require.Len(t, v.Electorate.Voters, 3)
	}
	require.NoError(t, k.take(&join.MetaReply{Order: proofs(h.certify(8, 4, nil))}, true))
	k.publish()
	require.Equal(t, order.Pointer{Generation: 2}, k.View().Pointer(), "the old voters decide nothing any more")
}
