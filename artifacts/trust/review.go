package trust

import (
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

// A Preview is what a draft would say once it is complete, for the person who
// is asked to sign it.
type Preview struct {
	Root     manifest.Digest // of root 1; final only once the roots' needs are met
	Version  uint64          // of the newest root
	Targets  uint64          // version of the targets
	Owner    envelope.Keys   // keys of root and targets
	Operator envelope.Keys   // keys of snapshot and timestamp
	Roles    order.Roles
	Releases []Listed // sorted by component, then counter
	// Needs are the owner signatures wanted, met or not: of the newest root by
	// the owners before and after it, and of the targets.
	Needs []Need
	// Bound says that snapshot and timestamp bind these targets: if all needs
	// are met as well, the bundle is no draft.
	Bound bool
}

// Review reads a draft without asking that it be complete. Only the signatures
// counted in Needs are verified, and whose chain of roots it is, is not: compare
// Root with the pin. Errors wrap ErrMalformed.
func Review(b *Bundle) (*Preview, error) {
	p, err := takeApart(b, true)
	if err != nil {
		return nil, err
	}
	v := &Preview{
		Root: manifest.Sum(b.Roots[0]), Version: uint64(p.root().Signed.Version),
		Targets: uint64(p.targets.Signed.Version), Bound: p.current(),
	}
	if v.Owner, err = rootRole(p.root(), metadata.TARGETS); err != nil {
		return nil, err
	}
	if v.Operator, err = rootRole(p.root(), metadata.TIMESTAMP); err != nil {
		return nil, err
	}
	if v.Roles, err = delegated(p.targets); err != nil {
		return nil, err
	}
	if v.Releases, err = listed(p.targets); err != nil {
		return nil, err
	}
	v.Needs, err = p.needs()
	return v, err
}
