// Package rollout is the machine that carries a release through a swarm.
//
// It has two halves. State is what all voters hold alike: Apply takes one
// Decision of the log after the other, and every replica that applies the same
// log has the same state, byte for byte. Controller is what only the leader runs:
// it looks at the state and at the reports that came in and proposes decisions.
// The Controller is not trusted. Whatever it proposes, Apply re-checks: an
// intent by its signature, an advance by computing the gate anew from signed
// reports. A decision that does not hold changes nothing and says why.
//
// What robots see of the state is an order.Order, which State.Order derives.
package rollout

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// StateFormat is the newest state format this build reads and writes.
	StateFormat = 1
	// MaxStateBytes bounds an encoded state, and so a snapshot: a larger one could
	// not be sent over the slowest links before raft gives up.
	MaxStateBytes = 128 << 10
)

// MaxGapSeconds is the most that one decision adds to State.Clock, and less than a
// quarter of a plan's silence deadline while its rollout is the last one, but never
// below MinGapSeconds. A leader that has a rollout to watch proposes something more
// often than that (see Controller), so a longer gap means that nobody could decide:
// everybody was switched off, or there was no quorum. Such time counts against no
// robot: after the longest gap it has three quarters of its deadline to be heard.
const (
	MaxGapSeconds = 300
	MinGapSeconds = 15
)

// gap is the most that the next decision adds to Clock.
func (s *State) gap() int64 {
	if s.Rollout == nil {
		return MaxGapSeconds
	}
	return max(MinGapSeconds, min(int64(s.Rollout.Plan.SilenceDeadlineSeconds)/4, MaxGapSeconds))
}

// MaxAheadSeconds is how far an honest leader's time may be ahead of a voter's, who
// signs the order nevertheless. A stamp that is further below State.Time sets it back.
const MaxAheadSeconds = 300

// MaxReasons bounds the records that keep a robot's own words. Later failures
// are counted without them.
const MaxReasons = 16

// A Record is what the state keeps of one robot that was in a batch.
type Record struct {
	_     struct{} `cbor:",toarray"`
	Robot member.Index
	// Boot is the low 16 bits of the boot id. Two boots that agree in them lose
	// the seconds of the first: too little counts, never too much.
	Boot     uint16
	Sequence uint64
	Phase    member.Phase  // with the rollout's release; Idle while it is busy with another
	Result   member.Result // newest on the release, but Failed stays
	Running  bool          // its current slot holds the release
	Leaving  bool          // it said so last
	// Healthy are seconds healthy on the release after its commit: Before those of
	// earlier boots, Healthy of this one.
	Before, Healthy uint32
	ArmedAt         int64  // Clock when it was seen to arm or to enter its trial; 0 is never
	SeenAt          int64  // Clock when its last report was observed
	Reason          string // of a failure, for people; only MaxReasons records have one
}

// HeldBy says who or what holds a rollout.
type HeldBy uint8

// What can hold a rollout.
const (
	Nobody     HeldBy = 0
	ByOperator HeldBy = 1 // pause
	ByGate     HeldBy = 2 // too many failures; resume excuses those known so far
	ByPass     HeldBy = 3 // the stage passed and its gate says hold
	ByLease    HeldBy = 4 // no word of the operator
	ByReport   HeldBy = 5 // a sim or hil report says failed
	ByStall    HeldBy = 6 // the stage came to no end: nobody is left who could bring what its gate lacks
)

// A Rollout is the last rollout started, with all that Apply needs to go on.
// Sets have the form of norm and are never changed in place.
type Rollout struct {
	ID         uint64          `cbor:"0,keyasint"`
	Plan       Plan            `cbor:"1,keyasint"`
	PlanDigest manifest.Digest `cbor:"2,keyasint"` // of its envelope
	Extract    Extract         `cbor:"3,keyasint"`
	Status     order.Status    `cbor:"4,keyasint"`
	Stage      order.Stage     `cbor:"5,keyasint"`
	Wave       uint8           `cbor:"6,keyasint"`
	Reason     string          `cbor:"7,keyasint"`
	// Cohorts are the robots of the canary stage, then of each wave, computed
	// once at the start. Bench are those of the hil stage.
	Cohorts []member.Set `cbor:"8,keyasint"`
	Bench   member.Set   `cbor:"9,keyasint"`
	Batch   uint16       `cbor:"10,keyasint"` // stays at its highest when it cannot rise
	Open    member.Set   `cbor:"11,keyasint"`
	Opened  member.Set   `cbor:"12,keyasint"`
	// Deferred were in a batch and could not switch. They are tried again if the
	// stage lacks evidence without them, else they catch up after the end.
	Deferred   member.Set `cbor:"13,keyasint"`
	Start      uint64     `cbor:"14,keyasint"` // index of the start
	StartedAt  int64      `cbor:"15,keyasint"` // State.Time
	StageAt    int64      `cbor:"16,keyasint"` // State.Clock, also of the change to reverting
	BatchAt    int64      `cbor:"17,keyasint"` // State.Clock
	LeaseUntil int64      `cbor:"18,keyasint"` // State.Time; 0 is never
	Held       HeldBy     `cbor:"19,keyasint"` // not Nobody just while Status is Held
	// Excused are robots whose failure or silence the operator has accepted by
	// resuming: they count in no gate.
	Excused   member.Set      `cbor:"20,keyasint"`
	SimReport manifest.Digest `cbor:"21,keyasint"` // of the accepted reports' envelopes
	HILReport manifest.Digest `cbor:"22,keyasint"`
	Records   []Record        `cbor:"23,keyasint"` // sorted by Robot; all of them Opened
	// Fallbacks and Floor are those of the release; its end makes them the component's.
	Fallbacks    []manifest.Ref  `cbor:"24,keyasint"`
	Floor        uint64          `cbor:"25,keyasint"`
	FailedReport manifest.Digest `cbor:"26,keyasint"` // last sim or hil report that said failed
	Lapsed       *Lapsed         `cbor:"27,keyasint,omitempty"`
}

// State is what the voters agree on. One goroutine owns it; Clone for others.
type State struct {
	Format     uint              `cbor:"0,keyasint"`
	Swarm      string            `cbor:"1,keyasint"`
	Generation uint32            `cbor:"2,keyasint"`
	Index      uint64            `cbor:"3,keyasint"` // of the last decision applied
	OrderIndex uint64            `cbor:"4,keyasint"` // of the last decision that changed the order
	Level      uint              `cbor:"5,keyasint"`
	Time       int64             `cbor:"6,keyasint"` // Unix seconds, as leaders say: see stamp
	Electorate order.Electorate  `cbor:"7,keyasint"`
	Parent     manifest.Digest   `cbor:"8,keyasint"` // see order.Order.Parent
	Roles      order.Roles       `cbor:"9,keyasint"`
	TrustRoot  manifest.Digest   `cbor:"10,keyasint"` // scope of reports
	Trust      order.TrustRef    `cbor:"11,keyasint"`
	Roster     order.RosterRef   `cbor:"12,keyasint"`
	Components []order.Component `cbor:"13,keyasint"`
	Quarantine []manifest.Digest `cbor:"14,keyasint"`
	Counters   []order.Counter   `cbor:"15,keyasint"` // sorted by key
	Halt       uint64            `cbor:"16,keyasint"`
	Rollouts   uint64            `cbor:"17,keyasint"`
	Rollout    *Rollout          `cbor:"18,keyasint"`
	OrderTime  int64             `cbor:"19,keyasint"` // Time at OrderIndex: the order's; voters judge this one
	// Successor is the digest of the order at OrderIndex if that one changed the
	// electorate: the Parent of the orders after it. Else zero.
	Successor manifest.Digest `cbor:"20,keyasint"`
	// Clock counts the seconds in which somebody could decide: what Time gained,
	// without gaps, see MaxGapSeconds. It never decreases. Deadlines of robots run on it; it starts at 1.
	Clock int64 `cbor:"21,keyasint"`
	// Fallbacks has one entry for each component whose active release a rollout
	// brought and that lists any; sorted by component.
	Fallbacks []Fallbacks `cbor:"22,keyasint"`
}

// Fallbacks are the releases that a component may go back to, beside the previous
// one: the active release lists them.
type Fallbacks struct {
	_         struct{} `cbor:",toarray"`
	Component string
	Releases  []manifest.Ref // at most manifest.MaxFrom; never changed in place
}

// NewState is the state that a generation starts with. digest is that of the
// genesis envelope; trustRoot that of the swarm's first TUF root.
func NewState(g *order.Genesis, digest, trustRoot manifest.Digest) *State {
	o := &g.Order
	return &State{
		Clock: 1, OrderTime: o.Time,
		Format: StateFormat, Swarm: o.Swarm, Generation: o.Generation, Level: o.Level, Time: o.Time,
		Electorate: o.Electorate, Parent: digest, Roles: g.Roles, TrustRoot: trustRoot, Trust: o.Trust, Roster: o.Roster,
		Components: o.Components, Quarantine: o.Quarantine, Counters: g.Counters, Halt: o.Halt, Rollouts: o.Rollouts,
	}
}

// Encode returns the state's bytes: a snapshot.
func (s *State) Encode() []byte { return canonical.Encode(s) }

// Digest names the state.
func (s *State) Digest() manifest.Digest { return manifest.Sum(s.Encode()) }

// DecodeState parses a snapshot. It checks the form; a certificate must vouch for
// the contents.
func DecodeState(data []byte) (*State, error) {
	var s State
	if err := canonical.DecodeFormat(data, MaxStateBytes, "state", StateFormat, &s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("state: %w: %v", canonical.ErrMalformed, err)
	}
	return &s, nil
}

// Clone returns a copy that Apply can change without changing s. What Apply
// replaces but never changes in place is shared: sets, keys, plans, roles.
func (s *State) Clone() *State {
	c := *s
	c.Electorate.Voters = slices.Clone(s.Electorate.Voters)
	c.Components = slices.Clone(s.Components)
	c.Quarantine = slices.Clone(s.Quarantine)
	c.Counters = slices.Clone(s.Counters)
	c.Fallbacks = slices.Clone(s.Fallbacks)
	if s.Rollout != nil {
		r := *s.Rollout
		r.Records = slices.Clone(r.Records)
		c.Rollout = &r
	}
	return &c
}

// Order is what robots see of the state.
func (s *State) Order() *order.Order {
	o := &order.Order{
		Format: order.Format, Swarm: s.Swarm, Generation: s.Generation, Index: s.OrderIndex, Level: s.Level, Time: s.OrderTime,
		Electorate: s.Electorate, Parent: s.Parent, Roster: s.Roster, Trust: s.Trust,
		Components: s.Components, Quarantine: s.Quarantine, Halt: s.Halt, Rollouts: s.Rollouts,
	}
	if r := s.Rollout; r != nil {
		o.Rollout = &order.Rollout{
			ID: r.ID, Component: r.Plan.Component, Release: r.Plan.Release, From: r.Plan.From, Plan: r.PlanDigest,
			Status: r.Status, Stage: r.Stage, Wave: r.Wave, Batch: r.Batch, Open: r.Open, Opened: r.Opened, Fetch: r.fetch(),
			Reason: r.Reason, Start: r.Start,
		}
	}
	return o
}

// Statement is what a voter signs about s. It is meaningful only at the index
// that changed the order: Index == OrderIndex.
func (s *State) Statement() order.Statement {
	o := s.Order()
	return order.Statement{Swarm: s.Swarm, Generation: s.Generation, Index: s.OrderIndex, Order: o.Digest(), State: s.Digest()}
}
