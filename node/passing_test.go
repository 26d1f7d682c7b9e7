package node

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// What waits to be passed on is the newest of each robot, in messages that a voter takes.
func TestPassing(t *testing.T) {
	p := newPassing()
	add := func(robot, sequence int) {
		p.add(&member.Health{Robot: member.Index(robot), Component: "app"}, fmt.Appendf(nil, "%d of %d", sequence, robot))
	}
	const robots = maxTogether + 1
	for sequence := range 3 {
		for robot := range robots {
			add(robot, sequence)
		}
	}
	<-p.some
	require.Empty(t, p.some, "one nudge is enough")
	messages := p.take()
	require.Len(t, messages, 2)
	require.Len(t, messages[0].Sealed, maxTogether)
	require.Equal(t, [][]byte{[]byte("2 of 64")}, messages[1].Sealed)
	require.Empty(t, p.take())

	add(7, 3)
	<-p.some
	require.Equal(t, [][]byte{[]byte("3 of 7")}, p.take()[0].Sealed)
}

func TestDecodeReports(t *testing.T) {
	largest := make([][]byte, maxTogether)
	for i := range largest {
		largest[i] = bytes.Repeat([]byte{1}, maxReportBytes)
	}
	for _, c := range []struct {
		name   string
		sealed [][]byte
		ok     bool
	}{
		{"none", nil, false},
		{"one", [][]byte{{1}}, true},
		{"the largest", largest, true},
		{"too many", append(largest, nil), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &reports{Format: reportsFormat, Sealed: c.sealed}
			got, err := decodeReports(r.encode())
			if !c.ok {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, r, got)
		})
	}
}

// In a crowd a robot tells one voter, and all who listen hear it; also when the voter that
// it told is gone.
func TestACrowdTellsOneVoter(t *testing.T) {
	t.Parallel()
	s := &swarm{t: t, crowd: 2, heartbeat: 2 * time.Second}
	s.begin(6*time.Minute, 7, "1.0.0")
	s.wait("all on 1.0.0", s.all("1.0.0"))
	heard := func(what string) {
		listeners := []*member0{s.op}
		since := map[member.Index]uint64{}
		for _, m := range s.robots {
			if since[m.View().Self] = m.sequence.Load(); m.View().Votes() {
				listeners = append(listeners, m)
			}
		}
		s.wait(what, func() bool {
			for _, l := range listeners {
				for robot, sequence := range since {
					if h, _, _ := l.health.newest(robot, "app"); h.Sequence <= sequence {
						return false
					}
				}
			}
			return true
		})
	}
	heard("all are heard by all who listen")
	voter := func(robot *member0) string {
		v := robot.View()
		voters := v.Electorate.Voters
		return v.nameOf(voters[(uint32(v.Self)+robot.passTo.Load())%uint32(len(voters))].Member)
	}
	var teller *member0
	s.wait("a robot has no connection with some voter", func() bool {
		for _, robot := range s.robots {
			if !robot.View().Votes() && len(robot.control.Connected()) < foundingVoters {
				teller = robot
			}
		}
		return teller != nil
	})
	require.True(t, slices.ContainsFunc(teller.View().Electorate.Voters, func(to order.Voter) bool {
		return to.Key == teller.documentFrom(teller.View())[0]
	}), "for documents it asks a voter first")
	require.Len(t, teller.documentFrom(teller.View()), 7, "then all others")
	asks := teller.catchUpFrom(teller.View())[0]
	require.NoError(t, teller.pull(s.ctx, asks, ""))
	again := 0
	for range 40 {
		whom := teller.catchUpFrom(teller.View())[0]
		require.NotEqual(t, s.op.key(), whom, "what a robot missed it asks of other robots")
		if slices.Contains(teller.bulk.Connected(), whom) {
			again++
		}
	}
	require.Greater(t, again, 20, "mostly of one to whom a connection stands")
	epoch := s.op.View().RosterRef.Epoch
	for i := range 3 {
		s.addRobot(fmt.Sprintf("late%d", i+1))
	}
	s.wait("late ones are in, too", s.all("1.0.0"))
	require.Equal(t, epoch+3, s.op.View().RosterRef.Epoch)
	gone, version := voter(teller), teller.View().Electorate.Version
	for _, m := range s.robots {
		if string(m.View().ID) == gone {
			s.kill(m)
			break
		}
	}
	s.wait("it tells another voter than "+gone, func() bool { return voter(teller) != gone })
	require.Equal(t, version, teller.View().Electorate.Version, "it does not wait until the seat is given away")
	heard("they are heard without " + gone)
}
