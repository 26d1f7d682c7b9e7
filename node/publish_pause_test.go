package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// In a crowd a roster that only lets robots in waits for more of them. One that takes
// somebody out waits for nobody, nor do those who join after it.
func TestARosterOfJoinsWaitsInACrowd(t *testing.T) {
	o := &operator{n: &Node{crowd: crowd}}
	ref := func(epoch uint64) order.RosterRef {
		return order.RosterRef{Epoch: epoch, Digest: manifest.Sum([]byte{byte(epoch)})}
	}
	at := func(epoch uint64) *View {
		return &View{RosterRef: ref(epoch), Order: &order.Order{Roster: ref(5)}}
	}
	letIn := func(epoch uint64) { // as operator.letIn
		waits, next := o.mayWait(at(epoch-1)), ref(epoch).Digest
		if waits {
			o.patient.Store(&next)
		}
	}
	require.True(t, o.mayWait(at(5)), "the swarm's own")
	letIn(6)
	letIn(7)
	require.True(t, o.mayWait(at(7)))
	require.False(t, o.mayWait(at(8)), "a revocation")
	letIn(9)
	require.False(t, o.mayWait(at(9)), "it carries the revocation")

	of := func(members int) *View { return &View{Roster: &member.Roster{Members: make([]member.Member, members)}} }
	require.Zero(t, o.n.joinPause(of(crowd-1)))
	require.Equal(t, 6*time.Second, o.n.joinPause(of(300)))
}
