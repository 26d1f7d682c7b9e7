package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// roleNames are the delegated roles, in the order that targets list them.
var roleNames = [...]string{"plan", "roster", "genesis", "report", "estop", "estop-clear"}

// slot returns the field of r that holds the role called name, nil for a role
// this build does not know.
func slot(r *order.Roles, name string) *envelope.Keys {
	switch name {
	case "plan":
		return &r.Plan
	case "roster":
		return &r.Roster
	case "genesis":
		return &r.Genesis
	case "report":
		return &r.Report
	case "estop":
		return &r.Estop
	case "estop-clear":
		return &r.EstopClear
	}
	return nil
}

// publicKey returns the key that k describes.
func publicKey(k *metadata.Key) (envelope.Key, error) {
	if k == nil {
		return envelope.Key{}, errors.New("no key")
	}
	if k.Type != metadata.KeyTypeEd25519 || k.Scheme != metadata.KeySchemeEd25519 {
		return envelope.Key{}, fmt.Errorf("%q with scheme %q, want ed25519", k.Type, k.Scheme)
	}
	raw, err := hex.DecodeString(k.Value.PublicKey)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return envelope.Key{}, errors.New("not an ed25519 public key")
	}
	return envelope.Key(raw), nil
}

// tufKey is the inverse of publicKey, with the key's id.
func tufKey(k envelope.Key) (*metadata.Key, string, error) {
	key, err := metadata.KeyFromPublicKey(ed25519.PublicKey(k[:]))
	if err != nil {
		return nil, "", fmt.Errorf("key %s: %w", k.Short(), err)
	}
	id, err := key.ID()
	return key, id, err
}

// holders returns the keys with these ids, each public key once: two ids of one
// key are one holder. The value is the id under which it signs.
func holders(keys map[string]*metadata.Key, ids []string) (map[envelope.Key]string, error) {
	if len(ids) > MaxKeys {
		return nil, fmt.Errorf("%d keys, the limit is %d", len(ids), MaxKeys)
	}
	out := make(map[envelope.Key]string, len(ids))
	for _, id := range ids {
		k, err := publicKey(keys[id])
		if err != nil {
			return nil, fmt.Errorf("key %.8s: %v", id, err)
		}
		if _, twice := out[k]; !twice {
			out[k] = id
		}
	}
	return out, nil
}

// keysOf returns the holders of a role with its threshold, sorted by key.
func keysOf(held map[envelope.Key]string, threshold int) envelope.Keys {
	return envelope.Keys{Keys: sorted(slices.Collect(maps.Keys(held))), Threshold: uint(threshold)}
}

func sorted(keys []envelope.Key) []envelope.Key {
	slices.SortFunc(keys, func(a, b envelope.Key) int { return bytes.Compare(a[:], b[:]) })
	return keys
}

// delegated returns the roles that t delegates. A role that is not delegated has
// no keys, and so accepts nothing; roles this build does not know are passed over.
func delegated(t *targetsMeta) (order.Roles, error) {
	var roles order.Roles
	if t.Signed.Delegations == nil {
		return roles, nil
	}
	seen := map[string]bool{}
	for _, d := range t.Signed.Delegations.Roles {
		dst := slot(&roles, d.Name)
		if dst == nil {
			continue
		}
		if seen[d.Name] {
			return order.Roles{}, fmt.Errorf("%w: role %s is delegated twice", ErrMalformed, d.Name)
		}
		seen[d.Name] = true
		held, err := holders(t.Signed.Delegations.Keys, d.KeyIDs)
		if err != nil {
			return order.Roles{}, fmt.Errorf("%w: role %s: %v", ErrMalformed, d.Name, err)
		}
		if d.Threshold < 1 || d.Threshold > len(held) {
			return order.Roles{}, fmt.Errorf("%w: role %s wants %d signatures of %d keys", ErrMalformed, d.Name, d.Threshold, len(held))
		}
		*dst = keysOf(held, d.Threshold)
	}
	return roles, nil
}

// setDelegated makes roles the delegations of t; roles this build does not know
// stay as they are, roles without keys are left out.
func setDelegated(t *targetsMeta, roles order.Roles) error {
	d := &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{}}
	for _, name := range roleNames {
		keys := slot(&roles, name)
		if len(keys.Keys) == 0 {
			continue
		}
		role := metadata.DelegatedRole{Name: name, KeyIDs: []string{}, Threshold: int(keys.Threshold), Terminating: true}
		// TUF gives a delegated role a path. No component can be called "_".
		role.Paths = []string{"_/" + name}
		for _, k := range sorted(slices.Clone(keys.Keys)) {
			key, id, err := tufKey(k)
			if err != nil {
				return err
			}
			d.Keys[id] = key
			role.KeyIDs = append(role.KeyIDs, id)
		}
		d.Roles = append(d.Roles, role)
	}
	if old := t.Signed.Delegations; old != nil {
		for _, role := range old.Roles {
			if slices.Contains(roleNames[:], role.Name) {
				continue
			}
			for _, id := range role.KeyIDs {
				d.Keys[id] = old.Keys[id]
			}
			d.Roles = append(d.Roles, role)
		}
	}
	t.Signed.Delegations = d
	return nil
}

// operatorRoles gives every role to the operator's keys, each of which signs
// alone; ending a halt takes two of them if there are two.
func operatorRoles(keys []envelope.Key) order.Roles {
	var roles order.Roles
	for _, name := range roleNames {
		*slot(&roles, name) = operatorRole(name, keys)
	}
	return roles
}

func operatorRole(name string, keys []envelope.Key) envelope.Keys {
	k := envelope.Keys{Keys: sorted(slices.Clone(keys)), Threshold: 1}
	if name == "estop-clear" {
		k.Threshold = uint(min(2, len(keys)))
	}
	return k
}

// checkKeys says what is wrong with the keys that somebody wants for a role.
func checkKeys(role string, k envelope.Keys) error {
	if len(k.Keys) == 0 || len(k.Keys) > MaxKeys {
		return fmt.Errorf("%w: %s has %d keys, want 1 to %d", ErrInvalid, role, len(k.Keys), MaxKeys)
	}
	if k.Threshold < 1 || k.Threshold > uint(len(k.Keys)) {
		return fmt.Errorf("%w: %s wants %d signatures of %d keys", ErrInvalid, role, k.Threshold, len(k.Keys))
	}
	seen := map[envelope.Key]bool{}
	for _, key := range k.Keys {
		if key.IsZero() || seen[key] {
			return fmt.Errorf("%w: %s: key %s is zero or stands twice", ErrInvalid, role, key.Short())
		}
		seen[key] = true
	}
	return nil
}
