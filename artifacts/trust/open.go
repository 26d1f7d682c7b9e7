package trust

import (
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// Open verifies b against rootDigest, the SHA-256 of root version 1, and against
// stored, the newest bundle that Open accepted before (nil at first), which
// protects from going back. floor is the time below which the present cannot
// be: it makes no bundle fail, it only counts in Set.Expired. Neither bundle is
// kept.
//
// Errors are ErrMalformed, ErrRoot, ErrUnsigned, ErrMismatch, ErrRollback,
// ErrFork and ErrLeap. An error in stored itself is told apart by its text only;
// a caller whose disk has rotted may pass nil, and gives up the protection.
func Open(rootDigest manifest.Digest, b, stored *Bundle, floor time.Time) (*Set, error) {
	p, err := pinned(rootDigest, b)
	if err != nil {
		return nil, err
	}
	var old *parts
	if stored != nil {
		if old, err = pinned(rootDigest, stored); err != nil {
			return nil, fmt.Errorf("stored bundle: %w", err)
		}
		if err := compareRoots(p, old); err != nil {
			return nil, err
		}
	}
	v := verifier{new: p, old: old, bundle: b, stored: stored}
	for _, step := range []func() error{v.roots, v.timestamp, v.snapshot, v.targets} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return newSet(rootDigest, b, p, floor)
}

// pinned takes b apart if its first root has the digest pin.
func pinned(pin manifest.Digest, b *Bundle) (*parts, error) {
	if len(b.Roots) > 0 && manifest.Sum(b.Roots[0]) != pin {
		return nil, fmt.Errorf("%w: root %s, want %s", ErrRoot, manifest.Sum(b.Roots[0]).Short(), pin.Short())
	}
	return takeApart(b, false)
}

// compareRoots requires that the chain of p goes on where that of old ends.
func compareRoots(p, old *parts) error {
	for i, r := range old.roots {
		if i >= len(p.roots) {
			return fmt.Errorf("%w: root %d, stored is %d", ErrRollback, len(p.roots), len(old.roots))
		}
		if !sameSigned(r, p.roots[i]) {
			return fmt.Errorf("%w: root %d", ErrFork, i+1)
		}
	}
	return nil
}

// A verifier carries one bundle through go-tuf's client workflow. The stored
// timestamp and snapshot go in before the new ones: without them go-tuf has
// nothing to compare versions with. Stored parts whose keys have been rotated
// away are passed over (TUF §5.3.11).
type verifier struct {
	new, old       *parts
	bundle, stored *Bundle // stored may be nil, and old with it
	tm             *trustedmetadata.TrustedMetadata
}

func (v *verifier) roots() error {
	err := call("root 1", func() (err error) {
		v.tm, err = trustedmetadata.New(v.bundle.Roots[0])
		return err
	})
	if err != nil {
		return err
	}
	v.tm.RefTime = time.Time{} // before every expiry: that is Set.Expired's to judge
	for i, data := range v.bundle.Roots[1:] {
		err := call(fmt.Sprintf("root %d", i+2), func() error {
			_, err := v.tm.UpdateRoot(data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) timestamp() error {
	if v.old != nil {
		err := v.updateTimestamp(v.stored.Timestamp)
		if err != nil && !errors.Is(err, ErrUnsigned) {
			return fmt.Errorf("stored bundle: %w", err)
		}
	}
	before := v.tm.Timestamp
	err := v.updateTimestamp(v.bundle.Timestamp)
	if before == nil {
		return err
	}
	was, is := before.Signed.Version, v.new.timestamp.Signed.Version
	switch {
	case errors.Is(err, errEqual) && sameSigned(before, v.new.timestamp):
		return nil
	case errors.Is(err, errEqual):
		return fmt.Errorf("%w: timestamp %d", ErrFork, is)
	case errors.Is(err, errVersion):
		return fmt.Errorf("%w: timestamp %d, stored is %d: %v", ErrRollback, is, was, err)
	case err != nil:
		return err
	}
	return leap(metadata.TIMESTAMP, was, is)
}

func (v *verifier) updateTimestamp(data []byte) error {
	return call(metadata.TIMESTAMP, func() error {
		_, err := v.tm.UpdateTimestamp(data)
		return err
	})
}

func (v *verifier) snapshot() error {
	if v.old != nil {
		err := v.updateSnapshot(v.stored.Snapshot, true)
		// errVersion only says that it is not the newest: it is loaded all the same.
		if err != nil && !errors.Is(err, ErrUnsigned) && !errors.Is(err, errVersion) {
			return fmt.Errorf("stored bundle: %w", err)
		}
	}
	before := v.tm.Snapshot
	err := v.updateSnapshot(v.bundle.Snapshot, false)
	switch {
	case errors.Is(err, errVersion) && before != nil && v.tm.Snapshot == before:
		return fmt.Errorf("%w: %v", ErrRollback, err)
	case errors.Is(err, errVersion):
		return fmt.Errorf("%w: %v", ErrMismatch, err)
	case err != nil || before == nil:
		return err
	}
	return leap(metadata.SNAPSHOT, before.Signed.Version, v.new.snapshot.Signed.Version)
}

func (v *verifier) updateSnapshot(data []byte, trusted bool) error {
	return call(metadata.SNAPSHOT, func() error {
		_, err := v.tm.UpdateSnapshot(data, trusted)
		return err
	})
}

// targets verifies the signatures first, so that a draft is called one. TUF
// protects targets from going back through the snapshot alone; here the stored
// targets count as well while the owner's keys are the same, so that new
// operator's keys open no way back.
func (v *verifier) targets() error {
	signed := func(t *targetsMeta) error {
		return call(metadata.TARGETS, func() error { return v.tm.Root.VerifyDelegate(metadata.TARGETS, t) })
	}
	if err := signed(v.new.targets); err != nil {
		return err
	}
	if v.old != nil && signed(v.old.targets) == nil {
		was, is := v.old.targets.Signed.Version, v.new.targets.Signed.Version
		if is < was {
			return fmt.Errorf("%w: targets %d, stored is %d", ErrRollback, is, was)
		}
		if err := leap(metadata.TARGETS, was, is); err != nil {
			return err
		}
	}
	err := call(metadata.TARGETS, func() error {
		_, err := v.tm.UpdateTargets(v.bundle.Targets)
		return err
	})
	if errors.Is(err, errVersion) {
		return fmt.Errorf("%w: %v", ErrMismatch, err)
	}
	return err
}

func leap(what string, was, is int64) error {
	if is-was > MaxLeap {
		return fmt.Errorf("%w: %s %d, stored is %d", ErrLeap, what, is, was)
	}
	return nil
}

// What go-tuf says of versions; the verifier's steps know what it means where.
var (
	errEqual   = errors.New("trust: equal version")
	errVersion = errors.New("trust: wrong version")
)

// call runs f, a step of go-tuf, and puts its errors and panics into our words:
// ErrUnsigned, ErrMismatch, errEqual, errVersion, else ErrMalformed.
func call(what string, f func() error) error {
	err := catch(f)
	kind := ErrMalformed
	switch {
	case err == nil:
		return nil
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		kind = ErrUnsigned
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		kind = ErrMismatch
	case errors.Is(err, &metadata.ErrEqualVersionNumber{}): // before the next, of which it is a kind
		kind = errEqual
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		kind = errVersion
	}
	return fmt.Errorf("%w: %s: %v", kind, what, err)
}
