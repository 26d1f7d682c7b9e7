package order

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

// ArmFormat is the newest format of Armed and Ack this build reads and writes.
const ArmFormat = 1

// Armed is a robot's word that it is about to switch, and its question whether
// its order is still the newest. It is signed by the robot.
type Armed struct {
	Format     uint            `cbor:"0,keyasint"`
	Robot      member.Index    `cbor:"1,keyasint"`
	Nonce      [16]byte        `cbor:"2,keyasint"`
	Generation uint32          `cbor:"3,keyasint"`
	Index      uint64          `cbor:"4,keyasint"`
	Order      manifest.Digest `cbor:"5,keyasint"`
	Component  string          `cbor:"6,keyasint"`
	Release    manifest.Digest `cbor:"7,keyasint"`
	Empty      bool            `cbor:"8,keyasint"` // the robot runs nothing of this component yet
	// Sequence is that of the robot's last health report before the question: a later
	// one that says it is at rest ends what was granted.
	Sequence uint64 `cbor:"9,keyasint"`
}

// Ack is one voter's answer to Armed. It is signed by the voter.
type Ack struct {
	Format uint            `cbor:"0,keyasint"`
	Voter  member.Index    `cbor:"1,keyasint"`
	Armed  manifest.Digest `cbor:"2,keyasint"` // of the Armed envelope, and so of its nonce
	OK     bool            `cbor:"3,keyasint"`
	// Generation and Index are the newest order the voter knows.
	Generation uint32 `cbor:"4,keyasint"`
	Index      uint64 `cbor:"5,keyasint"`
	Reason     string `cbor:"6,keyasint"` // why not; at most member.MaxReason bytes
}

// Seal puts a into an unsigned envelope.
func (a *Armed) Seal(swarm string) *envelope.Envelope {
	return envelope.New(envelope.Armed, ArmFormat, envelope.SwarmScope(swarm), a)
}

// Seal puts a into an unsigned envelope.
func (a *Ack) Seal(swarm string) *envelope.Envelope {
	return envelope.New(envelope.Ack, ArmFormat, envelope.SwarmScope(swarm), a)
}

// OpenArmed verifies and parses the question of the robot with this key.
func OpenArmed(data []byte, swarm string, robot envelope.Key) (*Armed, *envelope.Envelope, error) {
	e, err := envelope.Decode(data, envelope.Armed)
	if err != nil {
		return nil, nil, err
	}
	if err := e.Verify(envelope.SwarmScope(swarm), envelope.Only(robot)); err != nil {
		return nil, nil, err
	}
	var a Armed
	if err := e.Open(ArmFormat, &a); err != nil {
		return nil, nil, err
	}
	if a.Format != ArmFormat || !manifest.ValidName(a.Component) {
		return nil, nil, fmt.Errorf("%w: armed, format %d, for component %q", ErrInvalid, a.Format, a.Component)
	}
	return &a, e, nil
}

// OpenAck verifies and parses the answer of voter v to the question with digest armed.
func OpenAck(data []byte, swarm string, v Voter, armed manifest.Digest) (*Ack, error) {
	e, err := envelope.Decode(data, envelope.Ack)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(envelope.SwarmScope(swarm), envelope.Only(v.Key)); err != nil {
		return nil, err
	}
	var a Ack
	if err := e.Open(ArmFormat, &a); err != nil {
		return nil, err
	}
	if a.Format != ArmFormat || a.Armed != armed || a.Voter != v.Member || len(a.Reason) > member.MaxReason {
		return nil, fmt.Errorf("%w: the answer is to another question", envelope.ErrKind)
	}
	return &a, nil
}
