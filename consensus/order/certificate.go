package order

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
)

const (
	// CertificateFormat is the newest certificate format this build reads and writes.
	CertificateFormat = 1
	// MaxCertificateBytes bounds an encoded certificate, with the signatures of
	// an old and a new electorate on it.
	MaxCertificateBytes = 2 << 10

	statementDomain = "starling/certificate/1\x00"
)

// A Statement is what a voter signs: at this index the order is this, and the
// whole replicated state, of which the order is a part, is that.
type Statement struct {
	_          struct{} `cbor:",toarray"`
	Swarm      string
	Generation uint32
	Index      uint64
	Order      manifest.Digest
	State      manifest.Digest
}

func (s *Statement) signed() []byte {
	return append([]byte(statementDomain), canonical.Encode(s)...)
}

// Sign is a voter's word for s. A voter that signs two statements for one
// generation and index proves itself hostile: see consensus.Replica.
func (s *Statement) Sign(priv ed25519.PrivateKey) envelope.Signature {
	out := envelope.Signature{Key: envelope.KeyOf(priv)}
	copy(out.Sig[:], ed25519.Sign(priv, s.signed()))
	return out
}

// Verify reports whether sig is a right signature on s by the key it names.
func (s *Statement) Verify(sig envelope.Signature) bool {
	return ed25519.Verify(sig.Key[:], s.signed(), sig.Sig[:])
}

// A Certificate is voters' signatures on a statement. Signatures are sorted by key.
type Certificate struct {
	Format     uint                 `cbor:"0,keyasint"`
	Statement  Statement            `cbor:"1,keyasint"`
	Signatures []envelope.Signature `cbor:"2,keyasint"`
}

// Encode returns the certificate's bytes.
func (c *Certificate) Encode() []byte { return canonical.Encode(c) }

// DecodeCertificate parses a certificate; nothing in it is verified.
func DecodeCertificate(data []byte) (*Certificate, error) {
	var c Certificate
	if err := canonical.DecodeFormat(data, MaxCertificateBytes, "certificate", CertificateFormat, &c); err != nil {
		return nil, err
	}
	if len(c.Signatures) > 2*MaxVoters {
		return nil, fmt.Errorf("certificate: %w", canonical.ErrTooLarge)
	}
	return &c, nil
}

// NewCertificate puts signatures that are known to be right on a statement.
func NewCertificate(s Statement, sigs []envelope.Signature) *Certificate {
	sigs = slices.Clone(sigs)
	slices.SortFunc(sigs, func(a, b envelope.Signature) int { return slices.Compare(a.Key[:], b.Key[:]) })
	return &Certificate{Format: CertificateFormat, Statement: s, Signatures: sigs}
}

// By reports whether a quorum of e has signed the certificate.
func (c *Certificate) By(e *Electorate) bool {
	good := map[envelope.Key]bool{}
	for _, s := range c.Signatures {
		if e.Seat(s.Key) >= 0 && !good[s.Key] && c.Statement.Verify(s) {
			good[s.Key] = true
		}
	}
	if planted.Is("quorum-of-one") {
		return len(good) > 0
	}
	return len(good) >= Quorum(len(e.Voters))
}

// A Proven is an order with the certificate for it. The certificate of a
// genesis' own order is nil: the genesis proves it.
type Proven struct {
	Order       *Order
	Certificate *Certificate
}

// Names reports whether the certificate is for this order.
func (p Proven) names() error {
	s := &p.Certificate.Statement
	if s.Swarm != p.Order.Swarm || s.Generation != p.Order.Generation || s.Index != p.Order.Index || s.Order != p.Order.Digest() {
		return fmt.Errorf("%w: the certificate is for another order", ErrUncertified)
	}
	return nil
}
