package rollout

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// IntentFormat, PublishFormat, ReportFormat and DecisionFormat are the newest
	// formats this build reads and writes.
	IntentFormat   = 1
	PublishFormat  = 1
	ReportFormat   = 1
	DecisionFormat = 1

	// MaxDecisionBytes bounds an encoded decision: a start with the extract of
	// 1,024 robots is the largest.
	MaxDecisionBytes = 128 << 10
	// MaxObserved bounds the reports of one observe, and MaxObservedBytes their sum.
	MaxObserved      = 64
	MaxObservedBytes = 32 << 10
	// MaxStrata bounds the kinds of robots that cohorts are shared over.
	MaxStrata = 64
)

// A Verb is what an operator wants of a rollout.
type Verb string

// The verbs of intents.
const (
	VerbStart    Verb = "start"
	VerbPause    Verb = "pause"
	VerbResume   Verb = "resume"   // also past a gate that holds after passing
	VerbRollback Verb = "rollback" // everybody back, also after done
	VerbRenew    Verb = "renew"    // the operator is still there
)

// An Intent is an operator's word, signed by role plan.
type Intent struct {
	Format uint   `cbor:"0,keyasint"`
	Swarm  string `cbor:"1,keyasint"`
	// Counter is above every counter this key has used before.
	Counter uint64          `cbor:"2,keyasint"`
	Verb    Verb            `cbor:"3,keyasint"`
	Rollout uint64          `cbor:"4,keyasint"` // which; 0 for start
	Plan    manifest.Digest `cbor:"5,keyasint"` // for start
	// To is where a rollback goes; zero is what was active before.
	To     manifest.Ref `cbor:"6,keyasint"`
	Reason string       `cbor:"7,keyasint"` // for people, at most 200 bytes
	// Extract is what Extract.Digest says of the extract that a start carries; zero
	// for all other verbs.
	Extract manifest.Digest `cbor:"8,keyasint"`
}

// Seal puts i into an unsigned envelope.
func (i *Intent) Seal() *envelope.Envelope {
	return envelope.New(envelope.Intent, IntentFormat, envelope.SwarmScope(i.Swarm), i)
}

// A Publish makes a new roster or new trust metadata the swarm's, signed by role
// plan. It is compare-and-swap: the second of two operators is told who was first.
type Publish struct {
	Format uint   `cbor:"0,keyasint"`
	Swarm  string `cbor:"1,keyasint"`
	// ExpectTrust and ExpectRoster are the digests that must be current.
	ExpectTrust  manifest.Digest `cbor:"2,keyasint"`
	ExpectRoster manifest.Digest `cbor:"3,keyasint"`
	// Trust and Roster are what shall be; either may be what is.
	Trust  order.TrustRef  `cbor:"4,keyasint"`
	Roster order.RosterRef `cbor:"5,keyasint"`
	// Roles are the keys that the new trust metadata delegates to. A voter signs
	// only if it has verified the metadata and found just these.
	Roles order.Roles `cbor:"6,keyasint"`
}

// Seal puts p into an unsigned envelope.
func (p *Publish) Seal() *envelope.Envelope {
	return envelope.New(envelope.Publish, PublishFormat, envelope.SwarmScope(p.Swarm), p)
}

// A Report opens a plan's sim or hil stage, signed by role report. Its envelope
// is scoped to the trust root, for one report may serve several swarms.
type Report struct {
	Format  uint            `cbor:"0,keyasint"`
	Stage   order.Stage     `cbor:"1,keyasint"` // Sim or HIL
	Release manifest.Digest `cbor:"2,keyasint"`
	Passed  bool            `cbor:"3,keyasint"`
	By      string          `cbor:"4,keyasint"` // which tool or bench, at most 64 bytes
	Runs    uint32          `cbor:"5,keyasint"` // how many runs, and how many of them
	Failed  uint32          `cbor:"6,keyasint"` // failed
	Summary string          `cbor:"7,keyasint"` // for people, at most 1,000 bytes
	Details manifest.Digest `cbor:"8,keyasint"` // of the full report, if kept
}

// A Stratum is a kind of robot: cohorts are shared over strata.
type Stratum struct {
	_       struct{} `cbor:",toarray"`
	Variant string   // of the release; empty: the release is not for these robots
	Model   string   // labels, empty if the robot has none
	Site    string
	Role    string
	Bench   bool // labelled role=hil: these take part in no canary and no wave
}

// An Extract is what the state must know of the roster to run one rollout. The
// operator makes it from the roster and the release (see NewExtract) and signs its
// digest with the intent to start, so that no leader can attach another; Apply
// checks that it is well-formed and of what is current, and a voter signs only if
// its own is equal.
type Extract struct {
	Roster order.RosterRef `cbor:"0,keyasint"`
	Robots member.Set      `cbor:"1,keyasint"` // members with role robot, unrevoked
	// Keys are the robots' keys, one after the other, by ascending index.
	Keys []byte `cbor:"2,keyasint"`
	// Strata has one byte per robot, by ascending index: its place in Table.
	Strata []byte    `cbor:"3,keyasint"`
	Table  []Stratum `cbor:"4,keyasint"`
	// Floors has, for each Plan.Floors, the robots that it covers.
	Floors []member.Set `cbor:"5,keyasint"`
	// Trust is the trust metadata that lists the release. A start that waited until
	// other metadata was published, which may list it no more, is refused.
	Trust manifest.Digest `cbor:"6,keyasint"`
}

// Digest names the extract, for Intent.Extract.
func (x *Extract) Digest() manifest.Digest { return manifest.Sum(canonical.Encode(x)) }

// A Start opens a rollout.
type Start struct {
	Intent  []byte  `cbor:"0,keyasint"` // envelope, VerbStart, for this plan and extract
	Plan    []byte  `cbor:"1,keyasint"` // envelope
	Release []byte  `cbor:"2,keyasint"` // encoded manifest.Release
	Extract Extract `cbor:"3,keyasint"`
	// From is the encoded release that is active. Only going to a lower counter
	// needs it: the active release must list the older one as a fallback.
	From []byte `cbor:"4,keyasint,omitempty"`
}

// A Kind says which decision it is.
type Kind uint8

// The kinds of decisions. Numbers are part of the log's format.
const (
	KindStart      Kind = 1
	KindIntent     Kind = 2 // pause, resume, rollback, renew
	KindObserve    Kind = 3
	KindAdvance    Kind = 4 // look at the gate again; carries nothing
	KindPublish    Kind = 5
	KindSetVoters  Kind = 6
	KindLevel      Kind = 7
	KindCheckpoint Kind = 8 // a new order index, so that a snapshot can be certified
	KindReport     Kind = 9 // of a sim or hil stage
)

var kindNames = [...]string{"?", "start", "intent", "observe", "advance", "publish", "set-voters", "level", "checkpoint", "report"}

// String is the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("decision %d", uint8(k))
}

// A Decision is one entry of the replicated log. Just the field of its Kind is set.
type Decision struct {
	Format uint   `cbor:"0,keyasint"`
	Kind   Kind   `cbor:"1,keyasint"`
	Time   int64  `cbor:"2,keyasint"` // Unix seconds, stamped by the leader: see State.Time
	Start  *Start `cbor:"3,keyasint,omitempty"`
	Intent []byte `cbor:"4,keyasint,omitempty"` // envelope
	// Observe holds envelopes of health reports; for a level, one of each voter
	// that announces it.
	Observe   [][]byte   `cbor:"5,keyasint,omitempty"`
	Publish   []byte     `cbor:"6,keyasint,omitempty"` // envelope
	SetVoters *SetVoters `cbor:"7,keyasint,omitempty"`
	Level     uint       `cbor:"8,keyasint,omitempty"`
	Report    []byte     `cbor:"9,keyasint,omitempty"` // envelope
}

// Encode returns the log entry.
func (d *Decision) Encode() []byte { return canonical.Encode(d) }

// DecodeDecision parses a log entry. Nothing in it is verified: Apply does that.
func DecodeDecision(data []byte) (*Decision, error) {
	var d Decision
	if err := canonical.DecodeFormat(data, MaxDecisionBytes, "decision", DecisionFormat, &d); err != nil {
		return nil, err
	}
	return &d, nil
}
