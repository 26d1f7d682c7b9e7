// Package trust says which releases are genuine and which keys hold which role.
//
// The answer is The Update Framework's (TUF): the owner's keys sign a root,
// which names the keys of every role, and targets, which lists the releases by
// length and SHA-256 and delegates the swarm's own roles (plan, roster, genesis,
// report, estop, estop-clear). The operator's keys sign snapshot and timestamp,
// which bind one targets to one moment. All of it travels as one document, a
// Bundle; Open verifies a bundle against the digest of the first root, and
// against the newest bundle verified before, and gives a Set to ask.
//
//	set, err := trust.Open(pin, fetched, stored, floor)
//	release, err := set.VerifyRelease(doc)
//	keys := set.Roles().Plan
//
// What a Set guarantees: every root since the pinned one is signed by the keys
// of the one before; nothing is older than in the stored bundle, unless the keys
// that signed the stored part have been rotated away, which is how an owner
// recovers from a thief who raced the versions ahead; and all parts belong
// together, byte for byte. Age is not among the reasons to refuse: expired
// metadata opens, and Set.Expired tells the caller not to start a rollout.
//
// The authoring half (Init, Publish, CoSign, Renew, RotateRoot, Delegate) turns
// bundles into bundles and signs with the keys it is given. Equal arguments give
// equal bytes. Where the owner's keys are k-of-n, a change that fewer have
// signed is a draft: it does not open; CoSign adds signatures, and an operator's
// key, there or in Renew, finishes it.
//
// The package reads no clock, file or network. Verification is go-tuf's
// (metadata/trustedmetadata); this package feeds it only documents that are
// spelled as go-tuf spells them, hold no JSON null, and name only ed25519 keys,
// and turns a panic in it into ErrMalformed.
package trust

import "errors"

const (
	// Format is the newest bundle format this build reads and writes.
	Format = 1
	// MaxBundleBytes bounds an encoded bundle: some 3,000 releases.
	MaxBundleBytes = 1 << 20
	// MaxRoots bounds the root chain; each rotation adds one.
	MaxRoots = 256
	// MaxKeys bounds the keys of one role.
	MaxKeys = 16
	// MaxLeap is how far a version may be above the stored one. A bundle beyond
	// it was made to exhaust the version numbers, not to publish.
	MaxLeap = 10_000
)

var (
	// ErrMalformed is wrapped by every refusal of bytes that are not TUF
	// metadata in the one spelling this package reads. Ask another peer.
	ErrMalformed = errors.New("trust: malformed metadata")
	// ErrRoot is returned for a bundle of another trust root than the pinned
	// one: it is for another owner's robots. Check the root digest.
	ErrRoot = errors.New("trust: not the pinned trust root")
	// ErrUnsigned is returned when fewer of the right keys than the threshold
	// have signed, so for a draft too: collect signatures with CoSign.
	ErrUnsigned = errors.New("trust: not signed by enough of the right keys")
	// ErrMismatch is returned for parts that do not belong together: a mix of
	// two bundles, or a draft whose owners have all signed; finish that with Renew.
	ErrMismatch = errors.New("trust: the parts do not belong together")
	// ErrRollback is returned for a bundle with a part older than the stored one.
	// Keep the stored one; if it is the newer truth, offer it to the peer.
	ErrRollback = errors.New("trust: older than the stored metadata")
	// ErrFork is returned for a bundle that says something else under a version
	// number that the stored one has too: two laptops published at once. The
	// operator settles it with Renew on the bundle that the swarm chose.
	ErrFork = errors.New("trust: two different documents with one version")
	// ErrLeap is returned for a version more than MaxLeap above the stored one.
	// An operator's key is in wrong hands: rotate it with RotateRoot.
	ErrLeap = errors.New("trust: version numbers leap ahead")

	// ErrNotListed is returned for a release that targets do not list with these
	// bytes. It must not be installed; publish it or fetch newer metadata.
	ErrNotListed = errors.New("trust: release not listed by the owner")
	// ErrTaken is returned by Publish for a version or a counter that is in use,
	// or a counter that is not above the component's last: build the release again
	// with a new version and a higher counter.
	ErrTaken = errors.New("trust: version or counter already taken")
	// ErrSigner is returned when none of the given keys may sign what is asked:
	// look for the right key file.
	ErrSigner = errors.New("trust: no key for this role")
	// ErrInvalid is wrapped by every complaint about the arguments of an
	// authoring function: keys, thresholds.
	ErrInvalid = errors.New("trust: invalid")

	// ErrPassphrase is returned for a wrong or missing passphrase: ask again.
	ErrPassphrase = errors.New("trust: wrong passphrase")
	// ErrKeyFile is wrapped by every refusal of bytes that are not a key file.
	// Restore it from its copy.
	ErrKeyFile = errors.New("trust: not a key file")
)
