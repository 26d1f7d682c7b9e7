package join

import (
	"crypto/hmac"
	"crypto/rand"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// ProtocolFormat is the newest format of Request and Reply.
	ProtocolFormat = 1
	// MaxRequestBytes bounds a Request, MaxReplyBytes a Reply.
	MaxRequestBytes = 1 << 10
	MaxReplyBytes   = 1 << 10
)

// A Request is what a robot sends to the operator's node.
type Request struct {
	Format   uint     `cbor:"0,keyasint"`
	Invite   string   `cbor:"1,keyasint"` // its id
	Name     string   `cbor:"2,keyasint"` // wished for
	Platform string   `cbor:"3,keyasint"` // "linux/arm64"
	Level    uint     `cbor:"4,keyasint"` // newest feature level it can read
	Nonce    [16]byte `cbor:"5,keyasint"`
	Proof    []byte   `cbor:"6,keyasint"` // HMAC-SHA-256 under the invite's token
}

// A Refusal says why a robot was not let in.
type Refusal uint8

// The refusals. None is success.
const (
	None      Refusal = 0
	Unknown   Refusal = 1 // no such invite, or the proof is wrong: the two are not told apart
	ExpiredAt Refusal = 2
	UsedUp    Refusal = 3
	KeyInUse  Refusal = 4 // a revoked key, or one that a live robot uses: a cloned card?
	Full      Refusal = 5 // the roster is full
	Wait      Refusal = 6 // let in, but the swarm does not know it yet: ask again
)

// Text says what a refusal means and what to do.
func (r Refusal) Text() string {
	switch r {
	case None:
		return "accepted"
	case Unknown:
		return "the operator's node knows no such invite; ask for a new one with: starling invite"
	case ExpiredAt:
		return "the invite has expired; ask for a new one with: starling invite"
	case UsedUp:
		return "the invite has been used up; ask for a new one with: starling invite"
	case KeyInUse:
		return "this robot's key is revoked or in use by another robot (a cloned card?); delete the key in its state directory and join again"
	case Full:
		return "the roster is full"
	case Wait:
		return "the operator's node has let this robot in, and waits until the swarm's voters know it: too few of them are within reach"
	}
	return fmt.Sprintf("refused with code %d; update starling", uint8(r))
}

// A Reply is the answer. Roster, trust and orders follow by the meta protocol,
// which the robot may open as soon as it is in the roster.
type Reply struct {
	Format  uint         `cbor:"0,keyasint"`
	Refusal Refusal      `cbor:"1,keyasint"`
	Index   member.Index `cbor:"2,keyasint"`
	ID      member.ID    `cbor:"3,keyasint"`
	// Roster is the digest of the roster's envelope that has the robot in it.
	Roster manifest.Digest `cbor:"4,keyasint"`
}

// Request makes the robot's request with a fresh nonce.
func (i *Invite) Request(robot envelope.Key, name, platform string, level uint) (*Request, error) {
	r := &Request{Format: ProtocolFormat, Invite: i.ID, Name: name, Platform: platform, Level: level}
	if _, err := rand.Read(r.Nonce[:]); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	r.Proof = i.proof(r, robot)
	return r, nil
}

// Proves reports whether r, which came from the robot with this key, shows that
// it holds the invite's token.
func (i *Invite) Proves(r *Request, robot envelope.Key) bool {
	return hmac.Equal(i.proof(r, robot), r.Proof)
}

// Encode returns the request's bytes.
func (r *Request) Encode() []byte { return canonical.Encode(r) }

// DecodeRequest parses a request; nothing in it is verified.
func DecodeRequest(data []byte) (*Request, error) {
	var r Request
	if err := canonical.DecodeFormat(data, MaxRequestBytes, "join request", ProtocolFormat, &r); err != nil {
		return nil, err
	}
	if len(r.Invite) > 32 || len(r.Name) > 32 || len(r.Platform) > 32 || len(r.Proof) != 32 {
		return nil, fmt.Errorf("join request: %w: a field is too long", canonical.ErrMalformed)
	}
	return &r, nil
}

// Encode returns the reply's bytes.
func (r *Reply) Encode() []byte { return canonical.Encode(r) }

// DecodeReply parses a reply.
func DecodeReply(data []byte) (*Reply, error) {
	var r Reply
	if err := canonical.DecodeFormat(data, MaxReplyBytes, "join reply", ProtocolFormat, &r); err != nil {
		return nil, err
	}
	return &r, nil
}
