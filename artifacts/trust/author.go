package trust

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

// Init makes version 1 of everything. ownerThreshold of the owner keys sign root
// and targets; each operator key signs snapshot, timestamp and every delegated
// role alone, but ending a halt takes two operators if there are two. With fewer
// owner signatures than the threshold the bundle is a draft, and its root digest
// changes until CoSign has completed it. now is the signing time.
func Init(owner []envelope.Key, ownerThreshold int, operator []envelope.Key, signers Signers, now time.Time) (*Bundle, error) {
	at := second(now)
	root := metadata.Root(at.Add(ownerLifetime))
	root.Signed.UnrecognizedFields = stamp(at)
	root.Signed.ConsistentSnapshot = false // nothing is fetched by URL
	if err := setRootRoles(root, owner, ownerThreshold, operator); err != nil {
		return nil, err
	}
	targets := metadata.Targets(at.Add(ownerLifetime))
	targets.Signed.UnrecognizedFields = stamp(at)
	if err := setDelegated(targets, operatorRoles(operator)); err != nil {
		return nil, err
	}
	p := &parts{roots: []*rootMeta{root}, targets: targets}
	return p.signAndFinish(signers, at)
}

// Publish adds releases to the targets of b and makes the next targets,
// snapshot and timestamp. It needs one owner's key at least; with fewer than the
// threshold, or without an operator's key, the result is a draft. A release
// that is listed already with the same bytes is passed over; if all are, b
// comes back unchanged. Errors are ErrTaken, ErrSigner, those of
// manifest.Release.Check, and those of Open if b does not open.
func Publish(b *Bundle, releases []*manifest.Release, signers Signers, now time.Time) (*Bundle, error) {
	set, p, err := reopen(b)
	if err != nil {
		return nil, err
	}
	files, known := p.targets.Signed.Targets, set.Releases()
	for _, r := range slices.SortedFunc(slices.Values(releases), func(a, b *manifest.Release) int { return byCounter(listing(a), listing(b)) }) {
		if err := r.Check(); err != nil {
			return nil, err
		}
		fresh, err := vacant(known, listing(r))
		if err != nil {
			return nil, err
		}
		if !fresh {
			continue
		}
		known = append(known, listing(r))
		if files[r.Target()], err = targetOf(r); err != nil {
			return nil, err
		}
	}
	if len(known) == len(set.releases) {
		return b.clone(), nil
	}
	at := later(second(now), set.SignedAt())
	p.renewTargets(at)
	return p.signAndFinish(signers, at)
}

// Delegate replaces the delegated roles of b: a bench gets its own report key,
// a marshal an e-stop key. A role without keys accepts nothing. Signatures and
// drafts are as with Publish. Errors are ErrInvalid, ErrSigner and Open's.
func Delegate(b *Bundle, roles order.Roles, signers Signers, now time.Time) (*Bundle, error) {
	set, p, err := reopen(b)
	if err != nil {
		return nil, err
	}
	for _, name := range roleNames {
		if k := slot(&roles, name); len(k.Keys) > 0 || k.Threshold > 0 {
			if err := checkKeys(name, *k); err != nil {
				return nil, err
			}
		}
	}
	if err := setDelegated(p.targets, roles); err != nil {
		return nil, err
	}
	at := later(second(now), set.SignedAt())
	p.renewTargets(at)
	return p.signAndFinish(signers, at)
}

// Renew makes the next snapshot and timestamp of b: operator's keys suffice. It
// also finishes a draft that enough owners have signed; if they have not, the
// error wraps ErrUnsigned. Without an operator's key it is ErrSigner.
func Renew(b *Bundle, signers Signers, now time.Time) (*Bundle, error) {
	p, err := takeApart(b, true)
	if err != nil {
		return nil, err
	}
	lacking, err := p.lacking()
	if err != nil {
		return nil, err
	}
	if len(lacking) > 0 {
		d := lacking[0]
		return nil, fmt.Errorf("%w: %s has %d of %d owner signatures", ErrUnsigned, d.Document, len(d.Signed), d.Keys.Threshold)
	}
	if err := p.bump(signers.Operator, later(second(now), p.signedAt())); err != nil {
		return nil, err
	}
	return p.finished()
}

// CoSign adds the signatures that the draft b lacks and the owner keys at hand
// can give. Once the owners are complete, an operator's key among signers
// finishes the bundle; without one it remains a draft for Renew. ErrSigner is
// returned if the keys can add nothing that is lacking. What b would change is
// for a person to look at first, with Review.
func CoSign(b *Bundle, signers Signers, now time.Time) (*Bundle, error) {
	p, err := takeApart(b, true)
	if err != nil {
		return nil, err
	}
	return p.signAndFinish(signers, later(second(now), p.signedAt()))
}

// signAndFinish adds owner signatures where they are lacking, and once they are
// complete and operator keys at hand, binds the targets in a new snapshot and
// timestamp.
func (p *parts) signAndFinish(signers Signers, at time.Time) (*Bundle, error) {
	added, err := p.signOwner(signers.Owner)
	if err != nil {
		return nil, err
	}
	lacking, err := p.lacking()
	if err != nil {
		return nil, err
	}
	if added == 0 && len(lacking) > 0 {
		return nil, fmt.Errorf("%w: %s wants a signature of one of %s", ErrSigner, lacking[0].Document, names(lacking[0]))
	}
	if len(lacking) > 0 || (len(signers.Operator) == 0 && !p.current()) {
		return p.bundle()
	}
	if !p.current() {
		if err := p.bump(signers.Operator, at); err != nil {
			return nil, err
		}
	}
	return p.finished()
}

// names lists the keys that could still sign, for people.
func names(d Need) string {
	s := ""
	for _, k := range d.Keys.Keys {
		if !slices.Contains(d.Signed, k) {
			s += " " + k.Short()
		}
	}
	return s[min(1, len(s)):]
}

// finished returns p as a bundle that opens: what this package writes, it has read.
func (p *parts) finished() (*Bundle, error) {
	b, err := p.bundle()
	if err != nil {
		return nil, err
	}
	if _, err := Open(manifest.Sum(b.Roots[0]), b, nil, time.Time{}); err != nil {
		return nil, fmt.Errorf("check what was signed: %w", err)
	}
	return b, nil
}

// reopen verifies b as the base of a change, so that nobody signs what a
// stranger has put there, and takes it apart.
func reopen(b *Bundle) (*Set, *parts, error) {
	if len(b.Roots) == 0 {
		return nil, nil, fmt.Errorf("%w: no root", ErrMalformed)
	}
	set, err := Open(manifest.Sum(b.Roots[0]), b, nil, time.Time{})
	if err != nil {
		return nil, nil, err
	}
	p, err := takeApart(b, false)
	return set, p, err
}

// renewTargets makes p's targets the next version, not signed yet.
func (p *parts) renewTargets(at time.Time) {
	t := p.targets
	t.ClearSignatures()
	t.Signed.Version++
	t.Signed.Expires = at.Add(ownerLifetime)
	if t.Signed.UnrecognizedFields == nil {
		t.Signed.UnrecognizedFields = map[string]any{}
	}
	t.Signed.UnrecognizedFields[signedAtField] = at.Format(time.RFC3339)
}

// listing is r as targets would list it.
func listing(r *manifest.Release) Listed {
	return Listed{Ref: r.Ref(), Component: r.Component, Bytes: int64(len(r.Encode()))}
}

// vacant reports whether l is new among known. If it is neither new nor known
// with the same bytes, the error wraps ErrTaken.
func vacant(known []Listed, l Listed) (bool, error) {
	var newest Listed
	for _, k := range known {
		switch {
		case k.Component != l.Component:
		case k == l:
			return false, nil
		case k.Ref.Version == l.Ref.Version:
			return false, fmt.Errorf("%w: %s %s is published with other bytes (%s)", ErrTaken, k.Component, k.Ref.Version, k.Ref.Digest.Short())
		case k.Ref.Counter >= newest.Ref.Counter:
			newest = k
		}
	}
	if l.Ref.Counter <= newest.Ref.Counter {
		return false, fmt.Errorf("%w: %s %s has counter %d, and %s has %d already: build it with %d or more",
			ErrTaken, l.Component, l.Ref.Version, l.Ref.Counter, newest.Ref.Version, newest.Ref.Counter, newest.Ref.Counter+1)
	}
	return true, nil
}

// targetOf is r as TUF lists it.
func targetOf(r *manifest.Release) (*metadata.TargetFiles, error) {
	doc := r.Encode()
	if len(doc) > manifest.MaxReleaseBytes {
		return nil, fmt.Errorf("%w: release %s of %d bytes, the limit is %d", ErrInvalid, r.Target(), len(doc), manifest.MaxReleaseBytes)
	}
	c, err := json.Marshal(custom{Component: r.Component, Version: r.Version, Counter: r.Counter})
	if err != nil {
		return nil, fmt.Errorf("encode custom of %s: %w", r.Target(), err)
	}
	raw := json.RawMessage(c)
	d := manifest.Sum(doc)
	return &metadata.TargetFiles{Length: int64(len(doc)), Hashes: metadata.Hashes{"sha256": d[:]}, Custom: &raw, Path: r.Target()}, nil
}

// pinOf binds a document by version, length and hash.
func pinOf(data []byte, version int64) *metadata.MetaFiles {
	d := manifest.Sum(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": d[:]}}
}

// stamp is the extra signed field of a document signed at at.
func stamp(at time.Time) map[string]any {
	return map[string]any{signedAtField: at.Format(time.RFC3339)}
}

// second is t in whole seconds of UTC, as TUF writes time.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
