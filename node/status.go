package node

import (
	"errors"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// The schemas of what a node shows. A number rises when a key changes its meaning
// or goes; new keys may come at any time.
const (
	StatusSchema = "starling.status/v1"
	NodesSchema  = "starling.nodes/v1"
)

// Status is how a swarm looks from one node, for people and tools. Ages are in
// seconds before Time.
type Status struct {
	Schema string    `json:"schema"`
	Time   time.Time `json:"time"`
	// Warnings come first: what a person should do something about.
	Warnings []Warning `json:"warnings"`
	// Summary is one line for people.
	Summary string `json:"summary"`
	// Joined is false until the node takes part; then Text says what it waits
	// for, and what follows is empty.
	Joined    bool            `json:"joined"`
	Text      string          `json:"text,omitempty"`
	Swarm     string          `json:"swarm"`
	TrustRoot manifest.Digest `json:"trust_root"`
	Self      Self            `json:"self"`

	Order *OrderView `json:"order,omitempty"` // nil before the first generation
	// FeatureLevel is nil unless the swarm's level is below what this build reads.
	FeatureLevel *LevelView `json:"feature_level,omitempty"`

	Halted bool   `json:"halted"`
	Halt   string `json:"halt_reason,omitempty"`
	Alarm  string `json:"alarm,omitempty"`

	Quorum     Quorum           `json:"quorum"`
	Members    MemberCounts     `json:"members"`
	Components []SwarmComponent `json:"components"`
	Quarantine []ReleaseName    `json:"quarantine"`
	Rollout    *RolloutView     `json:"rollout,omitempty"` // the last one that was started
	Here       []ComponentView  `json:"here"`              // this robot's components
	Seeds      []Seed           `json:"seeds"`             // images served from here
	Transfer   Transfer         `json:"transfer"`          // how images use this machine's links
	LastEvent  uint64           `json:"last_event"`        // number of the newest event of this node
}

// A Warning is something that a person should look at.
type Warning struct {
	Code string `json:"code"` // "halted", "alarm", "no_quorum", …
	Text string `json:"text"` // one sentence
	Next string `json:"next"` // what to do
}

// Self is this node's entry in the roster.
type Self struct {
	ID       member.ID         `json:"id"`
	Index    member.Index      `json:"index"`
	Key      envelope.Key      `json:"key"`
	Role     string            `json:"role"`
	Labels   map[string]string `json:"labels"`
	Platform string            `json:"platform"`
	Operator bool              `json:"operator"` // this node signs rosters and lets robots in
	Voter    bool              `json:"voter"`
	Leader   bool              `json:"leader"`
}

// OrderView is the newest order that the node has verified.
type OrderView struct {
	Generation uint32          `json:"generation"`
	Index      uint64          `json:"index"`
	Digest     manifest.Digest `json:"digest"`
	Level      uint            `json:"level"`       // the swarm's feature level
	BuildLevel uint            `json:"build_level"` // the newest that this build reads
	Time       time.Time       `json:"time"`        // by the leader's clock
	AgeSeconds int64           `json:"age_seconds"`
}

// Quorum says who decides, and whether enough of them are there, as seen here.
type Quorum struct {
	OK     bool      `json:"ok"`
	Need   int       `json:"need"`
	Alive  int       `json:"alive"`
	Leader member.ID `json:"leader,omitempty"` // as far as this node knows
	Term   uint64    `json:"term,omitempty"`   // known to voters only
	Voters []Voter   `json:"voters"`
	// Text is one sentence; if too few are there, it names who must be on.
	Text string `json:"text"`
}

// A Voter is one seat.
type Voter struct {
	ID     member.ID    `json:"id"`
	Index  member.Index `json:"index"`
	Alive  bool         `json:"alive"`
	State  string       `json:"state"`
	Leader bool         `json:"leader"`
	Self   bool         `json:"self"`
}

// MemberCounts counts the unrevoked members of the roster by what gossip says of
// them here. Unheard were never heard in this run.
type MemberCounts struct {
	Total   int `json:"total"`
	Robots  int `json:"robots"`
	Alive   int `json:"alive"`
	Suspect int `json:"suspect"`
	Dead    int `json:"dead"`
	Left    int `json:"left"`
	Unheard int `json:"unheard"`
}

// A ReleaseName names a release for people and tools.
type ReleaseName struct {
	Component string          `json:"component,omitempty"`
	Version   string          `json:"version,omitempty"` // empty if the trust metadata does not list it
	Counter   uint64          `json:"counter,omitempty"`
	Digest    manifest.Digest `json:"digest"`
}

// A SwarmComponent is what the swarm has decided for one component.
type SwarmComponent struct {
	Name     string       `json:"name"`
	Active   *ReleaseName `json:"active,omitempty"`
	Previous *ReleaseName `json:"previous,omitempty"`
	Floor    uint64       `json:"floor"`
}

// ComponentView is one component of this robot.
type ComponentView struct {
	Name           string       `json:"name"`
	Phase          string       `json:"phase"`
	Release        *ReleaseName `json:"release,omitempty"` // on its way or on trial, else the committed one
	Running        *ReleaseName `json:"running,omitempty"`
	Committed      *ReleaseName `json:"committed,omitempty"`
	Slot           string       `json:"slot"`
	Progress       uint16       `json:"progress_permille"`
	Result         string       `json:"result"`
	Reason         string       `json:"reason,omitempty"`
	HealthySeconds uint32       `json:"healthy_seconds"`
	Crashes        uint16       `json:"crashes"`
	Failures       uint16       `json:"probe_failures"`
	Attempts       uint8        `json:"attempts_left"`
	Rollout        uint64       `json:"rollout,omitempty"`
	// LastExit is how the payload last ended by itself since the node was started, with
	// the last line it wrote; Log is where the rest is.
	LastExit string   `json:"last_exit,omitempty"`
	Log      string   `json:"log,omitempty"`
	Gate     GateView `json:"gate"`
}

// GateView is how a component's interlock stands.
type GateView struct {
	Schema    string      `json:"schema,omitempty"`
	Component string      `json:"component,omitempty"`
	Mode      string      `json:"mode"` // "", "permit" or "hold"
	Open      bool        `json:"open"`
	Reason    string      `json:"reason,omitempty"`
	Leases    []LeaseView `json:"leases"`
}

// LeaseView is one application's word on a gate.
type LeaseView struct {
	Owner       string  `json:"owner"`
	Reason      string  `json:"reason,omitempty"`
	LeftSeconds float64 `json:"left_seconds"`
}

// A Seed is an image that this node serves. What was sent before Since is not
// counted: the figures are kept in memory, and start anew with the node.
type Seed struct {
	Release     ReleaseName     `json:"release"`
	Variant     string          `json:"variant"`
	Image       manifest.Digest `json:"image"` // of its manifest
	Bytes       int64           `json:"bytes"`
	SentBytes   int64           `json:"sent_bytes"`
	SentRatio   float64         `json:"sent_ratio"` // how often the image has left this node
	Since       time.Time       `json:"since"`      // SentBytes and SentRatio count from here
	Takers      int             `json:"takers"`     // members that fetch from here now
	SafeToLeave bool            `json:"safe_to_leave"`
}

// Status is how the swarm looks from here, now. It may be called at any time.
func (n *Node) Status() *Status {
	s := &Status{
		Schema: StatusSchema, Time: time.Now().UTC(), Warnings: []Warning{},
		Quorum: Quorum{Voters: []Voter{}}, Components: []SwarmComponent{}, Quarantine: []ReleaseName{}, Here: n.here(), Seeds: []Seed{},
	}
	s.LastEvent, s.Transfer = n.events.last(), n.transfer()
	s.Self.Key, s.Self.Platform, s.Self.Operator = n.key(), platform(), n.operator != nil
	v := n.View()
	if v == nil {
		n.statusBefore(s)
		return s
	}
	s.Joined, s.Swarm, s.TrustRoot = true, v.Swarm, v.Root
	s.Halted, s.Halt, s.Alarm = v.Halted, v.HaltReason, v.Alarm
	s.Self.ID, s.Self.Index = v.ID, v.Self
	if me := v.Me(); me != nil {
		s.Self.Role, s.Self.Labels = me.Role.String(), labels(me)
	}
	there := n.heardOf()
	s.Quorum, s.Members = n.quorum(v, there), counts(v, there)
	s.Self.Voter = v.Votes()
	s.Self.Leader = s.Self.Voter && s.Quorum.Leader == v.ID
	if o := v.Order; o != nil {
		s.Order, s.FeatureLevel = n.viewOrder(v, o), n.featureLevel(v)
		for _, c := range o.Components {
			s.Components = append(s.Components, SwarmComponent{c.Name, nameRef(c.Name, c.Active), nameRef(c.Name, c.Previous), c.Floor})
		}
		for _, d := range o.Quarantine {
			s.Quarantine = append(s.Quarantine, *v.release(d))
		}
		s.Rollout = n.rolloutOf(v, o)
	}
	s.Seeds = n.seeds(v)
	s.Warnings, s.Summary = n.warnings(v, s), summary(v, s)
	return s
}

// statusBefore says why there is nothing to see yet.
func (n *Node) statusBefore(s *Status) {
	m, err := n.dir.membership() // from disk: Run may be writing the field
	switch {
	case err == nil:
		s.Swarm, s.TrustRoot, s.Self.ID, s.Self.Index = m.Swarm, m.Root, m.ID, m.Index
		s.Text = "belongs to swarm " + m.Swarm + " as " + string(m.ID) + ", and is starting"
	case errors.Is(err, ErrNotJoined) && n.cfg.Invite != nil:
		s.Swarm, s.TrustRoot = n.cfg.Invite.Swarm, n.cfg.Invite.Root
		s.Text = "asks to join swarm " + n.cfg.Invite.Swarm
		if n.inLine.Load() {
			s.Text += ": " + join.Wait.Text()
			s.Warnings = append(s.Warnings, Warning{"not_joined", s.Text, "switch on a voter that is off, or bring it within reach of the operator's node"})
			break
		}
		s.Warnings = append(s.Warnings, Warning{
			"not_joined", "has not joined swarm " + s.Swarm + " yet",
			"switch on the operator's node and bring it within reach: starling agent",
		})
	default:
		s.Text = err.Error()
		s.Warnings = append(s.Warnings, Warning{"not_joined", err.Error(), "starling join FILE"})
	}
	s.Summary = s.Text
}

func (n *Node) viewOrder(v *View, o *order.Order) *OrderView {
	at := time.Unix(o.Time, 0).UTC()
	return &OrderView{
		Generation: o.Generation, Index: o.Index, Digest: o.Digest(), Level: o.Level, BuildLevel: n.level(),
		Time: at, AgeSeconds: max(int64(v.now().Sub(at)/time.Second), 0),
	}
}

// heardOf is what gossip says of the members, by index.
func (n *Node) heardOf() map[member.Index]gossip.Member {
	all := n.gossip.Members()
	out := make(map[member.Index]gossip.Member, len(all))
	for _, m := range all {
		out[m.Index] = m
	}
	return out
}

func counts(v *View, there map[member.Index]gossip.Member) MemberCounts {
	var c MemberCounts
	if v.Roster == nil {
		return c
	}
	for _, m := range v.Roster.Members {
		if m.Revoked {
			continue
		}
		c.Total++
		if m.Role == member.Robot {
			c.Robots++
		}
		g, heard := there[m.Index]
		switch {
		case m.Index == v.Self || (heard && g.State == gossip.Alive):
			c.Alive++
		case !heard:
			c.Unheard++
		case g.State == gossip.Suspect:
			c.Suspect++
		case g.State == gossip.Left:
			c.Left++
		default:
			c.Dead++
		}
	}
	return c
}
