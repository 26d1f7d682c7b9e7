// Package envelope is the one form of every signed document that is not TUF
// metadata: plans, intents, rosters, genesis, health and test reports, halt
// tokens and the words of the arm handshake.
//
// An envelope says what it is (kind and format), where it counts (scope) and
// carries a body; signatures cover all four and the name of this form, so that
// a signature on one document can never pass for one on another. Who may sign
// which kind is not decided here: Verify takes the keys.
package envelope

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// Format is the newest envelope format this build reads and writes. The
	// format of the body is the Envelope's own Format field.
	Format = 1
	// MaxSignatures bounds the signatures on one envelope. What one robot says
	// (Health, Armed, Ack) has one.
	MaxSignatures = 8
	// Overhead is more than an envelope with one signature adds to its body.
	Overhead = 256

	domain = "starling/envelope/1\x00"
)

// A Kind says what an envelope's body is.
type Kind string

// The kinds, each with the largest body and the newest format this build reads.
const (
	Plan    Kind = "plan"    // rollout.Plan, by role plan
	Intent  Kind = "intent"  // rollout.Intent, by role plan
	Publish Kind = "publish" // rollout.Publish, by role plan
	Roster  Kind = "roster"  // member.Roster, by role roster
	Genesis Kind = "genesis" // order.Genesis, by role genesis
	Health  Kind = "health"  // member.Health, by the robot
	Report  Kind = "report"  // rollout.Report of a stage sim or hil, by role report
	Halt    Kind = "halt"    // halt.Token, by role estop
	Armed   Kind = "armed"   // order.Armed, by the robot
	Ack     Kind = "ack"     // order.Ack, by a voter
	Builder Kind = "builder" // bundle.Provenance, by whoever built
	Delta   Kind = "delta"   // delta.Notice, by role plan
)

// maxBody is the largest body of each kind, in bytes (DESIGN.md §5).
var maxBody = map[Kind]int{
	Plan: 16 << 10, Intent: 1 << 10, Publish: 4 << 10, Roster: 256 << 10, Genesis: 8 << 10, Health: 512 - 161,
	Report: 4 << 10, Halt: 256, Armed: 256, Ack: 256, Builder: 16 << 10, Delta: 256,
}

// MaxBytes is the largest encoded envelope of kind k, zero for an unknown kind.
func MaxBytes(k Kind) int {
	n, ok := maxBody[k]
	if !ok {
		return 0
	}
	return n + Overhead + (maxSignatures(k)-1)*(ed25519.PublicKeySize+ed25519.SignatureSize+8)
}

// maxSignatures is MaxSignatures, or one for what a single robot says: a relay
// could otherwise make reports larger by signatures of keys that do not count.
func maxSignatures(k Kind) int {
	if k == Health || k == Armed || k == Ack {
		return 1
	}
	return MaxSignatures
}

var (
	// ErrKind is returned for an envelope of another kind or scope than wanted:
	// a genuine document in the wrong place.
	ErrKind = errors.New("envelope: not the document that was asked for")
	// ErrUnsigned is returned when fewer keys than the threshold have signed, or
	// a signature is wrong. Nothing in the body may be believed.
	ErrUnsigned = errors.New("envelope: not signed by enough of the right keys")
)

// A Key is an ed25519 public key. A robot's is its libp2p identity.
type Key [ed25519.PublicKeySize]byte

// String returns 64 hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Short returns the first 8 hexadecimal digits, for people.
func (k Key) Short() string { return hex.EncodeToString(k[:4]) }

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText makes a Key hexadecimal in JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *Key) UnmarshalText(b []byte) error {
	if len(b) != 2*len(k) {
		return fmt.Errorf("key %q: want 64 hexadecimal digits", b)
	}
	if _, err := hex.Decode(k[:], b); err != nil {
		return fmt.Errorf("key %q: want 64 hexadecimal digits", b)
	}
	return nil
}

// KeyOf is the public half of priv.
func KeyOf(priv ed25519.PrivateKey) Key { return Key(priv.Public().(ed25519.PublicKey)) }

// Keys are those that may sign a kind of document and how many must. The zero
// value accepts nothing.
type Keys struct {
	Keys      []Key `cbor:"0,keyasint" json:"keys"`
	Threshold uint  `cbor:"1,keyasint" json:"threshold"`
}

// Check reports why k cannot be a role's keys: the zero value can, else a
// threshold of 1 up to the number of keys, at most MaxSignatures keys, each once.
func (k Keys) Check() error {
	if len(k.Keys) == 0 && k.Threshold == 0 {
		return nil
	}
	if k.Threshold == 0 || k.Threshold > uint(len(k.Keys)) || len(k.Keys) > MaxSignatures {
		return fmt.Errorf("%d of %d keys must sign, want at least 1 of at most %d", k.Threshold, len(k.Keys), MaxSignatures)
	}
	for i, key := range k.Keys {
		if key.IsZero() || slices.Contains(k.Keys[:i], key) {
			return fmt.Errorf("key %s stands twice, or is no key", key.Short())
		}
	}
	return nil
}

// Only is the set of one key that signs alone.
func Only(k Key) Keys { return Keys{Keys: []Key{k}, Threshold: 1} }

// A Signature is one key's word for an envelope.
type Signature struct {
	_   struct{} `cbor:",toarray"`
	Key Key
	Sig [ed25519.SignatureSize]byte
}

// An Envelope is a signed document. Signatures are sorted by key, each key once.
type Envelope struct {
	Envelope   uint        `cbor:"0,keyasint"` // Format of the envelope itself
	Kind       Kind        `cbor:"1,keyasint"`
	Format     uint        `cbor:"2,keyasint"` // of the body
	Scope      string      `cbor:"3,keyasint"` // SwarmScope or TrustScope
	Body       []byte      `cbor:"4,keyasint"`
	Signatures []Signature `cbor:"5,keyasint"`
}

// SwarmScope makes a document count in one swarm only.
func SwarmScope(swarm string) string { return "swarm:" + swarm }

// TrustScope makes a document count wherever the trust root with this digest does.
func TrustScope(root manifest.Digest) string { return "trust:" + root.String() }

// New returns an unsigned envelope around body. It panics on an unknown kind or
// a body above the kind's limit: callers check what they were given first.
func New(k Kind, format uint, scope string, body any) *Envelope {
	b := canonical.Encode(body)
	if limit, ok := maxBody[k]; !ok || len(b) > limit {
		panic(fmt.Sprintf("envelope: %s with a body of %d bytes, the limit is %d", k, len(b), limit))
	}
	return &Envelope{Envelope: Format, Kind: k, Format: format, Scope: scope, Body: b}
}

// Fits reports whether body is within the limit of kind k.
func Fits(k Kind, body any) error {
	if n := len(canonical.Encode(body)); n > maxBody[k] {
		return fmt.Errorf("%s: %w: %d bytes, the limit is %d", k, canonical.ErrTooLarge, n, maxBody[k])
	}
	return nil
}

// signed returns the bytes that signatures cover.
func (e *Envelope) signed() []byte {
	return append([]byte(domain), canonical.Encode([]any{string(e.Kind), e.Format, e.Scope, e.Body})...)
}

// Digest names what is signed, whoever signed it: two envelopes that differ
// only in signatures have one digest.
func (e *Envelope) Digest() manifest.Digest { return manifest.Sum(e.signed()) }

// Sign adds the signature of priv, or replaces it.
func (e *Envelope) Sign(priv ed25519.PrivateKey) *Envelope {
	s := Signature{Key: KeyOf(priv)}
	copy(s.Sig[:], ed25519.Sign(priv, e.signed()))
	i, found := slices.BinarySearchFunc(e.Signatures, s, bySigner)
	if found {
		e.Signatures[i] = s
	} else {
		e.Signatures = slices.Insert(e.Signatures, i, s)
	}
	return e
}

func bySigner(a, b Signature) int { return bytes.Compare(a.Key[:], b.Key[:]) }

// inOrder reports whether the keys rise, so that none stands twice.
func inOrder(sigs []Signature) bool {
	for i := 1; i < len(sigs); i++ {
		if bySigner(sigs[i-1], sigs[i]) >= 0 {
			return false
		}
	}
	return true
}

// Signer is the key of the only signature, and whether there is just one.
func (e *Envelope) Signer() (Key, bool) {
	if len(e.Signatures) != 1 {
		return Key{}, false
	}
	return e.Signatures[0].Key, true
}

// Encode returns the envelope's bytes.
func (e *Envelope) Encode() []byte { return canonical.Encode(e) }

// Decode parses an envelope of kind k. Nothing in it is verified.
func Decode(data []byte, k Kind) (*Envelope, error) {
	var e Envelope
	if err := canonical.DecodeFormat(data, MaxBytes(k), string(k), Format, &e); err != nil {
		return nil, err
	}
	if e.Kind != k {
		return nil, fmt.Errorf("%w: %q, want %q", ErrKind, e.Kind, k)
	}
	if len(e.Body) > maxBody[k] || len(e.Signatures) > maxSignatures(k) || len(e.Scope) > 128 {
		return nil, fmt.Errorf("%s: %w", k, canonical.ErrTooLarge)
	}
	if !inOrder(e.Signatures) {
		return nil, fmt.Errorf("%s: %w: signatures out of order", k, canonical.ErrMalformed)
	}
	return &e, nil
}

// Verify reports whether at least keys.Threshold of keys.Keys have signed e for
// this scope. Errors are ErrKind or ErrUnsigned. Signatures of other keys are
// ignored; a wrong signature of a right key is an error.
func (e *Envelope) Verify(scope string, keys Keys) error {
	if e.Scope != scope {
		return fmt.Errorf("%w: %s for %q, want %q", ErrKind, e.Kind, e.Scope, scope)
	}
	if keys.Threshold == 0 {
		return fmt.Errorf("%w: nobody may sign a %s here", ErrUnsigned, e.Kind)
	}
	if !inOrder(e.Signatures) {
		return fmt.Errorf("%w: %s: a key signs twice, or signatures are out of order", ErrUnsigned, e.Kind)
	}
	msg := e.signed()
	var good uint
	for _, s := range e.Signatures {
		if !slices.Contains(keys.Keys, s.Key) {
			continue
		}
		if !ed25519.Verify(s.Key[:], msg, s.Sig[:]) {
			return fmt.Errorf("%w: %s: wrong signature of key %s", ErrUnsigned, e.Kind, s.Key.Short())
		}
		good++
	}
	if good < keys.Threshold {
		return fmt.Errorf("%w: %s has %d of %d signatures", ErrUnsigned, e.Kind, good, keys.Threshold)
	}
	return nil
}

// Open parses the body of e into v, a pointer to a zero value. newest is the
// newest body format that v can hold. Call it after Verify.
func (e *Envelope) Open(newest uint, v any) error {
	if e.Format == 0 || e.Format > newest {
		return fmt.Errorf("%s: %w: format %d, this build reads up to %d; update starling", e.Kind, canonical.ErrFuture, e.Format, newest)
	}
	if err := canonical.Decode(e.Body, maxBody[e.Kind], v); err != nil {
		return fmt.Errorf("%s: %w", e.Kind, err)
	}
	return nil
}
