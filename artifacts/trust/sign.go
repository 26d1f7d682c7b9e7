package trust

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// Signers are the private keys at hand. A key without the role for what is to
// be signed is passed over.
type Signers struct {
	Owner    []ed25519.PrivateKey // root, targets
	Operator []ed25519.PrivateKey // snapshot, timestamp
}

// lifetimes of what is signed. Root and targets wait for people to meet; the
// operator renews the rest in passing.
const (
	ownerLifetime    = 365 * 24 * time.Hour
	operatorLifetime = 30 * 24 * time.Hour
)

// sign puts the signatures of those keys that are holders onto m, and returns
// how many are new. Signatures are sorted by key id, so that the bytes do not
// depend on who signed first.
func sign[T metadata.Roles](m *metadata.Metadata[T], held map[envelope.Key]string, keys []ed25519.PrivateKey) (int, error) {
	msg, err := payload(m)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, priv := range keys {
		if len(priv) != ed25519.PrivateKeySize {
			return 0, fmt.Errorf("%w: a private key of %d bytes", ErrInvalid, len(priv))
		}
		id, ok := held[envelope.KeyOf(priv)]
		if !ok {
			continue
		}
		sig := ed25519.Sign(priv, msg) // deterministic: an equal one is the same
		if slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == id && bytes.Equal(s.Signature, sig) }) {
			continue
		}
		m.Signatures = slices.DeleteFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == id })
		m.Signatures = append(m.Signatures, metadata.Signature{KeyID: id, Signature: sig})
		n++
	}
	slices.SortFunc(m.Signatures, func(a, b metadata.Signature) int { return cmp.Compare(a.KeyID, b.KeyID) })
	return n, nil
}

// signedBy returns which holders have signed m, sorted.
func signedBy[T metadata.Roles](m *metadata.Metadata[T], held map[envelope.Key]string) ([]envelope.Key, error) {
	msg, err := payload(m)
	if err != nil {
		return nil, err
	}
	var out []envelope.Key
	for k, id := range held {
		for _, s := range m.Signatures {
			if s.KeyID == id && ed25519.Verify(k[:], msg, s.Signature) {
				out = append(out, k)
				break
			}
		}
	}
	return sorted(out), nil
}

// A Need is a role whose signatures a document wants.
type Need struct {
	Document string         // "root 2", "targets 7"
	Keys     envelope.Keys  // who may sign, and how many must
	Signed   []envelope.Key // who has, sorted
}

// Met reports whether enough keys have signed.
func (n Need) Met() bool { return uint(len(n.Signed)) >= n.Keys.Threshold }

func need[T metadata.Roles](document string, m *metadata.Metadata[T], root *rootMeta, role string) (Need, error) {
	keys, err := rootRole(root, role)
	if err != nil {
		return Need{}, err
	}
	held, err := holders(root.Signed.Keys, root.Signed.Roles[role].KeyIDs)
	if err != nil {
		return Need{}, err
	}
	signed, err := signedBy(m, held)
	return Need{Document: document, Keys: keys, Signed: signed}, err
}

// needs returns what the newest root and the targets want of the owners: a root
// wants the owners named by the root before it, and its own.
func (p *parts) needs() ([]Need, error) {
	root, n := p.root(), len(p.roots)
	name := fmt.Sprintf("root %d", n)
	var out []Need
	for _, by := range p.roots[max(0, n-2):] {
		d, err := need(name, root, by, metadata.ROOT)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	d, err := need(fmt.Sprintf("targets %d", p.targets.Signed.Version), p.targets, root, metadata.TARGETS)
	return append(out, d), err
}

// lacking returns the needs that are not met.
func (p *parts) lacking() ([]Need, error) {
	all, err := p.needs()
	return slices.DeleteFunc(all, Need.Met), err
}

// signOwner signs the newest root and the targets where signatures are lacking,
// and returns how many it added. What has enough stays as it is, byte for byte:
// one more signature would change the digest that pins it.
func (p *parts) signOwner(keys []ed25519.PrivateKey) (int, error) {
	root, n, added := p.root(), len(p.roots), 0
	lacking, err := p.lacking()
	if err != nil {
		return 0, err
	}
	lacks := func(name string) bool {
		return slices.ContainsFunc(lacking, func(d Need) bool { return d.Document == name })
	}
	if lacks(fmt.Sprintf("root %d", n)) {
		held := map[envelope.Key]string{}
		for _, by := range p.roots[max(0, n-2):] {
			more, err := holders(by.Signed.Keys, by.Signed.Roles[metadata.ROOT].KeyIDs)
			if err != nil {
				return 0, err
			}
			maps.Copy(held, more)
		}
		k, err := sign(root, held, keys)
		if err != nil {
			return 0, err
		}
		added += k
	}
	if lacks(fmt.Sprintf("targets %d", p.targets.Signed.Version)) {
		held, err := holders(root.Signed.Keys, root.Signed.Roles[metadata.TARGETS].KeyIDs)
		if err != nil {
			return 0, err
		}
		k, err := sign(p.targets, held, keys)
		if err != nil {
			return 0, err
		}
		added += k
	}
	return added, nil
}

// bump makes the next snapshot of the targets and the next timestamp of that
// snapshot, and signs both.
func (p *parts) bump(keys []ed25519.PrivateKey, at time.Time) error {
	expires := at.Add(operatorLifetime)
	snapshot, timestamp := metadata.Snapshot(expires), metadata.Timestamp(expires)
	if p.snapshot != nil {
		snapshot.Signed.Version = p.snapshot.Signed.Version + 1
		timestamp.Signed.Version = p.timestamp.Signed.Version + 1
	}
	snapshot.Signed.UnrecognizedFields = stamp(at)
	timestamp.Signed.UnrecognizedFields = stamp(at)
	targets, err := p.targets.ToBytes(false)
	if err != nil {
		return fmt.Errorf("encode targets: %w", err)
	}
	snapshot.Signed.Meta[targetsFile] = pinOf(targets, p.targets.Signed.Version)
	if err := signRole(snapshot, p.root(), metadata.SNAPSHOT, keys); err != nil {
		return err
	}
	data, err := snapshot.ToBytes(false)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	timestamp.Signed.Meta[snapshotFile] = pinOf(data, snapshot.Signed.Version)
	if err := signRole(timestamp, p.root(), metadata.TIMESTAMP, keys); err != nil {
		return err
	}
	p.snapshot, p.timestamp = snapshot, timestamp
	return nil
}

// signRole signs m, which must get as many signatures as the role wants.
func signRole[T metadata.Roles](m *metadata.Metadata[T], root *rootMeta, role string, keys []ed25519.PrivateKey) error {
	r := root.Signed.Roles[role]
	held, err := holders(root.Signed.Keys, r.KeyIDs)
	if err != nil {
		return err
	}
	n, err := sign(m, held, keys)
	if err == nil && n < r.Threshold {
		err = fmt.Errorf("%w: %s wants %d signatures of the operator's keys, here are %d", ErrSigner, role, r.Threshold, n)
	}
	return err
}

// current reports whether the snapshot binds these very targets.
func (p *parts) current() bool {
	if p.snapshot == nil {
		return false
	}
	data, err := p.targets.ToBytes(false)
	want := p.snapshot.Signed.Meta[targetsFile]
	return err == nil && want.Version == p.targets.Signed.Version && bytes.Equal(want.Hashes["sha256"], pinOf(data, 1).Hashes["sha256"])
}
