package join

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// MetaProtocol hands a member what it missed; DocumentProtocol hands a member
	// one document by its digest.
	MetaProtocol     = "/starling/meta/1"
	DocumentProtocol = "/starling/document/1"

	// MetaFormat is the newest format of MetaRequest, MetaReply and DocumentRequest.
	MetaFormat = 1
	// MaxMetaRequestBytes and MaxMetaReplyBytes bound the two: a reply may hold
	// the trust metadata, a full roster and a chain of orders.
	MaxMetaRequestBytes = 1 << 10
	MaxMetaReplyBytes   = 2 << 20
	// MaxAddresses bounds the addresses in a reply.
	MaxAddresses = 64
)

// A MetaRequest says what a robot knows, so that only the rest is sent. Zero
// values ask for everything.
type MetaRequest struct {
	Format  uint            `cbor:"0,keyasint"`
	Trust   manifest.Digest `cbor:"1,keyasint"`
	Roster  manifest.Digest `cbor:"2,keyasint"`
	Genesis manifest.Digest `cbor:"3,keyasint"`
	Order   order.Pointer   `cbor:"4,keyasint"`
	Voters  uint32          `cbor:"5,keyasint"` // version of the electorate known
	Halt    uint64          `cbor:"6,keyasint"`
	Gossip  uint32          `cbor:"7,keyasint"` // number of the newest gossip key known
}

// An Address is where a member was last heard.
type Address struct {
	_       struct{} `cbor:",toarray"`
	Member  member.Index
	Host    string
	Gossip  uint16 // ports
	Bulk    uint16
	Control uint16
}

// A Proof is an order and its certificate, encoded.
type Proof struct {
	_           struct{} `cbor:",toarray"`
	Order       []byte
	Certificate []byte
}

// A MetaReply is what the asker missed; what it knows is left empty. Nothing in
// it is trusted because of who sent it: each part proves itself.
type MetaReply struct {
	Format  uint   `cbor:"0,keyasint"`
	Trust   []byte `cbor:"1,keyasint"` // trust.Bundle
	Roster  []byte `cbor:"2,keyasint"` // envelope
	Genesis []byte `cbor:"3,keyasint"` // envelope
	// Chain are the orders that changed the electorate after the one known,
	// oldest first, at most order.MaxChain.
	Chain []Proof `cbor:"4,keyasint"`
	Order []Proof `cbor:"5,keyasint"` // the newest, or none
	Halt  []byte  `cbor:"6,keyasint"` // envelope
	// GossipKeys are the keys of the gossip encryption, newest first, of which the
	// first has number GossipKey.
	GossipKeys [][]byte  `cbor:"7,keyasint"`
	GossipKey  uint32    `cbor:"8,keyasint"`
	Addresses  []Address `cbor:"9,keyasint"`
}

// A DocumentRequest asks for one document. Envelopes go by the digest of what
// they sign, others by the digest of their bytes, and a notice of a pack by the two
// images it leads between; the answer is the bytes, or nothing if the other does not
// have it.
type DocumentRequest struct {
	Format uint            `cbor:"0,keyasint"`
	Kind   DocumentKind    `cbor:"1,keyasint"`
	Digest manifest.Digest `cbor:"2,keyasint"`
}

// A DocumentKind says what sort of document a digest names.
type DocumentKind string

// The kinds of documents that members keep for each other.
const (
	PlanDocument     DocumentKind = "plan"     // envelope
	ReportDocument   DocumentKind = "report"   // envelope
	RosterDocument   DocumentKind = "roster"   // envelope
	TrustDocument    DocumentKind = "trust"    // trust.Bundle
	ReleaseDocument  DocumentKind = "release"  // manifest.Release
	ManifestDocument DocumentKind = "manifest" // manifest.Manifest
	DeltaDocument    DocumentKind = "delta"    // envelope of a delta.Notice
	// ProvenanceDocument is the builder's word for a release, by the digest that the
	// release names: that of the whole envelope.
	ProvenanceDocument DocumentKind = "provenance"
)

// Limit is the size of the largest document of kind k; zero for an unknown kind.
func (k DocumentKind) Limit() int {
	switch k {
	case PlanDocument:
		return envelope.MaxBytes(envelope.Plan)
	case ReportDocument:
		return envelope.MaxBytes(envelope.Report)
	case RosterDocument:
		return envelope.MaxBytes(envelope.Roster)
	case TrustDocument:
		return 1 << 20
	case ReleaseDocument:
		return manifest.MaxReleaseBytes
	case ManifestDocument:
		return manifest.MaxBytes
	case DeltaDocument:
		return envelope.MaxBytes(envelope.Delta)
	case ProvenanceDocument:
		return envelope.MaxBytes(envelope.Builder)
	}
	return 0
}

// Digest is what names the document data of kind k, or an error if it is none.
func (k DocumentKind) Digest(data []byte) (manifest.Digest, error) {
	var kind envelope.Kind
	switch k {
	case PlanDocument:
		kind = envelope.Plan
	case ReportDocument:
		kind = envelope.Report
	case RosterDocument:
		kind = envelope.Roster
	case TrustDocument, ReleaseDocument, ManifestDocument, ProvenanceDocument:
		return manifest.Sum(data), nil
	case DeltaDocument:
		return delta.NameOf(data)
	default:
		return manifest.Digest{}, fmt.Errorf("document kind %q: %w", k, canonical.ErrMalformed)
	}
	e, err := envelope.Decode(data, kind)
	if err != nil {
		return manifest.Digest{}, err
	}
	return e.Digest(), nil
}

// DecodeMetaRequest parses a request.
func DecodeMetaRequest(data []byte) (*MetaRequest, error) {
	var r MetaRequest
	return &r, canonical.DecodeFormat(data, MaxMetaRequestBytes, "meta request", MetaFormat, &r)
}

// DecodeMetaReply parses a reply; nothing in it is verified.
func DecodeMetaReply(data []byte) (*MetaReply, error) {
	var r MetaReply
	if err := canonical.DecodeFormat(data, MaxMetaReplyBytes, "meta reply", MetaFormat, &r); err != nil {
		return nil, err
	}
	if len(r.Chain) > order.MaxChain || len(r.Order) > 1 || len(r.GossipKeys) > 4 || len(r.Addresses) > MaxAddresses {
		return nil, fmt.Errorf("meta reply: %w: too many parts", canonical.ErrMalformed)
	}
	return &r, nil
}

// DecodeDocumentRequest parses a request.
func DecodeDocumentRequest(data []byte) (*DocumentRequest, error) {
	var r DocumentRequest
	if err := canonical.DecodeFormat(data, MaxMetaRequestBytes, "document request", MetaFormat, &r); err != nil {
		return nil, err
	}
	if r.Kind.Limit() == 0 {
		return nil, fmt.Errorf("document request: %w: kind %q", canonical.ErrMalformed, r.Kind)
	}
	return &r, nil
}
