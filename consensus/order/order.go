// Package order holds what the swarm has decided, in the form that a robot can
// check alone.
//
// An Order is everything that a robot needs to know of the replicated state: who
// votes, what is active, what is quarantined, and how far a rollout has been
// opened. A Certificate is the signatures of a quorum of voters on one order. A
// Genesis starts a generation: it names the founding voters and the first
// order, and is signed by the operator. A Ledger holds the newest order that a
// robot has verified, follows the voters as they change, and refuses to go back.
package order

import (
	"errors"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// Format is the newest order format this build reads and writes.
	Format = 1
	// Level is the newest feature level this build can replicate. What came with each:
	// 2, plans that limit transfers.
	Level = 2
	// MaxBytes bounds an encoded order.
	MaxBytes = 4 << 10
	// MaxVoters bounds an electorate.
	MaxVoters = 7
	// MaxComponents bounds the components of a swarm.
	MaxComponents = 8
	// MaxQuarantine bounds the quarantined releases; the oldest falls out. With
	// all else at its longest, 20 of them just fit MaxBytes.
	MaxQuarantine = 20
	// MaxReasonBytes bounds the sentence that says why a rollout stands as it does.
	MaxReasonBytes = 240
)

var (
	// ErrInvalid is wrapped by every complaint about an order's contents.
	ErrInvalid = errors.New("order: invalid")
	// ErrUncertified is returned when too few of the right voters have signed.
	ErrUncertified = errors.New("order: not certified by a quorum of its voters")
	// ErrOld is returned for an order below the newest one verified.
	ErrOld = errors.New("order: older than what this robot has seen")
	// ErrFork is returned when two different orders are certified for one index,
	// or two genesis are signed for one generation: hold still and tell a person.
	ErrFork = errors.New("order: two different decisions for one index")
)

// A Voter is one seat of an electorate.
type Voter struct {
	_      struct{} `cbor:",toarray"`
	Member member.Index
	Key    envelope.Key
	// Server is the raft server id of this seat: the member's ID, or with a
	// suffix if it lost its log and was added anew.
	Server string
}

// An Electorate is who decides. Voters are sorted by Member.
type Electorate struct {
	Version uint32  `cbor:"0,keyasint"` // 1 in a genesis; each set-voters adds one
	Voters  []Voter `cbor:"1,keyasint"`
}

// Quorum is how many of n voters must sign an order: ⌈(n+f+1)/2⌉ with
// f = ⌊(n−1)/3⌋ hostile ones tolerated, so 1 of 1, 2 of 2, 2 of 3, 3 of 4, 4 of 5,
// 4 of 6 and 5 of 7.
func Quorum(n int) int {
	f := (n - 1) / 3
	return (n + f + 2) / 2
}

// Seat returns the index of key in the electorate, or -1.
func (e *Electorate) Seat(key envelope.Key) int {
	return slices.IndexFunc(e.Voters, func(v Voter) bool { return v.Key == key })
}

// Has reports whether member i votes.
func (e *Electorate) Has(i member.Index) bool {
	return slices.ContainsFunc(e.Voters, func(v Voter) bool { return v.Member == i })
}

func (e *Electorate) check() error {
	if e.Version == 0 || len(e.Voters) == 0 || len(e.Voters) > MaxVoters {
		return fmt.Errorf("%w: electorate %d of %d voters", ErrInvalid, e.Version, len(e.Voters))
	}
	for i, v := range e.Voters {
		if i > 0 && v.Member <= e.Voters[i-1].Member {
			return fmt.Errorf("%w: voters out of order", ErrInvalid)
		}
		if v.Key.IsZero() || v.Server == "" || len(v.Server) > 48 {
			return fmt.Errorf("%w: voter %d has no key or server id", ErrInvalid, v.Member)
		}
		if slices.ContainsFunc(e.Voters[:i], func(w Voter) bool { return w.Key == v.Key || w.Server == v.Server }) {
			return fmt.Errorf("%w: voter %d has the key or server id of another", ErrInvalid, v.Member)
		}
	}
	return nil
}

// RosterRef names a roster.
type RosterRef struct {
	_      struct{} `cbor:",toarray"`
	Epoch  uint64
	Digest manifest.Digest // of the roster's envelope
}

// TrustRef names a set of TUF metadata by its versions and by the digest of all
// of it (trust.Bundle).
type TrustRef struct {
	_                                  struct{} `cbor:",toarray"`
	Root, Timestamp, Snapshot, Targets uint64
	Digest                             manifest.Digest
}

// A Component is one separately versioned part of the robots' software.
type Component struct {
	_        struct{} `cbor:",toarray"`
	Name     string
	Active   manifest.Ref // what a robot runs unless a rollout says otherwise; may be zero
	Previous manifest.Ref // what was active before
	Floor    uint64       // no release with a lower counter may run
}

// A Stage is a step of a rollout.
type Stage uint8

// The stages, in order. Wave repeats; Rollout.Wave counts it.
const (
	Verify Stage = 0
	Sim    Stage = 1
	HIL    Stage = 2
	Canary Stage = 3
	Wave   Stage = 4
	Soak   Stage = 5
	Done   Stage = 6
)

var stageNames = [...]string{"verify", "sim", "hil", "canary", "wave", "soak", "done"}

// String is the stage's lower-case name.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// A Status says whether a rollout moves.
type Status uint8

// The statuses. The last five are final.
const (
	Running    Status = 0
	Held       Status = 1 // nothing new starts; Reason says who or what holds it
	RollingOff Status = 2 // reverting: robots it touched go back
	Finished   Status = 3
	Reverted   Status = 4
	Aborted    Status = 5
	Expired    Status = 6
	Superseded Status = 7
)

var statusNames = [...]string{"running", "held", "reverting", "done", "reverted", "aborted", "expired", "superseded"}

// String is the status's lower-case name.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Final reports whether a rollout with this status is over.
func (s Status) Final() bool { return s >= Finished }

// A Rollout is the last rollout that was started, as far as robots must know it.
type Rollout struct {
	ID        uint64          `cbor:"0,keyasint"` // 1, 2, … over all generations
	Component string          `cbor:"1,keyasint"`
	Release   manifest.Ref    `cbor:"2,keyasint"`
	From      manifest.Ref    `cbor:"3,keyasint"` // active when it started; may be zero
	Plan      manifest.Digest `cbor:"4,keyasint"` // of the plan's envelope
	Status    Status          `cbor:"5,keyasint"`
	Stage     Stage           `cbor:"6,keyasint"`
	Wave      uint8           `cbor:"7,keyasint"` // 1 for the first wave; 0 before
	Batch     uint16          `cbor:"8,keyasint"` // rises by one with each batch opened
	// Open are the members that may arm now: the open batch.
	Open member.Set `cbor:"9,keyasint"`
	// Opened are the members of all batches so far, Open among them.
	Opened member.Set `cbor:"10,keyasint"`
	// Fetch are the members that may fetch the release.
	Fetch  member.Set `cbor:"11,keyasint"`
	Reason string     `cbor:"12,keyasint"` // for people
	Start  uint64     `cbor:"13,keyasint"` // index of the decision that started it
}

// An Order is what the swarm has decided, at Index. It orders by Generation, then
// Index.
type Order struct {
	Format     uint       `cbor:"0,keyasint"`
	Swarm      string     `cbor:"1,keyasint"`
	Generation uint32     `cbor:"2,keyasint"`
	Index      uint64     `cbor:"3,keyasint"` // of the log entry that last changed it; 0 in a genesis
	Level      uint       `cbor:"4,keyasint"`
	Time       int64      `cbor:"5,keyasint"` // Unix seconds, stamped by the leader; for expiry and leases only
	Electorate Electorate `cbor:"6,keyasint"`
	// Parent is the digest of the order that brought the electorate which
	// certifies this one, or of the genesis envelope for the founding voters:
	// the link that a Ledger follows. Zero in a genesis.
	Parent     manifest.Digest   `cbor:"7,keyasint"`
	Roster     RosterRef         `cbor:"8,keyasint"`
	Trust      TrustRef          `cbor:"9,keyasint"`
	Components []Component       `cbor:"10,keyasint"` // sorted by name
	Quarantine []manifest.Digest `cbor:"11,keyasint"` // releases, oldest first
	Halt       uint64            `cbor:"12,keyasint"` // highest halt counter that voters know
	Rollout    *Rollout          `cbor:"13,keyasint"` // nil before the first
	Rollouts   uint64            `cbor:"14,keyasint"` // how many were ever started
}

// Encode returns the order's bytes.
func (o *Order) Encode() []byte { return canonical.Encode(o) }

// Digest names the order.
func (o *Order) Digest() manifest.Digest { return manifest.Sum(o.Encode()) }

// Pointer is where o stands among orders.
func (o *Order) Pointer() Pointer { return Pointer{Generation: o.Generation, Index: o.Index} }

// A Pointer orders orders.
type Pointer struct {
	_          struct{} `cbor:",toarray"`
	Generation uint32
	Index      uint64
}

// Before reports whether p comes before q.
func (p Pointer) Before(q Pointer) bool {
	return p.Generation < q.Generation || (p.Generation == q.Generation && p.Index < q.Index)
}

// String is "g1/42".
func (p Pointer) String() string { return fmt.Sprintf("g%d/%d", p.Generation, p.Index) }

// Component returns the component called name, or nil.
func (o *Order) Component(name string) *Component {
	for i := range o.Components {
		if o.Components[i].Name == name {
			return &o.Components[i]
		}
	}
	return nil
}

// Quarantined reports whether the release with digest d may not run.
func (o *Order) Quarantined(d manifest.Digest) bool { return slices.Contains(o.Quarantine, d) }

// Decode parses and checks an order; nothing is said of who decided it.
func Decode(data []byte) (*Order, error) {
	var o Order
	if err := canonical.DecodeFormat(data, MaxBytes, "order", Format, &o); err != nil {
		return nil, err
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	return &o, nil
}

// Check reports the first thing that makes o unusable; errors wrap ErrInvalid.
func (o *Order) Check() error {
	if o.Format != Format || o.Swarm == "" || len(o.Swarm) > member.MaxSwarmBytes || o.Generation == 0 || o.Level == 0 {
		return fmt.Errorf("%w: format %d, swarm %q, generation %d, level %d", ErrInvalid, o.Format, o.Swarm, o.Generation, o.Level)
	}
	if err := o.Electorate.check(); err != nil {
		return err
	}
	if len(o.Components) > MaxComponents || len(o.Quarantine) > MaxQuarantine {
		return fmt.Errorf("%w: %d components, %d quarantined", ErrInvalid, len(o.Components), len(o.Quarantine))
	}
	for i, c := range o.Components {
		if !manifest.ValidName(c.Name) || (i > 0 && c.Name <= o.Components[i-1].Name) {
			return fmt.Errorf("%w: component %q", ErrInvalid, c.Name)
		}
	}
	if r := o.Rollout; r != nil {
		if int(r.Stage) >= len(stageNames) || int(r.Status) >= len(statusNames) || len(r.Reason) > MaxReasonBytes ||
			!manifest.ValidName(r.Component) || len(r.Open) > member.MaxMembers/8 || len(r.Opened) > member.MaxMembers/8 || len(r.Fetch) > member.MaxMembers/8 {
			return fmt.Errorf("%w: rollout %d", ErrInvalid, r.ID)
		}
	}
	return nil
}
