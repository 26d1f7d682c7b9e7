package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
)

// ErrNoMember is returned for a name that the roster does not have; Nodes lists
// those it has.
var ErrNoMember = errors.New("node: no member of this name")

// Nodes is every member of the roster, as seen from one node.
type Nodes struct {
	Schema string     `json:"schema"`
	Time   time.Time  `json:"time"`
	SeenBy member.ID  `json:"seen_by"`
	Nodes  []NodeView `json:"nodes"` // by index
}

// A NodeView is one member. State is gossip's word, and "unheard" for one that was
// not heard in this run. Voters and operators hear every robot's reports, others
// only their own: then Reports is empty.
type NodeView struct {
	ID           member.ID         `json:"id"`
	Index        member.Index      `json:"index"`
	Role         string            `json:"role"`
	Labels       map[string]string `json:"labels"`
	Self         bool              `json:"self"`
	Revoked      bool              `json:"revoked"`
	NoVote       bool              `json:"no_vote"`
	Voter        bool              `json:"voter"`
	Leader       bool              `json:"leader"`
	State        string            `json:"state"` // "alive", "suspect", "dead", "left", "unheard"
	SinceSeconds int64             `json:"since_seconds"`
	Host         string            `json:"host,omitempty"`
	Level        uint              `json:"level,omitempty"`
	TooOld       bool              `json:"too_old"`
	Held         bool              `json:"held"` // its gate is closed
	Halted       bool              `json:"halted"`
	Leaving      bool              `json:"leaving"`
	Reports      []ReportView      `json:"reports"`
}

// A ReportView is what a robot last said of one component.
type ReportView struct {
	Component      string       `json:"component"`
	AgeSeconds     int64        `json:"age_seconds"` // since the member last said anything
	Running        *ReleaseName `json:"running,omitempty"`
	Release        *ReleaseName `json:"release,omitempty"` // what Phase and Result are about
	Phase          string       `json:"phase"`
	Progress       uint16       `json:"progress_permille"`
	Result         string       `json:"result"`
	Reason         string       `json:"reason,omitempty"`
	HealthySeconds uint32       `json:"healthy_seconds"`
	Crashes        uint16       `json:"crashes"`
	Failures       uint16       `json:"probe_failures"`
	Order          string       `json:"order"` // the newest that it has verified: "g1/42"
	Held           bool         `json:"held"`
	Leaving        bool         `json:"leaving"`
}

// Nodes is every member of the roster as seen from here; empty before joining.
func (n *Node) Nodes() *Nodes {
	out := &Nodes{Schema: NodesSchema, Time: time.Now().UTC(), Nodes: []NodeView{}}
	v := n.View()
	if v == nil || v.Roster == nil {
		return out
	}
	out.SeenBy = v.ID
	there := n.heardOf()
	var leader member.Index
	known := false
	if v.Electorate != nil {
		leader, known = n.leader(v, there)
	}
	reports := map[member.Index][]member.Report{}
	for _, r := range n.health.all() {
		if r.Component == levelComponent {
			continue // of no component
		}
		reports[r.Robot] = append(reports[r.Robot], r)
	}
	for i := range v.Roster.Members {
		m := &v.Roster.Members[i]
		w := n.viewNode(v, m, there)
		w.Leader = w.Voter && known && leader == m.Index
		for _, r := range reports[m.Index] {
			w.add(n.viewReport(v, r))
		}
		out.Nodes = append(out.Nodes, w)
	}
	return out
}

// NodeByID is one member of Nodes, or ErrNoMember.
func (n *Node) NodeByID(id member.ID) (*NodeView, error) {
	for _, w := range n.Nodes().Nodes {
		if w.ID == id {
			return &w, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoMember, id)
}

func (n *Node) viewNode(v *View, m *member.Member, there map[member.Index]gossip.Member) NodeView {
	w := NodeView{
		ID: m.ID, Index: m.Index, Role: m.Role.String(), Labels: m.Labels, Self: m.Index == v.Self, Revoked: m.Revoked, NoVote: m.NoVote,
		Voter: v.Electorate != nil && v.Electorate.Has(m.Index), State: "unheard", Reports: []ReportView{},
	}
	if w.Labels == nil {
		w.Labels = map[string]string{}
	}
	if g, ok := there[m.Index]; ok {
		has := func(f uint8) bool { return g.Meta.Flags&f != 0 }
		w.State, w.Host, w.Level = g.State.String(), g.Host, uint(g.Meta.Level)
		w.SinceSeconds = int64(time.Since(g.Since) / time.Second)
		w.TooOld, w.Held, w.Halted, w.Leaving = has(gossip.FlagTooOld), has(gossip.FlagHeld), has(gossip.FlagHalted), has(gossip.FlagLeaving)
	}
	if w.Self {
		w.State, w.Halted, w.Level = gossip.Alive.String(), v.Halted, n.level()
	}
	return w
}

func (n *Node) viewReport(v *View, r member.Report) ReportView {
	_, at, _ := n.health.newest(r.Robot, r.Component)
	return ReportView{
		Component: r.Component, AgeSeconds: int64(time.Since(at) / time.Second), Running: v.release(r.Running), Release: v.release(r.Release),
		Phase: r.Phase.String(), Progress: r.Progress, Result: r.Result.String(), Reason: r.Reason, HealthySeconds: r.Healthy,
		Crashes: r.Crashes, Failures: r.Failures, Order: order.Pointer{Generation: r.Generation, Index: r.Order}.String(),
		Held: r.Held, Leaving: r.Leaving,
	}
}

func (w *NodeView) add(r ReportView) {
	w.Reports = append(w.Reports, r)
	w.Held, w.Leaving = w.Held || r.Held, w.Leaving || r.Leaving
}

// report returns what the member said of a component, nil if nothing.
func (w *NodeView) report(component string) *ReportView {
	for i := range w.Reports {
		if w.Reports[i].Component == component {
			return &w.Reports[i]
		}
	}
	return nil
}

// runs is the digest of what the member said it runs, zero if nothing.
func (r *ReportView) runs() manifest.Digest {
	if r == nil || r.Running == nil {
		return manifest.Digest{}
	}
	return r.Running.Digest
}
