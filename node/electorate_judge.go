package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

// unfit is why in may not take the seat of remove, however well it is; nil if it may.
func (s *situation) unfit(in order.Voter, remove *member.Index, why cause) error {
	m, n := s.roster.At(in.Member), s.newest.At(in.Member)
	switch {
	case m == nil || n == nil || m.Key != in.Key || n.Key != in.Key:
		return fmt.Errorf("member %d is not in the roster, or with another key", in.Member)
	case m.NoVote || n.NoVote:
		return fmt.Errorf("%s may not vote, by the roster", m.ID)
	case in != s.voter(m):
		return fmt.Errorf("the seat of %s is called %q, and not %q", m.ID, s.voter(m).Server, in.Server)
	case m.Role == member.Operator && !s.operatorMay(in.Member, remove, why):
		return fmt.Errorf("%s is the operator's node, and there are robots to vote", m.ID)
	}
	if s.state.Electorate.Has(in.Member) && (why != becauseLost || *remove != in.Member) {
		return fmt.Errorf("%s votes already", m.ID)
	}
	return (&rollout.SetVoters{Remove: remove, Add: &in}).Endorsable(s.state)
}

// operatorMay reports whether an operator's node may fill the seat. It goes home in
// the evening, so it may not raise how many voters it takes, and sits only
// beside fewer than foundingVoters robots.
func (s *situation) operatorMay(in member.Index, remove *member.Index, why cause) bool {
	seats := s.state.Electorate.Voters
	switch {
	case remove == nil:
		return order.Quorum(len(seats)+1) == order.Quorum(len(seats))
	case why == becauseOperator:
		return false
	case *remove == in:
		return true
	}
	others := 0
	for _, v := range seats {
		if m := s.roster.At(v.Member); v.Member != *remove && m != nil && m.Role != member.Operator {
			others++
		}
	}
	return others < foundingVoters
}

// objection is why this voter does not endorse the change, nil if it does. answers
// are what members said when they were asked just now: those of ahead, and the one
// that is to enter.
func (s *situation) objection(c *rollout.SetVoters, answers map[member.Index]seatAnswer) error {
	if c.Add == nil {
		return errors.New("a seat goes away only if another takes it")
	}
	why, err := s.cause(c.Remove)
	if err != nil {
		return err
	}
	if err := s.unfit(*c.Add, c.Remove, why); err != nil {
		return err
	}
	if a := answers[c.Add.Member]; a.Server != c.Add.Server {
		return fmt.Errorf("member %d does not answer here for seat %q", c.Add.Member, c.Add.Server)
	}
	var passed []member.ID
	for _, m := range s.ahead(c) {
		if answers[m.Index].Ready {
			passed = append(passed, m.ID)
		}
	}
	if len(passed) > maxPassed {
		return fmt.Errorf("%v come before member %d and are ready", passed, c.Add.Member)
	}
	return nil
}

// ahead are the members that should rather have the seat, best first, maxAsked at
// most. They have been there for twice as long as it takes, for voters do not see
// everybody at the same moment. Who is there is gossip's word: a lie that somebody is
// dead lets a leader choose more freely, among those who may vote by the roster.
func (s *situation) ahead(c *rollout.SetVoters) []*member.Member {
	if c.Add == nil {
		return nil
	}
	why, err := s.cause(c.Remove)
	if err != nil || (why == becauseLost && *c.Remove == c.Add.Member) {
		return nil
	}
	t := *s
	t.times.up *= 2
	all := t.takers(c.Remove, why)
	in := s.roster.At(c.Add.Member)
	all = slices.DeleteFunc(all, func(m *member.Member) bool { return in == nil || m.Index == in.Index || s.compare(m, in) >= 0 })
	return all[:min(len(all), maxAsked)]
}
