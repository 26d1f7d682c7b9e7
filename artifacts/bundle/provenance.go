package bundle

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// ProvenanceFormat is the newest provenance format this build reads and writes.
	ProvenanceFormat = 1
	// BuildScope is the scope of provenance: a build knows no trust root and no
	// swarm, and what it says of bytes is true in all of them.
	BuildScope = "build"
	// MaxSourceBytes bounds Provenance.Source and Provenance.Tool.
	MaxSourceBytes = 200
)

// Provenance is a builder's word for where a release came from, signed in an
// envelope of kind Builder. The release names the Sum of the whole envelope, so
// that neither the statement nor who signed it can be exchanged. It holds no time:
// two builds of one source by one builder are equal.
type Provenance struct {
	Format    uint   `cbor:"0,keyasint"`
	Component string `cbor:"1,keyasint"`
	Version   string `cbor:"2,keyasint"`
	Counter   uint64 `cbor:"3,keyasint"`
	// Release is the digest of the encoded release with a zero Provenance: the
	// statement covers every field that is known before it is signed.
	Release manifest.Digest `cbor:"4,keyasint"`
	// Variants are those of the release, in its order.
	Variants []Subject `cbor:"5,keyasint"`
	// Tool made the release: "starling v0.4.0".
	Tool string `cbor:"6,keyasint"`
	// Source is the revision that was built, in the builder's words: a commit, a
	// tag, a URL; empty if nobody said.
	Source string `cbor:"7,keyasint,omitempty"`
}

// A Subject is one image that a provenance speaks of.
type Subject struct {
	_        struct{} `cbor:",toarray"`
	Name     string   // of the variant
	Manifest manifest.Digest
	Bytes    uint64 // of the image
}

// provenanceOf is what a builder says of r, whose Provenance is still zero.
func provenanceOf(r *manifest.Release, tool, source string) *Provenance {
	p := &Provenance{
		Format: ProvenanceFormat, Component: r.Component, Version: r.Version, Counter: r.Counter,
		Release: r.Digest(), Tool: tool, Source: source,
	}
	for _, v := range r.Variants {
		p.Variants = append(p.Variants, Subject{Name: v.Name, Manifest: v.Manifest, Bytes: v.Bytes})
	}
	return p
}

// seal signs p.
func (p *Provenance) seal(builder ed25519.PrivateKey) *envelope.Envelope {
	return envelope.New(envelope.Builder, ProvenanceFormat, BuildScope, p).Sign(builder)
}

// openProvenance verifies that data is one builder's statement about r.
func openProvenance(data []byte, r *manifest.Release) (*Provenance, envelope.Key, error) {
	e, err := envelope.Decode(data, envelope.Builder)
	if err != nil {
		return nil, envelope.Key{}, err
	}
	key, ok := e.Signer()
	if !ok {
		return nil, envelope.Key{}, fmt.Errorf("%w: %d builders signed it, want one", envelope.ErrUnsigned, len(e.Signatures))
	}
	if err := e.Verify(BuildScope, envelope.Only(key)); err != nil {
		return nil, envelope.Key{}, err
	}
	var p Provenance
	if err := e.Open(ProvenanceFormat, &p); err != nil {
		return nil, envelope.Key{}, err
	}
	bare := *r
	bare.Provenance = manifest.Digest{}
	want := provenanceOf(&bare, p.Tool, p.Source)
	if len(p.Tool) > MaxSourceBytes || len(p.Source) > MaxSourceBytes || !p.equal(want) {
		return nil, envelope.Key{}, errors.New("it speaks of another release")
	}
	return &p, key, nil
}

func (p *Provenance) equal(q *Provenance) bool {
	return envelope.New(envelope.Builder, ProvenanceFormat, BuildScope, p).Digest() ==
		envelope.New(envelope.Builder, ProvenanceFormat, BuildScope, q).Digest()
}

// defaultTool names this program by the version of this module in it.
func defaultTool() string {
	const module = "github.com/starling-swarm/starling"
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == module && m.Version != "" {
				version = m.Version
			}
		}
	}
	return "starling " + version
}
