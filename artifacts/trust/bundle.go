package trust

import (
	"bytes"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Bundle is all TUF metadata that a robot needs, as one document. Nothing in
// it is verified until Open has.
type Bundle struct {
	Format uint `cbor:"0,keyasint"`
	// Roots is the root chain: Roots[i] is version i+1, in JSON, as are the
	// others. 1 to MaxRoots.
	Roots [][]byte `cbor:"1,keyasint"`
	// Timestamp and Snapshot are empty in a draft of the very first version.
	Timestamp []byte `cbor:"2,keyasint"`
	Snapshot  []byte `cbor:"3,keyasint"`
	Targets   []byte `cbor:"4,keyasint"`
}

// Encode returns the bundle's bytes.
func (b *Bundle) Encode() []byte { return canonical.Encode(b) }

// Digest names the bundle, signatures and all.
func (b *Bundle) Digest() manifest.Digest { return manifest.Sum(b.Encode()) }

// DecodeBundle parses a bundle. Nothing in it is verified. Errors wrap those of
// package canonical, or ErrMalformed.
func DecodeBundle(data []byte) (*Bundle, error) {
	var b Bundle
	if err := canonical.DecodeFormat(data, MaxBundleBytes, "trust bundle", Format, &b); err != nil {
		return nil, err
	}
	if len(b.Roots) == 0 || len(b.Roots) > MaxRoots {
		return nil, fmt.Errorf("%w: %d roots, want 1 to %d", ErrMalformed, len(b.Roots), MaxRoots)
	}
	return &b, nil
}

// clone returns a deep copy, so that a Set shares no memory with its maker.
func (b *Bundle) clone() *Bundle {
	c := &Bundle{
		Format: b.Format, Roots: make([][]byte, len(b.Roots)),
		Timestamp: bytes.Clone(b.Timestamp), Snapshot: bytes.Clone(b.Snapshot), Targets: bytes.Clone(b.Targets),
	}
	for i, r := range b.Roots {
		c.Roots[i] = bytes.Clone(r)
	}
	return c
}
