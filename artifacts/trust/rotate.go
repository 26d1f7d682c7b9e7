package trust

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// A RootChange says which keys a new root names.
type RootChange struct {
	// Owner are the new owner's keys, all of them; empty keeps the old.
	Owner []envelope.Key
	// OwnerThreshold is how many of them must sign; zero keeps the old number.
	OwnerThreshold int
	// Operator are the new operator's keys, all of them; empty keeps the old. In
	// the delegated roles they take the places of the old; keys there that were
	// never an operator's, such as a bench's, stay.
	Operator []envelope.Key
}

// RotateRoot adds a root to the chain of b, with new keys or just a new expiry,
// and signs targets, snapshot and timestamp anew under it. The root wants the
// signatures of the old owners and of the new; what signers cannot give, CoSign
// can add. Old roots stay in the chain, so that a robot that was away follows
// it. Rotating the operator's keys also makes robots forget the versions that
// the old keys signed: that is the cure when a stolen key has raced them ahead.
func RotateRoot(b *Bundle, change RootChange, signers Signers, now time.Time) (*Bundle, error) {
	set, p, err := reopen(b)
	if err != nil {
		return nil, err
	}
	if len(p.roots) == MaxRoots {
		return nil, fmt.Errorf("%w: the chain has %d roots, which is the limit: start a new trust root with Init", ErrInvalid, MaxRoots)
	}
	owner, operator := set.Owner(), set.Operator()
	if len(change.Owner) > 0 {
		owner.Keys = change.Owner
	}
	if change.OwnerThreshold > 0 {
		owner.Threshold = uint(change.OwnerThreshold)
	}
	at := later(second(now), set.SignedAt())
	if len(change.Operator) > 0 {
		if err := setDelegated(p.targets, succeed(set.Roles(), operator.Keys, change.Operator)); err != nil {
			return nil, err
		}
		operator.Keys = change.Operator
	}
	// The old root is read again: it must not share maps with the new one.
	root, err := parse[metadata.RootType]("root", b.Roots[len(b.Roots)-1])
	if err != nil {
		return nil, err
	}
	root.ClearSignatures()
	root.Signed.Version++
	root.Signed.Expires = at.Add(ownerLifetime)
	if root.Signed.UnrecognizedFields == nil {
		root.Signed.UnrecognizedFields = map[string]any{}
	}
	maps.Copy(root.Signed.UnrecognizedFields, stamp(at))
	if err := setRootRoles(root, owner.Keys, int(owner.Threshold), operator.Keys); err != nil {
		return nil, err
	}
	p.roots = append(p.roots, root)
	p.renewTargets(at)
	return p.signAndFinish(signers, at)
}

// setRootRoles makes root name these keys, and no others.
func setRootRoles(root *rootMeta, owner []envelope.Key, threshold int, operator []envelope.Key) error {
	if err := checkKeys("owner", envelope.Keys{Keys: owner, Threshold: uint(max(0, threshold))}); err != nil {
		return err
	}
	if err := checkKeys("operator", envelope.Keys{Keys: operator, Threshold: 1}); err != nil {
		return err
	}
	keys := map[string]*metadata.Key{}
	ids := func(of []envelope.Key) ([]string, error) {
		out := []string{}
		for _, k := range sorted(slices.Clone(of)) {
			key, id, err := tufKey(k)
			if err != nil {
				return nil, err
			}
			keys[id] = key
			out = append(out, id)
		}
		return out, nil
	}
	own, err := ids(owner)
	if err != nil {
		return err
	}
	op, err := ids(operator)
	if err != nil {
		return err
	}
	root.Signed.Keys = keys
	root.Signed.Roles = map[string]*metadata.Role{
		metadata.ROOT:      {KeyIDs: own, Threshold: threshold},
		metadata.TARGETS:   {KeyIDs: own, Threshold: threshold},
		metadata.SNAPSHOT:  {KeyIDs: op, Threshold: 1},
		metadata.TIMESTAMP: {KeyIDs: op, Threshold: 1},
	}
	return nil
}

// succeed puts the new operator's keys in the places of the old. A role that
// only operators held gets the threshold it would have from Init; another keeps
// its own, as far as its keys go.
func succeed(roles order.Roles, old, operator []envelope.Key) order.Roles {
	for _, name := range roleNames {
		k := slot(&roles, name)
		others := slices.DeleteFunc(slices.Clone(k.Keys), func(key envelope.Key) bool { return slices.Contains(old, key) })
		switch {
		case len(others) == len(k.Keys): // no operator's role, or nobody's
		case len(others) == 0:
			*k = operatorRole(name, operator)
		default:
			for _, key := range operator {
				if !slices.Contains(others, key) {
					others = append(others, key)
				}
			}
			*k = envelope.Keys{Keys: sorted(others), Threshold: min(k.Threshold, uint(len(others)))}
		}
	}
	return roles
}
