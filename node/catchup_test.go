package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

func TestAFewCatchUpAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, v := turnsNode(), fourVoters(3)
		n.catchups.at = map[member.Index]time.Time{}
		ask := func(i member.Index) string { return n.mayCatchUp(v, &order.Armed{Robot: i, Component: "app"}) }
		const wait = "2 robots are between two releases already; wait"
		require.Empty(t, ask(0))
		require.Empty(t, ask(0), "it asks again")
		n.say(4, 1, "maps", member.Trial)
		require.Equal(t, wait, ask(5), "another voter has let one go")
		n.say(4, 2, "maps", member.Committed)
		require.Empty(t, ask(5))
		require.Equal(t, wait, ask(2))
		n.catchups.leave(5)
		require.Empty(t, ask(2))
		time.Sleep(catchUpFor + time.Second)
		require.Empty(t, ask(5), "nobody waits for ever")
	})
}

func TestWhoIsAskedFirst(t *testing.T) {
	n, v := turnsNode(), fourVoters(5)
	require.Equal(t, []int{0, 1, 2, 3}, n.askedInOrder(4, true))
	n.refusals.Add(1)
	require.Equal(t, []int{1, 2, 3, 0}, n.askedInOrder(4, true), "a voter that refuses may lie")
	require.ElementsMatch(t, []int{0, 1, 2, 3}, n.askedInOrder(4, false))

	fresh := manifest.Ref{Digest: manifest.Sum([]byte("1.1"))}
	require.False(t, inBatch(v, fresh))
	v.Order.Rollout = &order.Rollout{Release: fresh, Open: member.Set{}.With(5)}
	require.True(t, inBatch(v, fresh))
	require.False(t, inBatch(v, manifest.Ref{}), "it goes back meanwhile")
}
