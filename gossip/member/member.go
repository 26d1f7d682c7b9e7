// Package member is the vocabulary of who belongs to a swarm and what they last
// said of themselves.
//
// A Roster, signed by the operator, lists every robot with its key and labels;
// a robot's Index in it never changes and never passes to another, so that sets
// of robots are bitmaps. A Health report, signed by the robot, says how far it
// has got and how it feels; a Table keeps the newest of each.
package member

import (
	"errors"
	"fmt"
	"sort"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// RosterFormat is the newest roster format this build reads and writes.
	RosterFormat = 1
	// MaxMembers bounds a roster.
	MaxMembers = 1024
	// MaxLabels bounds the labels of one member.
	MaxLabels = 8
	// MaxSwarmBytes bounds a swarm's id.
	MaxSwarmBytes = 32
	// PlatformLabel is the label that a robot knows of itself: "linux/arm64".
	PlatformLabel = "platform"
)

// ErrInvalid is wrapped by every complaint of Roster.Check and Health.Check.
var ErrInvalid = errors.New("member: invalid")

// An ID is a robot's name, unique in its swarm: 1 to 32 of a-z 0-9 . - _
type ID string

// An Index is a member's place in the roster, from 0. It is never reused.
type Index uint16

// A Set is a set of members by Index.
type Set = manifest.Bitmap

// A Role says what a member is for.
type Role uint8

// The roles of members.
const (
	Robot    Role = 0 // runs payloads, may vote
	Operator Role = 1 // an operator's laptop: seeds, does not run payloads
	Base     Role = 2 // a computer in the truck: no payload, may vote, seeds, relays
)

// String is "robot", "operator" or "base".
func (r Role) String() string {
	switch r {
	case Robot:
		return "robot"
	case Operator:
		return "operator"
	case Base:
		return "base"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// A Member is one entry of the roster.
type Member struct {
	Index    Index             `cbor:"0,keyasint" json:"index"`
	ID       ID                `cbor:"1,keyasint" json:"id"`
	Key      envelope.Key      `cbor:"2,keyasint" json:"key"`
	Role     Role              `cbor:"3,keyasint" json:"role"`
	Labels   map[string]string `cbor:"4,keyasint" json:"labels"`    // from the invite or the operator, "platform" from the robot at join
	NoVote   bool              `cbor:"5,keyasint" json:"no_vote"`   // never becomes a voter
	Revoked  bool              `cbor:"6,keyasint" json:"revoked"`   // its key counts for nothing
	JoinedAt uint64            `cbor:"7,keyasint" json:"joined_at"` // roster epoch that brought it
}

// A Roster says who belongs. It is signed by role roster.
type Roster struct {
	Format   uint            `cbor:"0,keyasint" json:"format"`
	Swarm    string          `cbor:"1,keyasint" json:"swarm"`
	Epoch    uint64          `cbor:"2,keyasint" json:"epoch"`    // 1 or more; each roster has one more than the last
	Previous manifest.Digest `cbor:"3,keyasint" json:"previous"` // of the envelope with Epoch-1; zero for the first
	// GossipKey is the number of the newest gossip key; the key itself is
	// handed to members by the join and meta protocols only.
	GossipKey uint32   `cbor:"4,keyasint" json:"gossip_key"`
	Members   []Member `cbor:"5,keyasint" json:"members"` // indexed by Index
	// GossipProof is the digest of the newest gossip key, so that a key can be
	// taken from anybody.
	GossipProof manifest.Digest `cbor:"6,keyasint" json:"gossip_proof"`
}

// Check reports the first thing that makes r unusable; errors wrap ErrInvalid.
func (r *Roster) Check() error {
	if r.Format != RosterFormat || r.Swarm == "" || len(r.Swarm) > MaxSwarmBytes || r.Epoch == 0 {
		return fmt.Errorf("%w roster: format %d, swarm %q, epoch %d", ErrInvalid, r.Format, r.Swarm, r.Epoch)
	}
	if len(r.Members) > MaxMembers {
		return fmt.Errorf("%w roster: %d members, the limit is %d", ErrInvalid, len(r.Members), MaxMembers)
	}
	ids, keys := map[ID]bool{}, map[envelope.Key]bool{}
	for i, m := range r.Members {
		switch {
		case int(m.Index) != i:
			return fmt.Errorf("%w roster: member %d stands at place %d", ErrInvalid, m.Index, i)
		case !manifest.ValidName(string(m.ID)) || m.Role > Base || m.Key.IsZero():
			return fmt.Errorf("%w roster: member %d has no good name, role or key", ErrInvalid, i)
		case ids[m.ID] || keys[m.Key]:
			return fmt.Errorf("%w roster: %s or its key stands twice", ErrInvalid, m.ID)
		case len(m.Labels) > MaxLabels:
			return fmt.Errorf("%w roster: %s has %d labels, the limit is %d", ErrInvalid, m.ID, len(m.Labels), MaxLabels)
		}
		for k, v := range m.Labels {
			if !manifest.ValidName(k) || v == "" || len(v) > 64 {
				return fmt.Errorf("%w roster: %s has label %s=%q", ErrInvalid, m.ID, k, v)
			}
		}
		ids[m.ID], keys[m.Key] = true, true
	}
	return nil
}

// OpenRoster verifies and parses a roster of swarm signed by keys.
func OpenRoster(data []byte, swarm string, keys envelope.Keys) (*Roster, *envelope.Envelope, error) {
	e, err := envelope.Decode(data, envelope.Roster)
	if err != nil {
		return nil, nil, err
	}
	if err := e.Verify(envelope.SwarmScope(swarm), keys); err != nil {
		return nil, nil, err
	}
	var r Roster
	if err := e.Open(RosterFormat, &r); err != nil {
		return nil, nil, err
	}
	if err := r.Check(); err != nil {
		return nil, nil, err
	}
	if r.Swarm != swarm {
		return nil, nil, fmt.Errorf("%w roster: for swarm %q inside an envelope for %q", ErrInvalid, r.Swarm, swarm)
	}
	return &r, e, nil
}

// ByKey returns the unrevoked member with key k, or nil.
func (r *Roster) ByKey(k envelope.Key) *Member {
	for i := range r.Members {
		if m := &r.Members[i]; m.Key == k && !m.Revoked {
			return m
		}
	}
	return nil
}

// ByID returns the unrevoked member named id, or nil.
func (r *Roster) ByID(id ID) *Member {
	for i := range r.Members {
		if m := &r.Members[i]; m.ID == id && !m.Revoked {
			return m
		}
	}
	return nil
}

// At returns the unrevoked member with index i, or nil.
func (r *Roster) At(i Index) *Member {
	if int(i) >= len(r.Members) || r.Members[i].Revoked {
		return nil
	}
	return &r.Members[i]
}

// Robots returns the members that run payloads and are not revoked, by Index.
func (r *Roster) Robots() []Member {
	var out []Member
	for _, m := range r.Members {
		if m.Role == Robot && !m.Revoked {
			out = append(out, m)
		}
	}
	return out
}

// Names lists the IDs of the members in s, sorted, for people.
func (r *Roster) Names(s Set) []string {
	var out []string
	for _, i := range s.All() {
		if i < len(r.Members) {
			out = append(out, string(r.Members[i].ID))
		} else {
			out = append(out, fmt.Sprintf("#%d", i))
		}
	}
	sort.Strings(out)
	return out
}
