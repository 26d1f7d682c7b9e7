package trust

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

// Listed is a release that the owner's keys vouch for.
type Listed struct {
	Ref       manifest.Ref
	Component string
	Bytes     int64 // length of the encoded release, not of any image
}

// byCounter orders releases by component, then counter.
func byCounter(a, b Listed) int {
	return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Ref.Counter, b.Ref.Counter))
}

// A Set is a verified bundle. It never changes and may be shared.
type Set struct {
	bundle   *Bundle
	ref      order.TrustRef
	pin      manifest.Digest
	roles    order.Roles
	owner    envelope.Keys // of role targets
	operator envelope.Keys // of role timestamp
	releases []Listed      // sorted by byCounter
	files    map[string]*metadata.TargetFiles
	signedAt time.Time
	expires  time.Time
	floor    time.Time
}

// newSet reads what a verified bundle says.
func newSet(pin manifest.Digest, b *Bundle, p *parts, floor time.Time) (*Set, error) {
	s := &Set{bundle: b.clone(), pin: pin, floor: floor, files: p.targets.Signed.Targets}
	s.ref = order.TrustRef{
		Root: uint64(p.root().Signed.Version), Timestamp: uint64(p.timestamp.Signed.Version),
		Snapshot: uint64(p.snapshot.Signed.Version), Targets: uint64(p.targets.Signed.Version), Digest: b.Digest(),
	}
	var err error
	if s.roles, err = delegated(p.targets); err != nil {
		return nil, err
	}
	if s.releases, err = listed(p.targets); err != nil {
		return nil, err
	}
	if s.owner, err = rootRole(p.root(), metadata.TARGETS); err != nil {
		return nil, err
	}
	if s.operator, err = rootRole(p.root(), metadata.TIMESTAMP); err != nil {
		return nil, err
	}
	s.signedAt = p.signedAt()
	s.expires = p.root().Signed.Expires
	for _, t := range []time.Time{p.targets.Signed.Expires, p.snapshot.Signed.Expires, p.timestamp.Signed.Expires} {
		s.expires = earlier(s.expires, t)
	}
	s.expires = s.expires.UTC()
	return s, nil
}

// rootRole returns the keys that r gives to a top-level role.
func rootRole(r *rootMeta, name string) (envelope.Keys, error) {
	role := r.Signed.Roles[name]
	held, err := holders(r.Signed.Keys, role.KeyIDs)
	if err != nil {
		return envelope.Keys{}, fmt.Errorf("%w: role %s: %v", ErrMalformed, name, err)
	}
	return keysOf(held, role.Threshold), nil
}

// signedAt is the newest time at which any part says it was signed.
func (p *parts) signedAt() time.Time {
	at, _ := signedAt(p.targets) // parse has refused those that do not read
	for _, r := range p.roots {
		t, _ := signedAt(r)
		at = later(at, t)
	}
	if p.timestamp != nil {
		t, _ := signedAt(p.timestamp)
		u, _ := signedAt(p.snapshot)
		at = later(later(at, t), u)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Bundle returns a copy of the bundle that was verified.
func (s *Set) Bundle() *Bundle { return s.bundle.clone() }

// Root is the trust root's id: the digest of root version 1.
func (s *Set) Root() manifest.Digest { return s.pin }

// Ref names the set by its versions and the bundle's digest.
func (s *Set) Ref() order.TrustRef { return s.ref }

// Roles says which keys may sign which kind of document, as targets delegate
// them. Keys are sorted; a role that is not delegated accepts nothing.
func (s *Set) Roles() order.Roles {
	out := s.roles
	for _, name := range roleNames {
		keys := slot(&out, name)
		keys.Keys = slices.Clone(keys.Keys)
	}
	return out
}

// Owner returns the keys that sign root and targets.
func (s *Set) Owner() envelope.Keys {
	return envelope.Keys{Keys: slices.Clone(s.owner.Keys), Threshold: s.owner.Threshold}
}

// Operator returns the keys that sign snapshot and timestamp.
func (s *Set) Operator() envelope.Keys {
	return envelope.Keys{Keys: slices.Clone(s.operator.Keys), Threshold: s.operator.Threshold}
}

// SignedAt is the newest time at which any part was signed, by the signers' own
// clock: the present is not earlier. Zero if no part says so.
func (s *Set) SignedAt() time.Time { return s.signedAt }

// Expires is when the first part expires.
func (s *Set) Expires() time.Time { return s.expires }

// Expired reports whether some part has expired at the latest of at, the floor
// given to Open, and SignedAt. An expired set forbids to start a rollout, and
// nothing else.
func (s *Set) Expired(at time.Time) bool {
	return later(later(at, s.floor), s.signedAt).After(s.expires)
}

// Release returns the release of component with this version, if it is listed.
func (s *Set) Release(component, version string) (Listed, bool) {
	i := slices.IndexFunc(s.releases, func(l Listed) bool { return l.Component == component && l.Ref.Version == version })
	if i < 0 {
		return Listed{}, false
	}
	return s.releases[i], true
}

// Releases returns all releases, sorted by component, then counter.
func (s *Set) Releases() []Listed { return slices.Clone(s.releases) }

// VerifyRelease parses doc, an encoded release, and returns it if targets list
// exactly these bytes under its component, version and counter. Otherwise the
// error wraps ErrNotListed, or package manifest's if doc is no release.
func (s *Set) VerifyRelease(doc []byte) (*manifest.Release, error) {
	r, err := manifest.DecodeRelease(doc)
	if err != nil {
		return nil, err
	}
	l, ok := s.Release(r.Component, r.Version)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNotListed, r.Target())
	}
	err = guard(r.Target(), func() error { return s.files[r.Target()].VerifyLengthHashes(doc) })
	if err != nil || l.Bytes != int64(len(doc)) || l.Ref.Digest != manifest.Sum(doc) {
		return nil, fmt.Errorf("%w: %s is listed with other bytes (%s, these are %s)", ErrNotListed, r.Target(), l.Ref.Digest.Short(), manifest.Sum(doc).Short())
	}
	if l.Ref.Counter != r.Counter {
		return nil, fmt.Errorf("%w: %s is listed with counter %d, it says %d", ErrNotListed, r.Target(), l.Ref.Counter, r.Counter)
	}
	return r, nil
}
