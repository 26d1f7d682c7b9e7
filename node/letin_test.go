package node

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// show makes v the keeper's view, as publish does.
func (k *keeper) show(v View) {
	v.past = make(chan struct{})
	if old := k.view.Swap(&v); old != nil {
		close(old.past)
	}
}

func TestAJoinIsAnsweredWhenTheSwarmKnows(t *testing.T) {
	robot, other := envelope.KeyOf(seedKey(1)), envelope.KeyOf(seedKey(2))
	ref := func(epoch uint64, name string) order.RosterRef {
		return order.RosterRef{Epoch: epoch, Digest: manifest.Sum([]byte(name))}
	}
	// mine has the robot in it, at another place than the operator first gave it.
	mine := View{RosterRef: ref(5, "mine"), Roster: &member.Roster{Members: []member.Member{{Index: 0, ID: "op", Key: other}, {Index: 1, ID: "r-2", Key: robot}}}}
	theirs := View{RosterRef: ref(5, "theirs"), Roster: &member.Roster{Members: []member.Member{{Index: 0, ID: "op", Key: other}}}}
	ordered := func(v View, r order.RosterRef) View {
		v.Order = &order.Order{Roster: r}
		return v
	}
	newer := mine
	newer.RosterRef = ref(6, "newer")
	accepted := join.Reply{Format: 1, Index: 9, ID: "r"}
	for _, c := range []struct {
		name  string
		views []View // one each second
		given join.Reply
		want  join.Refusal
		took  time.Duration
	}{
		{"before the first generation, at once", []View{mine}, accepted, join.None, 0},
		{"known already", []View{ordered(mine, ref(5, "mine"))}, accepted, join.None, 0},
		{"known after a while", []View{ordered(mine, ref(4, "old")), ordered(mine, ref(4, "old")), ordered(mine, ref(5, "mine"))}, accepted, join.None, 2 * time.Second},
		{"a newer roster is on its way already", []View{ordered(mine, ref(4, "old")), ordered(newer, ref(5, "mine"))}, accepted, join.None, time.Second},
		{"never known", []View{ordered(mine, ref(4, "old"))}, accepted, join.Wait, 5 * time.Second},
		{"another roster of that epoch is the swarm's", []View{ordered(mine, ref(4, "old")), ordered(mine, ref(5, "theirs")), ordered(theirs, ref(5, "theirs"))}, accepted, join.Wait, 2 * time.Second},
		{"refused", []View{theirs}, join.Reply{Refusal: join.UsedUp}, join.UsedUp, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &Node{keeper: &keeper{}, time: timing{call: 10 * time.Second}}
				n.keeper.show(c.views[0])
				go func() {
					for _, v := range c.views[1:] {
						time.Sleep(time.Second) // virtual
						n.keeper.show(v)
					}
				}()
				began := time.Now()
				r := n.whenKnown(t.Context(), robot, c.given)
				require.Equal(t, c.want, r.Refusal)
				require.Equal(t, c.took, time.Since(began))
				if c.want == join.None {
					require.Equal(t, member.Index(1), r.Index, "what the roster says now")
					require.Equal(t, member.ID("r-2"), r.ID)
				}
			})
		})
	}
}

// While too few voters are there, a robot that joins waits in line and says so; when
// they are back it is in, once.
func TestARobotWaitsInLineForAQuorum(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 0)
	enter := func(name string) *member0 {
		i, err := s.op.Invite(s.ctx, InviteRequest{Role: "base"})
		require.NoError(t, err)
		cfg := loopback(filepath.Join(s.dir, name))
		cfg.Name, cfg.Invite = name, i
		return s.start(cfg)
	}
	first := enter("b01")
	s.wait("the first", first.taking)
	require.NoError(t, s.op.Begin(s.ctx, 2))
	s.wait("both vote", func() bool { return first.View().Votes() && s.op.Status().Quorum.Leader != "" })
	epoch := s.op.View().RosterRef.Epoch
	first.stop()
	<-first.gone

	late := enter("b02")
	s.wait("it is told to wait", func() bool { return late.inLine.Load() })
	require.False(t, late.taking())
	require.Contains(t, late.Status().Summary, "waits until the swarm's voters know it")
	require.Less(t, s.op.View().Order.Roster.Epoch, s.op.View().RosterRef.Epoch)

	cfg := first.cfg
	cfg.Invite = nil
	s.start(cfg)
	s.wait("it is in", late.taking)
	require.Equal(t, epoch+1, s.op.View().RosterRef.Epoch, "it was let in once, however often it asked")
	require.GreaterOrEqual(t, s.op.View().Order.Roster.Epoch, epoch+1)
	require.Equal(t, member.ID("b02"), late.View().ID)
}
