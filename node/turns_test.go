package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// fourVoters is the view of voter self in a swarm whose members 1 to 4 vote, of 0 to 5.
func fourVoters(self member.Index) *View {
	o := &order.Order{Components: []order.Component{{Name: "app"}, {Name: "maps"}}, Electorate: order.Electorate{Version: 1}}
	r := &member.Roster{}
	for i := range member.Index(6) {
		r.Members = append(r.Members, member.Member{Index: i, ID: member.ID(fmt.Sprintf("r%d", i))})
		if i >= 1 && i <= 4 {
			o.Electorate.Voters = append(o.Electorate.Voters, order.Voter{Member: i, Server: fmt.Sprintf("r%d", i)})
		}
	}
	return &View{Self: self, Roster: r, Order: o, Electorate: &o.Electorate, past: make(chan struct{})}
}

func turnsNode() *Node {
	return &Node{health: newHealthTable(), turns: turns{given: map[turn]grant{}}, wake: newBroadcast(), voter: &voter{reports: nil}}
}

// say lets a node hear a report.
func (n *Node) say(robot member.Index, sequence uint64, component string, p member.Phase) {
	h := &member.Health{Robot: robot, Boot: 1, Sequence: sequence, Component: component, Phase: p}
	n.health.merge(h, nil)
	n.turns.heard(h)
}

func TestVotersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, v := turnsNode(), fourVoters(3)
		ask := func(robot member.Index, component string, sequence uint64) string {
			return n.yourTurn(v, &order.Armed{Robot: robot, Component: component, Sequence: sequence})
		}
		const wait = "r1 votes too, and switches first"
		require.Empty(t, ask(1, "app", 10))
		require.Empty(t, ask(1, "app", 11), "it asks again")
		require.Equal(t, wait, ask(2, "app", 20))
		require.Equal(t, wait, ask(3, "app", 30), "this one too")
		require.Empty(t, ask(5, "app", 50), "it does not vote")
		require.Empty(t, n.yourTurn(v, &order.Armed{Robot: 2, Component: "app", Empty: true}), "nothing of it would be missing")

		n.say(1, 11, "app", member.Staged)
		require.Equal(t, wait, ask(2, "app", 20), "a report from before it asked says nothing")
		n.say(1, 12, "app", member.Armed)
		n.say(1, 13, "maps", member.Committed)
		require.Equal(t, wait, ask(2, "app", 20), "another component is at rest")
		n.say(1, 14, "app", member.Trial)
		n.turns.given = map[turn]grant{} // as after a restart
		require.Equal(t, wait, ask(2, "app", 20), "its report says that it is on trial")
		n.say(1, 15, "app", member.Reverting)
		require.Equal(t, wait, ask(2, "app", 20))
		n.say(1, 16, "app", member.Reverted)
		require.Empty(t, ask(2, "app", 20))
		require.Contains(t, ask(1, "app", 16), "r2 votes too")

		time.Sleep(turnFor + time.Second)
		require.Empty(t, ask(1, "app", 16), "nobody waits for ever")
		n.turns.heard(&member.Health{Robot: 1, Component: "app", Phase: member.Trial, Sequence: 17, Leaving: true})
		require.Empty(t, ask(4, "app", 40), "one that is switched off is not waited for")
	})
}

// A voter needs a quorum, whoever of the voters lies or is away.
func TestATurnNeedsAQuorum(t *testing.T) {
	away, no := errors.New("out of reach"), fmt.Errorf("%w: another is first", errNotNow)
	for _, c := range []struct {
		name    string
		answers [4]error
		asked   int
		ok      bool
	}{
		{"all say yes: three are enough", [4]error{}, 3, true},
		{"one is away", [4]error{away}, 4, true},
		{"one lies", [4]error{no}, 4, true},
		{"two refuse", [4]error{nil, no, no}, 3, false},
		{"two are away", [4]error{away, nil, away}, 3, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, v := turnsNode(), fourVoters(2)
				n.time, n.keeper = timings["lan"], &keeper{}
				n.keeper.show(*v)
				asked := 0
				err := n.takeTurn(context.Background(), v, func(to order.Voter) error {
					require.Equal(t, member.Index(1+asked), to.Member)
					asked++
					return c.answers[to.Member-1]
				})
				require.Equal(t, c.asked, asked)
				if c.ok {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, ErrNoAck)
					require.NotErrorIs(t, err, errBehind)
				}
			})
		})
	}
}

// Who finds its order outdated on the way must ask for the newer one.
func TestATurnIsForOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, v := turnsNode(), fourVoters(2)
		n.time, n.keeper = timings["lan"], &keeper{}
		n.keeper.show(*v)
		err := n.takeTurn(context.Background(), v, func(order.Voter) error {
			newer := *fourVoters(2)
			newer.Order.Index = 9
			n.keeper.show(newer)
			return errors.New("knows a newer order")
		})
		require.ErrorIs(t, err, errBehind)
	})
}
