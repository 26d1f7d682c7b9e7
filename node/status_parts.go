package node

import (
	"fmt"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/install"
)

// RolloutView is one rollout. Of one that is over, only what the history of this
// node has may be known; then Counts is nil.
type RolloutView struct {
	ID        uint64       `json:"id"`
	Component string       `json:"component"`
	Release   ReleaseName  `json:"release"`
	From      *ReleaseName `json:"from,omitempty"`
	Plan      string       `json:"plan,omitempty"` // digest
	Status    string       `json:"status"`
	Final     bool         `json:"final"`
	Stage     string       `json:"stage"`
	Wave      uint8        `json:"wave,omitempty"`
	Batch     uint16       `json:"batch,omitempty"`
	Reason    string       `json:"reason,omitempty"`
	// Text is one sentence: where it stands and why.
	Text   string         `json:"text"`
	Open   []string       `json:"open"`   // names of the robots that may switch now
	Opened []string       `json:"opened"` // of those that were in a batch so far
	Counts *RolloutCounts `json:"counts,omitempty"`
}

// RolloutCounts are robots, as far as SeenBy knows: it has reports of Heard of
// them, the oldest from OldestSeconds ago. Voters and operators hear all robots,
// others only themselves.
type RolloutCounts struct {
	SeenBy        member.ID `json:"seen_by"`
	Robots        int       `json:"robots"` // in the roster
	Heard         int       `json:"heard"`
	OldestSeconds int64     `json:"oldest_seconds"`
	Opened        int       `json:"opened"` // were in a batch; by the order
	Open          int       `json:"open"`   // may switch now; by the order
	Committed     int       `json:"committed"`
	Switching     int       `json:"switching"` // armed, on trial or going back
	Fetching      int       `json:"fetching"`  // or ready to switch
	Failed        int       `json:"failed"`
	Deferred      int       `json:"deferred"`
}

// rolloutOf is the rollout of an order, or nil.
func (n *Node) rolloutOf(v *View, o *order.Order) *RolloutView {
	r := o.Rollout
	if r == nil {
		return nil
	}
	return &RolloutView{
		ID: r.ID, Component: r.Component, Release: *nameRef(r.Component, r.Release), From: nameRef(r.Component, r.From), Plan: r.Plan.String(),
		Status: r.Status.String(), Final: r.Status.Final(), Stage: r.Stage.String(), Wave: r.Wave, Batch: r.Batch,
		Reason: v.named(r.Reason), Text: v.named(rollout.Explain(o)), Open: v.names(r.Open), Opened: v.names(r.Opened), Counts: n.countRollout(v, r),
	}
}

func (n *Node) countRollout(v *View, r *order.Rollout) *RolloutCounts {
	c := &RolloutCounts{SeenBy: v.ID, Opened: r.Opened.Count(), Open: r.Open.Count()}
	if v.Roster == nil {
		return c
	}
	for _, m := range v.Roster.Robots() {
		c.Robots++
		h, at, ok := n.health.newest(m.Index, r.Component)
		if !ok {
			continue
		}
		c.Heard++
		c.OldestSeconds = max(c.OldestSeconds, int64(time.Since(at)/time.Second))
		if h.Release != r.Release.Digest {
			continue
		}
		switch {
		case h.Result == member.Failed:
			c.Failed++
		case h.Running == r.Release.Digest && h.Phase != member.Trial && h.Phase != member.Reverting:
			c.Committed++
		case h.Result == member.Deferred:
			c.Deferred++
		case h.Phase == member.Armed || h.Phase == member.Trial || h.Phase == member.Reverting:
			c.Switching++
		case h.Phase >= member.Fetching && h.Phase < member.Armed:
			c.Fetching++
		}
	}
	return c
}

// named puts robots' names into a sentence of package rollout.
func (v *View) named(sentence string) string {
	if v.Roster == nil {
		return sentence
	}
	return rollout.Named(sentence, v.Roster)
}

func (v *View) names(s member.Set) []string {
	if v.Roster == nil || s.Count() == 0 {
		return []string{}
	}
	return v.Roster.Names(s)
}

// quorum is who votes, and who of them is there.
func (n *Node) quorum(v *View, there map[member.Index]gossip.Member) Quorum {
	q := Quorum{Voters: []Voter{}}
	if v.Electorate == nil {
		q.Text = beforeVoters(v, there)
		return q
	}
	leader, known := n.leader(v, there)
	var off []string
	for _, seat := range v.Electorate.Voters {
		g, heard := there[seat.Member]
		w := Voter{ID: member.ID(v.nameOf(seat.Member)), Index: seat.Member, Self: seat.Member == v.Self, Leader: known && seat.Member == leader, State: "unheard"}
		if heard {
			w.State = g.State.String()
		}
		if w.Self {
			w.State = gossip.Alive.String()
		}
		w.Alive = w.Self || (heard && g.State <= gossip.Suspect)
		if w.Alive {
			q.Alive++
		} else {
			off = append(off, string(w.ID))
		}
		if w.Leader {
			q.Leader = w.ID
		}
		q.Voters = append(q.Voters, w)
	}
	q.Need = order.Quorum(len(q.Voters))
	q.OK = q.Alive >= q.Need
	if r := n.voter.replica.Load(); r != nil {
		q.Term = r.Term()
	}
	switch {
	case !q.OK:
		q.Text = fmt.Sprintf("%d of %d voters are reachable from here and %d must be: switch on %d of %s", q.Alive, len(q.Voters), q.Need, q.Need-q.Alive, strings.Join(off, ", "))
	case q.Leader == "":
		q.Text = fmt.Sprintf("%d of %d voters are there, and no leader is known yet", q.Alive, len(q.Voters))
	default:
		q.Text = fmt.Sprintf("%d of %d voters are there, %s leads", q.Alive, len(q.Voters), q.Leader)
	}
	return q
}

// beforeVoters says who must join, or be switched on, before the first generation
// starts.
func beforeVoters(v *View, there map[member.Index]gossip.Member) string {
	var off []string
	may := 0
	if v.Roster != nil {
		for _, m := range v.Roster.Members {
			if !mayVote(&m) {
				continue
			}
			may++
			if g, heard := there[m.Index]; m.Index != v.Self && (!heard || g.State != gossip.Alive) {
				off = append(off, string(m.ID))
			}
		}
	}
	on := may - len(off)
	first, founding := there[founder]
	founding = v.Self == founder || (founding && first.State == gossip.Alive)
	switch {
	case on >= foundingVoters && !founding:
		return fmt.Sprintf("%s founded the swarm and starts the first generation: switch it on; without it: starling begin on another operator's node", v.nameOf(founder))
	case on >= foundingVoters:
		return "the operator's node starts the first generation as soon as it has heard them for a while"
	case may >= foundingVoters:
		return fmt.Sprintf("nothing is decided before %d robots that may vote are on; %d of %d are: switch on %d of %s", foundingVoters, on, may, foundingVoters-on, strings.Join(off, ", "))
	case len(off) > 0:
		return fmt.Sprintf("nothing is decided before %d robots that may vote have joined and are on; %d have joined, and of them %s is off or out of reach", foundingVoters, may, strings.Join(off, ", "))
	}
	return fmt.Sprintf("nothing is decided before %d robots that may vote have joined; %d have", foundingVoters, may)
}

// leader is who leads: by raft if this node votes, else by what members say of
// themselves.
func (n *Node) leader(v *View, there map[member.Index]gossip.Member) (member.Index, bool) {
	if r := n.voter.replica.Load(); r != nil {
		l, ok := r.Leader()
		return l.Member, ok
	}
	for _, seat := range v.Electorate.Voters {
		if g, ok := there[seat.Member]; ok && g.State == gossip.Alive && g.Meta.Flags&gossip.FlagLeader != 0 {
			return seat.Member, true
		}
	}
	return 0, false
}

// here is how this robot's components stand.
func (n *Node) here() []ComponentView {
	out := []ComponentView{}
	for _, r := range n.robots {
		s := r.status()
		exit := install.Exit{}
		if e := r.exit.Load(); e != nil {
			exit = *e
		}
		if w := r.waiting(); w != "" {
			s.Reason = w
		}
		out = append(out, ComponentView{
			Name: r.cfg.Name, Phase: s.Phase.String(), Release: nameRef(r.cfg.Name, s.Release), Running: nameRef(r.cfg.Name, s.Running),
			Committed: nameRef(r.cfg.Name, s.Committed), Slot: s.Slot.String(), Progress: s.Progress, Result: s.Result.String(), Reason: s.Reason,
			HealthySeconds: s.Healthy, Crashes: s.Crashes, Failures: s.Failures, Attempts: s.Attempts, Rollout: s.Rollout,
			LastExit: exit.Words(), Log: exit.Log, Gate: viewGate(r.cfg.Gate.State()),
		})
	}
	return out
}

func viewGate(g install.GateState) GateView {
	out := GateView{Mode: string(g.Mode), Open: g.Open, Reason: g.Reason, Leases: []LeaseView{}}
	for _, l := range g.Leases {
		out.Leases = append(out.Leases, LeaseView{l.Owner, l.Reason, l.Left.Seconds()})
	}
	return out
}

// seeds are the images of listed releases that are served from here.
func (n *Node) seeds(v *View) []Seed {
	out := []Seed{}
	if v.Trust == nil {
		return out
	}
	for _, l := range v.Trust.Releases() {
		rel := n.releases.get(n.docs, l.Ref.Digest)
		if rel == nil {
			continue
		}
		elsewhere := n.runElsewhere(v, rel)
		for _, variant := range rel.Variants {
			s, held := n.exchange.Stats(variant.Manifest)
			if !held {
				continue
			}
			seed := Seed{
				Release: *nameRef(l.Component, l.Ref), Variant: variant.Name, Image: variant.Manifest, Bytes: s.Bytes,
				SentBytes: s.SentBytes, Takers: s.Takers, SafeToLeave: s.Safe || elsewhere[variant.Name], Since: n.began.UTC().Truncate(time.Second),
			}
			if s.Bytes > 0 {
				seed.SentRatio = float64(s.SentBytes) / float64(s.Bytes)
			}
			out = append(out, seed)
		}
	}
	return out
}

// runElsewhere are the variants of a release that another robot within reach says it
// runs: it holds every piece, whatever this node has sent since it was started.
func (n *Node) runElsewhere(v *View, rel *manifest.Release) map[string]bool {
	out := map[string]bool{}
	there, digest := n.heardOf(), rel.Digest()
	for _, r := range n.health.all() {
		g, heard := there[r.Robot]
		m := v.Roster.At(r.Robot)
		if r.Running != digest || r.Robot == v.Self || !heard || g.State > gossip.Suspect || m == nil || m.Revoked {
			continue
		}
		if variant := rel.For(m.Labels); variant != nil {
			out[variant.Name] = true
		}
	}
	return out
}

// summary is one line: "orchard-3: 12 members, 11 alive; 5 of 5 voters …".
func summary(v *View, s *Status) string {
	line := fmt.Sprintf("%s: %d members, %d alive; %s", v.Swarm, s.Members.Total, s.Members.Alive, s.Quorum.Text)
	if s.Rollout != nil {
		line += "; " + s.Rollout.Text
	}
	if s.Halted {
		line = "HALTED: " + s.Halt + "; " + line
	}
	return line
}
