package node

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
)

// reads is a member that is there, and has reported.
func reads(level uint) said {
	return said{gossip: level, report: &member.Report{Health: member.Health{Level: level}, Sealed: []byte(fmt.Sprint("level ", level))}}
}

// levelsOf is a swarm at level 1 of which all members read level 2, as a leader sees it:
// r00 to r05 and an operator's node, r01 to r04 vote, the operator's never reports.
func levelsOf() *levels {
	l := &levels{swarm: 1, build: 2, roster: &member.Roster{}, voters: &order.Electorate{Version: 1}, said: map[member.Index]said{}, signed: true}
	for i := range member.Index(6) {
		l.roster.Members = append(l.roster.Members, member.Member{Index: i, ID: member.ID(fmt.Sprintf("r%02d", i))})
		if l.said[i] = reads(2); i >= 1 && i <= 4 {
			l.voters.Voters = append(l.voters.Voters, order.Voter{Member: i})
		}
	}
	l.roster.Members = append(l.roster.Members, member.Member{Index: 6, ID: "op", Role: member.Operator})
	l.said[6] = said{gossip: 2}
	return l
}

func TestWhenTheFeatureLevelRises(t *testing.T) {
	const stands = "the swarm is at feature level 1, this build reads 2; level 2 comes "
	const waits = stands + "when all members read it, and waits for "
	const comes = stands + "as soon as the leader has heard that all members read it"
	only := func(report uint) said { return said{report: reads(report).report} }
	for _, tt := range []struct {
		name   string
		change func(*levels)
		to     uint   // the level proposed, 0 is none
		text   string // "" is nothing to say
	}{
		{"all announce it", func(*levels) {}, 2, comes},
		{"level already newest", func(l *levels) { l.swarm = 2 }, 0, ""},
		{"level already newest here, and the others read more", func(l *levels) {
			l.swarm = 2
			for i := range l.said {
				l.said[i] = reads(3)
			}
		}, 0, ""},
		{"the swarm is ahead of this build", func(l *levels) { l.swarm = 3 }, 0, ""},
		{"all are two levels ahead: one at a time", func(l *levels) {
			l.build = 3
			for i := range l.said {
				l.said[i] = reads(3)
			}
		}, 2, "the swarm is at feature level 1, this build reads 3; level 2 comes as soon as the leader has heard that all members read it"},
		{"one is silent", func(l *levels) { delete(l.said, 5) }, 0, waits + "r05 (not heard)"},
		{"the operator's laptop is off", func(l *levels) { delete(l.said, 6) }, 0, waits + "op (not heard)"},
		{"one is older", func(l *levels) { l.said[5] = reads(1) }, 0, waits + "r05 (reads 1)"},
		{"a voter is older", func(l *levels) { l.said[2] = reads(1) }, 0, waits + "r02 (reads 1)"},
		{"one is off that was updated before", func(l *levels) { l.said[5] = only(2) }, 2, comes},
		{"one is off that was older", func(l *levels) { l.said[5] = only(1) }, 0, waits + "r05 (reads 1)"},
		{"one is back that was older, and has not reported", func(l *levels) { l.said[5] = said{gossip: 2, report: reads(1).report} }, 2, comes},
		{"one went back to an older build", func(l *levels) { l.said[5] = said{gossip: 1, report: reads(2).report} }, 0, waits + "r05 (reads 1)"},
		{"a voter's report is not here", func(l *levels) { l.said[2] = said{gossip: 2} }, 0, waits + "r02 (votes, and its report is to come)"},
		{"a voter's report is of before its update", func(l *levels) { l.said[2] = said{gossip: 2, report: reads(1).report} }, 0, waits + "r02 (votes, and its report is to come)"},
		{"a voter of an older build never reports", func(l *levels) { l.said[2] = said{gossip: 1} }, 0, waits + "r02 (reads 1)"},
		{"a voter that was updated is off", func(l *levels) { l.said[2] = only(2) }, 2, comes},
		{"a voter went back to an older build", func(l *levels) { l.said[2] = said{gossip: 1, report: reads(2).report} }, 0, waits + "r02 (reads 1)"},
		{"a voter's report is not here, where none come", func(l *levels) { l.said[2], l.signed = said{gossip: 2}, false }, 0, comes},
		{"a voter that the roster does not have", func(l *levels) { l.voters.Voters[0].Member = 9 }, 0, comes},
		{"one is revoked", func(l *levels) { l.roster.Members[5].Revoked = true; delete(l.said, 5) }, 2, comes},
		{"a voter is revoked and has a seat", func(l *levels) { l.roster.Members[2].Revoked = true; delete(l.said, 2) }, 0, waits + "r02 (not heard)"},
		{"a rollout is open", func(l *levels) { l.rollout = 4 }, 0, stands + "when rollout 4 has ended"},
		{"a rollout is open and one is older", func(l *levels) { l.rollout, l.said[5] = 4, reads(1) }, 0, waits + "r05 (reads 1)"},
		{"three are named", func(l *levels) { l.said = map[member.Index]said{2: reads(1), 3: reads(2), 6: reads(2)} }, 0,
			waits + "r00 (not heard), r01 (not heard), r02 (reads 1) and 2 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := levelsOf()
			tt.change(l)
			d, ok := l.decide()
			require.Equal(t, tt.to != 0, ok)
			if ok {
				var sealed [][]byte
				for _, v := range l.voters.Voters {
					sealed = append(sealed, l.said[v.Member].report.Sealed)
				}
				require.Equal(t, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindLevel, Level: tt.to, Observe: sealed}, d)
			}
			v := l.view()
			if tt.text == "" {
				require.Nil(t, v)
				return
			}
			require.Equal(t, tt.text, v.Text)
			require.LessOrEqual(t, len(v.WaitsFor), maxLevelNames)
		})
	}
}

// A swarm begins at the level that everybody who is on can read.
func TestFirstLevel(t *testing.T) {
	reads := func(level uint8, s gossip.State) gossip.Member {
		return gossip.Member{State: s, Meta: gossip.Meta{Level: level}}
	}
	require.EqualValues(t, 3, firstLevel(3, nil))
	require.EqualValues(t, 2, firstLevel(2, map[member.Index]gossip.Member{1: reads(3, gossip.Alive)}))
	require.EqualValues(t, 2, firstLevel(3, map[member.Index]gossip.Member{1: reads(3, gossip.Alive), 2: reads(2, gossip.Alive), 3: reads(1, gossip.Dead), 4: reads(0, gossip.Alive)}))
}
