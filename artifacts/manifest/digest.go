package manifest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	sha256 "github.com/minio/sha256-simd"
)

// ErrDigest is wrapped by every error that says bytes are not what their digest
// names: they are wrong, and whoever sent them is to blame.
var ErrDigest = errors.New("manifest: bytes are not what the digest names")

// DigestBytes is the length of a Digest.
const DigestBytes = 32

// Digest is a SHA-256. It names an image, a chunk or a document. The zero
// value names nothing.
type Digest [DigestBytes]byte

// Sum returns the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// IsZero reports whether d names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short returns the first 12 hexadecimal digits, for people.
func (d Digest) Short() string { return hex.EncodeToString(d[:6]) }

// MarshalText makes a Digest hexadecimal in JSON and YAML.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the inverse of MarshalText; it also takes a "sha256:" prefix.
func (d *Digest) UnmarshalText(b []byte) error {
	p, err := ParseDigest(string(b))
	if err == nil {
		*d = p
	}
	return err
}

// ParseDigest reads 64 hexadecimal digits, with or without "sha256:" before them.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	h := strings.TrimPrefix(s, "sha256:")
	if len(h) != 2*DigestBytes {
		return Digest{}, fmt.Errorf("digest %q: want 64 hexadecimal digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(h)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: want 64 hexadecimal digits", s)
	}
	return d, nil
}
