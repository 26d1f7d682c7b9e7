package node

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

// How a seat changes hands:
//
//	callRoll   each voter asks each other again and again whether its seat is there
//	decide     the leader finds a seat to give away, and who is to have it
//	invite     that member starts a replica without a vote
//	prepare    raft brings it up to date (consensus.PrepareVoter)
//	endorse    a quorum of the voters sign, each by what it saw itself
//	propose    the decision; then raft lets go of the old seat (consensus, steer)
//
// Every step may be repeated, and the next leader begins again at the first: it
// decides the same, and what is done already takes no time.
//
// A leader is not believed. A seat goes away only by the word of a quorum who do not
// hear it themselves, or read in the roster that it is revoked. Who gets it follows
// from a hash that changes with each electorate, so that a captured leader cannot
// call its friends in: objection lets it pass over two members, not more.

const (
	// goodbyeFactor is how much longer a leader waits for a voter that said goodbye: it
	// was switched off by somebody, who will mostly switch it on again.
	goodbyeFactor = 6
	// maxPassed is how many members that come first, are within a voter's reach and
	// ready may be passed over: links differ, so a leader may know better.
	maxPassed = 2
	// maxAsked bounds whom a voter asks about that.
	maxAsked = 8
	// spareChanges of consensus.MaxChain are kept for seats that are revoked or lost.
	spareChanges = 32
)

// A cause is why a seat changes hands; the lower the more urgent.
type cause uint8

const (
	becauseRevoked  cause = 1 // its key counts for nothing any more
	becauseLost     cause = 2 // it says itself that its log is gone
	becauseDead     cause = 3 // nobody hears it
	becauseTooFew   cause = 4 // one or two voters: none may fail
	becauseOperator cause = 5 // the operator's node, and a robot can take over
	becauseFew      cause = 6 // fewer than foundingVoters
)

func (c cause) String() string {
	switch c {
	case becauseRevoked:
		return "revoked"
	case becauseLost:
		return "the log of the seat is gone"
	case becauseDead:
		return "not heard for too long"
	case becauseTooFew, becauseFew:
		return fmt.Sprintf("fewer than %d voters", foundingVoters)
	case becauseOperator:
		return "a robot takes over from the operator's node"
	}
	return fmt.Sprintf("cause %d", uint8(c))
}

// seatTimes are how patient voters are.
type seatTimes struct {
	dead time.Duration // a seat not heard for so long may be given to another
	up   time.Duration // who takes one has been there for so long
}

// bearing is what one voter knows of a member; zero of one never heard.
type bearing struct {
	unheard time.Duration // since its seat last answered; seats only
	lost    bool          // it says that the log of its seat is gone
	left    bool          // it said goodbye, as gossip has it
	up      time.Duration // since when gossip holds it alive; 0 is not
}

// situation is what one voter judges a change of seats by. Its methods are pure.
type situation struct {
	state   *rollout.State
	roster  *member.Roster // that state names
	newest  *member.Roster // that this node has verified; may be the same
	members map[member.Index]bearing
	times   seatTimes
	shunned map[member.Index]bool // could not take a seat lately
	changes int                   // how many more this generation can take
}

// reseating is one change of seats, and why.
type reseating struct {
	remove *member.Index // nil adds a seat
	add    order.Voter
	why    cause
}

func (c *reseating) setVoters() *rollout.SetVoters {
	return &rollout.SetVoters{Remove: c.remove, Add: &c.add}
}

// decide is what a leader wants to change now, if anything. One seat changes at a
// time, and their number never falls.
func (s *situation) decide() (reseating, bool) {
	type wish struct {
		remove *member.Index
		why    cause
	}
	var wishes []wish
	if why, err := s.cause(nil); err == nil {
		wishes = append(wishes, wish{nil, why})
	}
	for _, v := range s.state.Electorate.Voters {
		if why, err := s.cause(&v.Member); err == nil {
			wishes = append(wishes, wish{&v.Member, why})
		}
	}
	slices.SortStableFunc(wishes, func(a, b wish) int { return int(a.why) - int(b.why) })
	for _, w := range wishes {
		if s.changes <= spareChanges && w.why > becauseLost {
			continue
		}
		takers := s.takers(w.remove, w.why)
		if w.remove == nil && len(s.state.Electorate.Voters) == 1 && len(takers) < 2 {
			continue // of two voters none may fail: one alone is better
		}
		if len(takers) > 0 {
			m := takers[0]
			return reseating{w.remove, s.voter(m), w.why}, true
		}
	}
	return reseating{}, false
}

// cause is why the seat of remove may be given away now; of nil, why there should be
// one more. The error says why not.
func (s *situation) cause(remove *member.Index) (cause, error) {
	seats := s.state.Electorate.Voters
	if remove == nil {
		switch {
		case len(seats) >= foundingVoters:
			return 0, fmt.Errorf("%d voters are enough", len(seats))
		case s.live():
			return 0, fmt.Errorf("more voters wait until rollout %d has ended", s.state.Rollout.ID)
		case len(seats) < 3:
			return becauseTooFew, nil
		}
		return becauseFew, nil
	}
	i := slices.IndexFunc(seats, func(v order.Voter) bool { return v.Member == *remove })
	if i < 0 {
		return 0, fmt.Errorf("member %d has no seat", *remove)
	}
	at := s.members[*remove]
	patience := s.times.dead
	if at.left {
		patience *= goodbyeFactor
	}
	switch {
	case s.revoked(seats[i]):
		return becauseRevoked, nil
	case at.lost:
		return becauseLost, nil
	case at.unheard >= patience:
		return becauseDead, nil
	case s.roster.Members[*remove].Role != member.Operator:
		return 0, fmt.Errorf("the seat of member %d answered %s ago, a voter is given up after %s", *remove, at.unheard.Round(time.Second), patience)
	case s.live():
		return 0, fmt.Errorf("member %d keeps its seat until rollout %d has ended", *remove, s.state.Rollout.ID)
	}
	return becauseOperator, nil
}

// live reports whether a rollout is under way.
func (s *situation) live() bool { return s.state.Rollout != nil && !s.state.Rollout.Status.Final() }

// revoked reports whether a roster says that the seat's key counts for nothing.
func (s *situation) revoked(v order.Voter) bool {
	for _, r := range []*member.Roster{s.roster, s.newest} {
		if m := r.At(v.Member); m == nil || m.Key != v.Key {
			return true
		}
	}
	return false
}

// voter is the seat that m would have in the next electorate. The server id is new
// each time, so that no seat ever answers for an earlier one.
func (s *situation) voter(m *member.Member) order.Voter {
	return order.Voter{Member: m.Index, Key: m.Key, Server: fmt.Sprintf("%s-v%d", m.ID, s.state.Electorate.Version+1)}
}

// takers are the members that may take the seat and are up to it, best first.
func (s *situation) takers(remove *member.Index, why cause) []*member.Member {
	var out []*member.Member
	for i := range s.roster.Members {
		m := &s.roster.Members[i]
		up, least := s.members[m.Index].up, s.times.up
		if why == becauseLost && m.Index == *remove {
			least = 1 // it was there all the time
		}
		if up >= least && up > 0 && !s.shunned[m.Index] && s.unfit(s.voter(m), remove, why) == nil {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *member.Member) int {
		switch {
		case why == becauseLost && a.Index == *remove:
			return -1 // back to its own seat
		case why == becauseLost && b.Index == *remove:
			return 1
		}
		return s.compare(a, b)
	})
	return out
}

// compare orders members by who should rather have a seat: base nodes, robots, the
// operator's node, and among equals by a hash that is another with each electorate.
func (s *situation) compare(a, b *member.Member) int {
	class := func(m *member.Member) int {
		switch m.Role {
		case member.Base:
			return 0
		case member.Operator:
			return 2
		}
		return 1
	}
	if d := class(a) - class(b); d != 0 {
		return d
	}
	ra, rb := s.rank(a), s.rank(b)
	return bytes.Compare(ra[:], rb[:])
}

func (s *situation) rank(m *member.Member) manifest.Digest {
	body := canonical.Encode([]any{s.state.Swarm, s.state.Generation, s.state.Electorate.Version, m.Key})
	return manifest.Sum(append([]byte("starling/seat/1\x00"), body...))
}
