package node

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
)

// A swarm begins at the feature level that all who are on can read, and rises when its
// machines have been updated. The leader proposes the next level when every member has
// said that it reads it: nobody is to be left behind, so one that is silent or older
// keeps the level where it is, and status names it. That a member lies delays the
// swarm or leaves that member behind, no more: gossip is good enough for those who do not vote.
// Voters must be able to go on, so the decision carries their signed reports.

const (
	// maxLevelNames bounds whom status names.
	maxLevelNames = 3
	// levelComponent stands for the component in the report of a machine that runs none:
	// it says which level that reads, as long as the swarm is below.
	levelComponent = "starling.level"
)

// LevelView says why the swarm's feature level is below what this build reads.
type LevelView struct {
	Next uint `json:"next"` // the level that comes next
	// WaitsFor are the first of the members that keep it from coming, as seen from here,
	// and More is how many there are beside them.
	WaitsFor []LevelWait `json:"waits_for"`
	More     int         `json:"more"`
	Text     string      `json:"text"`
}

// LevelWait is one member of whom it is not known yet that it reads the next level.
type LevelWait struct {
	ID member.ID `json:"id"`
	// Reads is the newest level that it says it reads, 0 if it is not heard. Of a voter
	// it may be the next one: then its signed word is to come.
	Reads uint `json:"reads"`
}

// level is the newest feature level that this build reads.
func (n *Node) level() uint { return cmp.Or(n.older, order.Level) }

// firstLevel is the feature level at which a swarm begins: the newest that this build and
// all members who are on can read.
func firstLevel(build uint, there map[member.Index]gossip.Member) uint {
	for _, m := range there {
		if l := uint(m.Meta.Level); m.State == gossip.Alive && l > 0 {
			build = min(build, l)
		}
	}
	return build
}

// said is what a node has heard of the level that a member reads.
type said struct {
	gossip uint           // by its gossip; 0 unless it is alive there
	report *member.Report // its newest; nil is none
}

// reads is the newest level that the member says it reads, 0 if it is not heard. Gossip
// is newer than a report.
func (a said) reads() uint { return cmp.Or(a.gossip, a.signed()) }

// signed is the same by its report alone.
func (a said) signed() uint {
	if a.report == nil {
		return 0
	}
	return a.report.Level
}

// levels is what a node judges the feature level by. Its methods are pure.
type levels struct {
	swarm   uint   // the level now
	build   uint   // the newest that this node reads
	rollout uint64 // one that is under way; 0 is none
	roster  *member.Roster
	voters  *order.Electorate
	said    map[member.Index]said
	signed  bool // this node hears the reports of all voters
}

// waits are the members that keep the next level from coming, by index. A revoked one
// counts as long as it has a seat.
func (l *levels) waits() []LevelWait {
	var out []LevelWait
	for i := range l.roster.Members {
		m := &l.roster.Members[i]
		votes, a := l.voters.Has(m.Index), l.said[m.Index]
		switch {
		case m.Revoked && !votes:
		case a.reads() <= l.swarm, votes && l.signed && a.signed() <= l.swarm:
			out = append(out, LevelWait{m.ID, a.reads()})
		}
	}
	return out
}

// decide is the decision that raises the level, if that may be.
func (l *levels) decide() (*rollout.Decision, bool) {
	if l.swarm >= l.build || l.rollout != 0 || len(l.waits()) > 0 {
		return nil, false
	}
	d := &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindLevel, Level: l.swarm + 1}
	for _, v := range l.voters.Voters {
		r := l.said[v.Member].report
		if r == nil {
			return nil, false
		}
		d.Observe = append(d.Observe, r.Sealed)
	}
	return d, true
}

// view says in words how the level stands; nil if it is all that this build reads.
func (l *levels) view() *LevelView {
	if l.swarm >= l.build {
		return nil
	}
	all := l.waits()
	out := &LevelView{Next: l.swarm + 1, WaitsFor: append([]LevelWait{}, all[:min(len(all), maxLevelNames)]...)}
	out.More = len(all) - len(out.WaitsFor)
	out.Text = fmt.Sprintf("the swarm is at feature level %d, this build reads %d; level %d comes ", l.swarm, l.build, out.Next)
	switch {
	case len(all) > 0:
		out.Text += "when all members read it, and waits for " + out.names()
	case l.rollout != 0:
		out.Text += fmt.Sprintf("when rollout %d has ended", l.rollout)
	default:
		out.Text += "as soon as the leader has heard that all members read it"
	}
	return out
}

// names are those that the level waits for: "r03 (reads 1), r04 (not heard) and 4 more".
func (w *LevelView) names() string {
	var names []string
	for _, m := range w.WaitsFor {
		what := fmt.Sprintf("reads %d", m.Reads)
		switch {
		case m.Reads == 0:
			what = "not heard"
		case m.Reads >= w.Next:
			what = "votes, and its report is to come"
		}
		names = append(names, fmt.Sprintf("%s (%s)", m.ID, what))
	}
	text := strings.Join(names, ", ")
	if w.More > 0 {
		text += fmt.Sprintf(" and %d more", w.More)
	}
	return text
}

// hearsay is what this node has heard of all members' levels.
func (n *Node) hearsay(v *View) map[member.Index]said {
	out := map[member.Index]said{}
	for _, r := range n.health.all() {
		if a := out[r.Robot]; a.report == nil || a.report.Sequence < r.Sequence {
			out[r.Robot] = said{report: &r}
		}
	}
	for i, m := range n.heardOf() {
		if a := out[i]; m.State == gossip.Alive {
			a.gossip = uint(m.Meta.Level)
			out[i] = a
		}
	}
	a := out[v.Self]
	a.gossip = n.level()
	out[v.Self] = a
	return out
}

// featureLevel is how the level of the newest order stands, seen from here.
func (n *Node) featureLevel(v *View) *LevelView {
	if v.Order == nil || v.Roster == nil || v.Order.Level >= n.level() {
		return nil
	}
	l := levels{swarm: v.Order.Level, build: n.level(), roster: v.Roster, voters: v.Electorate, said: n.hearsay(v), signed: v.Votes()}
	if r := v.Order.Rollout; r != nil && !r.Status.Final() {
		l.rollout = r.ID
	}
	return l.view()
}

// raiseLevel proposes the next feature level if that may be, as the leader. What Apply
// would refuse is not proposed.
func (w *voter) raiseLevel(ctx context.Context, r *consensus.Replica) {
	v, s := w.n.keeper.View(), r.State()
	if s.Level >= w.n.level() || v.Roster == nil || v.RosterRef != s.Roster {
		return
	}
	l := levels{swarm: s.Level, build: w.n.level(), roster: v.Roster, voters: &s.Electorate, said: w.n.hearsay(v), signed: true}
	if s.Rollout != nil && !s.Rollout.Status.Final() {
		l.rollout = s.Rollout.ID
	}
	d, ok := l.decide()
	if !ok {
		return
	}
	d.Time = v.now().Unix()
	err := s.Clone().Apply(s.Index+1, d)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, reseatFor*w.n.time.heartbeat)
		defer cancel()
		err = r.Propose(ctx, d)
	}
	if err != nil {
		w.n.log.Warn("feature level not raised, trying again", "level", d.Level, "err", err)
		return
	}
	w.n.log.Info("feature level raised", "level", d.Level)
}

// saysLevel reports whether this machine must say by a report of its own which level it
// reads: it runs no payload, and the swarm is below. Robots say it with all else.
func (n *Node) saysLevel(v *View) bool {
	return len(n.robots) == 0 && v.Order != nil && v.Order.Level < n.level()
}

func levelReport() *member.Health {
	return &member.Health{Format: member.HealthFormat, Component: levelComponent}
}
