package consensus

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

const (
	// SignedFormat is the newest format of SignedStatement this build reads and writes.
	SignedFormat = 1
	// MaxSignedBytes bounds an encoded SignedStatement.
	MaxSignedBytes = 512
)

// A SignedStatement is one voter's signature on its way to another voter.
type SignedStatement struct {
	Statement order.Statement
	Signature envelope.Signature
	// Certified is the index of the newest order that the sender holds a certificate
	// for; who knows a newer one answers. It is not signed: a lie costs or saves
	// the liar a few messages.
	Certified uint64
	// Ahead says instead that the sender does not sign an order at this index, for its
	// time: the rest of Statement and the signature are then empty but for the key.
	Ahead bool
}

// signedWire is the encoded form.
type signedWire struct {
	Format    uint               `cbor:"0,keyasint"`
	Statement order.Statement    `cbor:"1,keyasint"`
	Signature envelope.Signature `cbor:"2,keyasint"`
	Certified uint64             `cbor:"3,keyasint"`
	Ahead     bool               `cbor:"4,keyasint,omitempty"`
}

// Encode returns the bytes that Push sends.
func (s SignedStatement) Encode() []byte {
	return canonical.Encode(signedWire{Format: SignedFormat, Statement: s.Statement, Signature: s.Signature, Certified: s.Certified, Ahead: s.Ahead})
}

// DecodeSigned parses a signature; nothing in it is verified: AddSignature does that.
func DecodeSigned(data []byte) (SignedStatement, error) {
	var w signedWire
	if err := canonical.DecodeFormat(data, MaxSignedBytes, "signed statement", SignedFormat, &w); err != nil {
		return SignedStatement{}, err
	}
	return SignedStatement{Statement: w.Statement, Signature: w.Signature, Certified: w.Certified, Ahead: w.Ahead}, nil
}

// Evidence is proof that a voter is hostile: two statements for one index, both
// with its signature. It may hold at most one such voter of 4.
type Evidence struct {
	Voter order.Voter
	A, B  SignedStatement
}

// String is for people: who, where, and the two orders.
func (e Evidence) String() string {
	return fmt.Sprintf("member %d signed both %s and %s at g%d/%d", e.Voter.Member,
		e.A.Statement.Order.Short(), e.B.Statement.Order.Short(), e.A.Statement.Generation, e.A.Statement.Index)
}
