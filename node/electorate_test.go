package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	testDead = 300 * time.Second
	testUp   = 60 * time.Second
)

// field is a situation of robots r0 … r(n-1), of which the first seats vote; all have
// been there for an hour.
func field(n, seats int) *situation {
	r := &member.Roster{Format: 1, Swarm: "field", Epoch: 1}
	s := &situation{
		roster: r, newest: r, members: map[member.Index]bearing{}, times: seatTimes{dead: testDead, up: testUp},
		shunned: map[member.Index]bool{}, changes: 128,
		state: &rollout.State{Swarm: "field", Generation: 1, Level: 1, Electorate: order.Electorate{Version: 1}},
	}
	for i := range n {
		m := member.Member{Index: member.Index(i), ID: member.ID("r" + itoa(i)), Key: envelope.KeyOf(seedKey(byte(10 + i))), JoinedAt: 1}
		r.Members = append(r.Members, m)
		s.members[m.Index] = bearing{up: time.Hour}
		if i < seats {
			s.state.Electorate.Voters = append(s.state.Electorate.Voters, order.Voter{Member: m.Index, Key: m.Key, Server: string(m.ID)})
		}
	}
	return s
}

// set changes what is known of a member.
func (s *situation) set(i member.Index, f func(*bearing)) {
	b := s.members[i]
	f(&b)
	s.members[i] = b
}

func (s *situation) dead(i member.Index) {
	s.set(i, func(b *bearing) { b.unheard, b.up = testDead, 0 })
}

// rolling is a rollout under way.
func (s *situation) rolling() {
	s.state.Rollout = &rollout.Rollout{ID: 7, Status: order.Running}
}

func (s *situation) revoke(i member.Index) {
	next := nextRoster(s.roster)
	next.Members[i].Revoked = true
	s.roster, s.newest = next, next
}

// asOperator makes a member the operator's node.
func (s *situation) asOperator(i member.Index) { s.roster.Members[i].Role = member.Operator }

// TestDecide is what a leader makes of what it sees. "" is nothing; "3>5" gives the
// seat of 3 to 5, "+5" adds one; "3>*" lets the hash choose.
func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name     string
		n, seats int
		change   func(s *situation)
		want     string
		why      cause
	}{
		{name: "all is well", n: 6, seats: 4, change: func(s *situation) {}},
		{name: "a dead voter", n: 5, seats: 4, change: func(s *situation) { s.dead(2) }, want: "2>4", why: becauseDead},
		{name: "a dead voter during a rollout", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.rolling() }, want: "2>4", why: becauseDead},
		{name: "a voter that is silent for almost as long", n: 5, seats: 4, change: func(s *situation) {
			s.set(2, func(b *bearing) { b.unheard = testDead - 1 })
		}},
		{name: "one that said goodbye comes back", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.set(2, func(b *bearing) { b.left = true }) }},
		{name: "one that said goodbye and did not", n: 5, seats: 4, change: func(s *situation) {
			s.set(2, func(b *bearing) { b.left, b.up, b.unheard = true, 0, goodbyeFactor*testDead })
		}, want: "2>4", why: becauseDead},
		{name: "nobody else is there: the seat stays", n: 4, seats: 4, change: func(s *situation) { s.dead(2) }},
		{name: "nobody else may vote", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.roster.Members[4].NoVote = true }},
		{name: "the other one has just come", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.set(4, func(b *bearing) { b.up = testUp - 1 }) }},
		{name: "the other one is dead too", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.dead(4) }},
		{name: "the other one is revoked in a roster that is not decided yet", n: 5, seats: 4, change: func(s *situation) {
			s.dead(2)
			next := nextRoster(s.roster)
			next.Members[4].Revoked = true
			s.newest = next
		}},
		{name: "the other one could not, lately", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.shunned[4] = true }},
		{name: "the other one is switching releases", n: 5, seats: 4, change: func(s *situation) {
			s.dead(2)
			s.rolling()
			s.state.Rollout.Open = member.Set{1 << 4}
		}},
		{name: "a revoked voter, at once", n: 5, seats: 4, change: func(s *situation) { s.revoke(1) }, want: "1>4", why: becauseRevoked},
		{name: "revoked comes before dead", n: 5, seats: 4, change: func(s *situation) { s.dead(0); s.revoke(1) }, want: "1>4", why: becauseRevoked},
		{name: "a base node is preferred", n: 12, seats: 4, change: func(s *situation) { s.dead(2); s.roster.Members[9].Role = member.Base }, want: "2>9", why: becauseDead},
		{name: "among robots a hash decides", n: 12, seats: 4, change: func(s *situation) { s.dead(2) }, want: "2>*", why: becauseDead},
		{name: "a lost log: back to the own seat", n: 6, seats: 4, change: func(s *situation) { s.set(3, func(b *bearing) { b.lost = true }) }, want: "3>3", why: becauseLost},
		{name: "a lost log and the robot is gone since", n: 5, seats: 4, change: func(s *situation) {
			s.set(3, func(b *bearing) { b.lost, b.up = true, 0 })
		}, want: "3>4", why: becauseLost},
		{name: "three voters become four", n: 5, seats: 3, change: func(s *situation) { s.dead(4) }, want: "+3", why: becauseFew},
		{name: "not during a rollout", n: 5, seats: 3, change: func(s *situation) { s.rolling() }},
		{name: "seven stay seven", n: 9, seats: 7, change: func(s *situation) {}},
		{name: "one alone becomes two if a third is there", n: 3, seats: 1, change: func(s *situation) {}, want: "+*", why: becauseTooFew},
		{name: "one alone stays alone otherwise", n: 2, seats: 1, change: func(s *situation) {}},
		{name: "the operator's node fills a dead robot's seat", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.asOperator(4) }, want: "2>4", why: becauseDead},
		{name: "but not while there is a robot", n: 6, seats: 4, change: func(s *situation) { s.dead(2); s.asOperator(4) }, want: "2>5", why: becauseDead},
		{name: "nor beside four others", n: 6, seats: 5, change: func(s *situation) { s.dead(2); s.asOperator(5) }},
		{name: "it becomes the third", n: 3, seats: 2, change: func(s *situation) { s.asOperator(2) }, want: "+2", why: becauseTooFew},
		{name: "it does not become the fourth: it goes home", n: 4, seats: 3, change: func(s *situation) { s.asOperator(3) }},
		{name: "it gives its seat to a robot", n: 5, seats: 4, change: func(s *situation) { s.asOperator(0) }, want: "0>4", why: becauseOperator},
		{name: "when the rollout has ended", n: 5, seats: 4, change: func(s *situation) { s.asOperator(0); s.rolling() }},
		{name: "before a fourth comes in", n: 4, seats: 3, change: func(s *situation) { s.asOperator(0) }, want: "0>3", why: becauseOperator},
		{name: "but of two, a third comes first", n: 3, seats: 2, change: func(s *situation) { s.asOperator(0) }, want: "+2", why: becauseTooFew},
		{name: "the last changes are kept", n: 5, seats: 4, change: func(s *situation) { s.dead(2); s.changes = spareChanges }},
		{name: "for the revoked", n: 5, seats: 4, change: func(s *situation) { s.revoke(2); s.changes = spareChanges }, want: "2>4", why: becauseRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := field(c.n, c.seats)
			c.change(s)
			got, ok := s.decide()
			if c.want == "" {
				require.False(t, ok, "%+v", got)
				return
			}
			require.True(t, ok)
			out := "+"
			if got.remove != nil {
				out = fmt.Sprintf("%d>", *got.remove)
			}
			if c.want[len(c.want)-1] == '*' {
				out += "*"
			} else {
				out += itoa(int(got.add.Member))
			}
			require.Equal(t, c.want, out)
			require.Equal(t, c.why, got.why)
			require.Equal(t, s.roster.Members[got.add.Member].Key, got.add.Key)
			require.Equal(t, fmt.Sprintf("r%d-v2", got.add.Member), got.add.Server)

			// Others who see the same endorse it, and decide the same.
			answers := map[member.Index]seatAnswer{got.add.Member: {Server: got.add.Server}}
			for i := range c.n {
				if m := member.Index(i); m != got.add.Member {
					answers[m] = seatAnswer{Ready: true}
				}
			}
			require.NoError(t, s.objection(got.setVoters(), answers))
			again, _ := s.decide()
			require.Equal(t, got, again)
		})
	}
}

// The hash that orders members is another one in each electorate: nobody stays first.
func TestRankChangesWithTheElectorate(t *testing.T) {
	s := field(30, 4)
	s.dead(2)
	first := map[member.Index]bool{}
	for range 20 {
		c, ok := s.decide()
		require.True(t, ok)
		first[c.add.Member] = true
		s.state.Electorate.Version++
	}
	require.Greater(t, len(first), 10)
}

// TestObjection is the heart of it: what voters do not endorse, whoever leads.
func TestObjection(t *testing.T) {
	index := func(i int) *member.Index { m := member.Index(i); return &m }
	for _, c := range []struct {
		name   string
		change func(s *situation, c *rollout.SetVoters, answers map[member.Index]seatAnswer)
		want   string // part of the objection; empty is none
	}{
		{"a dead voter goes", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {}, ""},
		{"an honest voter that was heard", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) { c.Remove = index(1) }, "answered"},
		{"one that answers after all", func(s *situation, _ *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			s.set(2, func(b *bearing) { b.unheard = 0 })
		}, "answered"},
		{"one that gossip holds dead but that was heard", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			c.Remove = index(1)
			s.set(1, func(b *bearing) { b.up = 0 })
		}, "answered"},
		{"a seat is taken away alone", func(_ *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) { c.Add = nil }, "only if another takes it"},
		{"a seat is added to four", func(_ *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) { c.Remove = nil }, "enough"},
		{"somebody without a seat leaves", func(_ *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) { c.Remove = index(9) }, "no seat"},
		{"a stranger enters", func(_ *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			c.Add.Key = envelope.KeyOf(seedKey(99))
		}, "not in the roster"},
		{"a member that does not exist enters", func(_ *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) { c.Add.Member = 99 }, "not in the roster"},
		{"a revoked one enters", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) { s.revoke(c.Add.Member) }, "not in the roster"},
		{"one that may not vote enters", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			s.roster.Members[c.Add.Member].NoVote = true
		}, "may not vote"},
		{"a voter enters twice", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			in := s.voter(&s.roster.Members[1])
			c.Add = &in
		}, "votes already"},
		{"under the name of a seat that was", func(_ *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) { c.Add.Server = "r1-v1" }, "is called"},
		{"the operator's node, and there are robots", func(s *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			s.asOperator(c.Add.Member)
		}, "come before"},
		{"the operator's node, beside four robots", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			s.asOperator(c.Add.Member)
			m := s.roster.Members[9]
			s.state.Electorate.Voters = append(s.state.Electorate.Voters, order.Voter{Member: 9, Key: m.Key, Server: "r9"})
		}, "robots to vote"},
		{"one that does not answer here", func(_ *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			delete(a, c.Add.Member)
		}, "does not answer here"},
		{"one that runs another seat", func(_ *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			a[c.Add.Member] = seatAnswer{Server: "r5-v9", Ready: true}
		}, "does not answer here"},
		{"a friend of the leader's, the last of all", func(s *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			last := s.takers(c.Remove, becauseDead)
			in := s.voter(last[len(last)-1])
			c.Add = &in
			a[in.Member] = seatAnswer{Server: in.Server, Ready: true}
		}, "come before"},
		{"the third best, for links differ", func(s *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			in := s.voter(s.takers(c.Remove, becauseDead)[maxPassed])
			c.Add = &in
			a[in.Member] = seatAnswer{Server: in.Server, Ready: true}
		}, ""},
		{"the last of all, and the others do not answer here either", func(s *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			last := s.takers(c.Remove, becauseDead)
			in := s.voter(last[len(last)-1])
			c.Add = &in
			clear(a)
			a[in.Member] = seatAnswer{Server: in.Server, Ready: true}
		}, ""},
		{"a lost seat goes back to its holder, whoever comes first", func(s *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			s.set(2, func(b *bearing) { b.unheard, b.lost, b.up = 0, true, time.Hour })
			in := s.voter(&s.roster.Members[2])
			c.Add = &in
			a[2] = seatAnswer{Server: in.Server, Lost: "r2", Ready: true}
		}, ""},
		{"a live seat is renewed by a leader's wish", func(s *situation, c *rollout.SetVoters, a map[member.Index]seatAnswer) {
			s.set(2, func(b *bearing) { b.unheard, b.up = 0, time.Hour })
			in := s.voter(&s.roster.Members[2])
			c.Add = &in
			a[2] = seatAnswer{Server: in.Server, Ready: true}
		}, "answered"},
		{"the operator's node leaves for a robot", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			s.asOperator(1)
			c.Remove = index(1)
		}, ""},
		{"not during a rollout", func(s *situation, c *rollout.SetVoters, _ map[member.Index]seatAnswer) {
			s.asOperator(1)
			c.Remove = index(1)
			s.rolling()
		}, "until rollout 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := field(10, 4)
			s.dead(2)
			d, ok := s.decide()
			require.True(t, ok)
			answers := map[member.Index]seatAnswer{}
			for i := range 10 {
				answers[member.Index(i)] = seatAnswer{Ready: true}
			}
			answers[d.add.Member] = seatAnswer{Server: d.add.Server, Ready: true}
			change := d.setVoters()
			c.change(s, change, answers)
			err := s.objection(change, answers)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}
