// Package join is how a robot comes into a swarm.
//
// An operator writes an invite: a small file with the swarm's id and trust root,
// where to find the operator's node, a secret token, the labels that the robot
// will have, and how often and until when it may be used. The robot proves that
// it holds the token without showing it: it sends an HMAC over the swarm, the
// operator's key, its own key, the name it wishes and a nonce. The connection
// proves both keys, so a relay in between learns nothing that it could use. The
// operator's node counts the use and answers with the signed roster, in which
// the robot now stands, and with the gossip key.
//
// The package holds the documents and the book of invites; the node moves them.
package join

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// InviteFormat is the newest invite format this build reads and writes.
	InviteFormat = 1
	// MaxInviteBytes bounds an invite file.
	MaxInviteBytes = 16 << 10
	// TokenBytes is the length of an invite's secret.
	TokenBytes = 32
	// Protocol is the stream protocol of a join.
	Protocol = "/starling/join/1"
)

// ErrInvite is wrapped by every complaint about an invite: ask the operator for
// a new one with "starling invite".
var ErrInvite = errors.New("join: invite")

// An Invite lets robots in. Whoever holds the file can use it: keep it private.
type Invite struct {
	Format   uint              `json:"format"`
	ID       string            `json:"id"` // names the invite in the operator's book
	Swarm    string            `json:"swarm"`
	Root     manifest.Digest   `json:"trust_root"` // of the swarm's first TUF root
	Operator envelope.Key      `json:"operator"`   // key of the node that answers
	Addrs    []string          `json:"addresses"`  // host:port of its bulk listener
	Token    []byte            `json:"token"`
	Labels   map[string]string `json:"labels"`
	Role     member.Role       `json:"role"`
	NoVote   bool              `json:"no_vote"`
	Expires  time.Time         `json:"expires"`
	Uses     int               `json:"uses"` // how many robots may use it
	// Profile is what the operator's node calls its timers: "lan", "mesh", "narrow" or "local".
	// All of a swarm must have the same; empty is not known.
	Profile string `json:"profile,omitempty"`
}

// New fills in the format, a random id and a random token.
func New(i Invite) (*Invite, error) {
	i.Format = InviteFormat
	var id [6]byte
	i.Token = make([]byte, TokenBytes)
	for _, b := range [][]byte{id[:], i.Token} {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("make an invite: %w", err)
		}
	}
	i.ID = fmt.Sprintf("%x", id)
	return &i, i.check()
}

// Encode returns the invite file.
func (i *Invite) Encode() []byte {
	b, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("join: encode invite: %v", err))
	}
	return append(b, '\n')
}

// Parse reads an invite file. It does not look at the clock: the operator's node
// decides whether the invite still counts.
func Parse(data []byte) (*Invite, error) {
	if len(data) > MaxInviteBytes {
		return nil, fmt.Errorf("%w file of %d bytes, the limit is %d", ErrInvite, len(data), MaxInviteBytes)
	}
	var head struct {
		Format uint `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w is not readable: %v", ErrInvite, err)
	}
	if head.Format > InviteFormat {
		return nil, fmt.Errorf("%w: %w: format %d, this build reads up to %d; update starling", ErrInvite, canonical.ErrFuture, head.Format, InviteFormat)
	}
	var i Invite
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&i); err != nil {
		return nil, fmt.Errorf("%w is not readable: %v", ErrInvite, err)
	}
	return &i, i.check()
}

func (i *Invite) check() error {
	switch {
	case i.Format != InviteFormat || i.ID == "" || len(i.ID) > 32:
		return fmt.Errorf("%w has no format or id", ErrInvite)
	case i.Swarm == "" || len(i.Swarm) > member.MaxSwarmBytes || i.Root.IsZero() || i.Operator.IsZero():
		return fmt.Errorf("%w names no swarm, trust root or operator", ErrInvite)
	case len(i.Token) != TokenBytes || i.Role > member.Base || len(i.Addrs) > 16 || len(i.Labels) >= member.MaxLabels:
		return fmt.Errorf("%w has a bad token, role, or too many addresses or labels", ErrInvite)
	case i.Profile != "" && !manifest.ValidName(i.Profile):
		return fmt.Errorf("%w: profile %q", ErrInvite, i.Profile)
	case i.Uses < 1:
		return fmt.Errorf("%w for %d uses", ErrInvite, i.Uses)
	}
	for k, v := range i.Labels {
		if !manifest.ValidName(k) || v == "" || len(v) > 64 || k == member.PlatformLabel {
			return fmt.Errorf("%w: label %s=%q", ErrInvite, k, v)
		}
	}
	return nil
}

// proof is the robot's word that it holds the token.
func (i *Invite) proof(r *Request, robot envelope.Key) []byte {
	m := hmac.New(sha256.New, i.Token)
	m.Write([]byte("starling/join/1\x00"))
	m.Write(canonical.Encode([]any{i.Swarm, i.ID, i.Operator[:], robot[:], r.Name, r.Platform, r.Level, r.Nonce[:]}))
	return m.Sum(nil)
}
