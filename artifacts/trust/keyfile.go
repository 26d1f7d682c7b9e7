package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
)

const (
	// KeyFormat is the newest key file format this build reads and writes.
	KeyFormat = 1
	// MaxKeyBytes bounds a key file.
	MaxKeyBytes = 4 << 10

	keyKind = "starling-key"
)

// The roles of a key file: what its key is meant for. They guard against mixing
// files up; what a key may sign is for the trust root to say.
const (
	RoleOwner    = "owner"
	RoleOperator = "operator"
	RoleBuilder  = "builder"
	RoleRobot    = "robot"
)

// A keyFile is a private key at rest. Exactly one of Sealed and Plain is there.
type keyFile struct {
	Format uint         `json:"format"`
	Kind   string       `json:"kind"`
	Role   string       `json:"role"`
	Public envelope.Key `json:"public"`
	// Sealed is the secret under a passphrase: scrypt and secretbox, in the form
	// of securesystemslib/encrypted.
	Sealed json.RawMessage `json:"sealed,omitempty"`
	// Plain is the secret in hexadecimal.
	Plain string `json:"plain,omitempty"`
}

// secret is what is sealed: the 32-byte seed and the role, so that a file
// cannot be passed off as one for another role.
func secret(priv ed25519.PrivateKey, role string) []byte {
	return append(bytes.Clone(priv.Seed()), role...)
}

// SealKey returns the key file of priv, for one of the four roles. An owner's or
// operator's key needs a passphrase (ErrPassphrase without); a builder's may
// have one; a robot starts with nobody near and may not (ErrInvalid). A file
// without passphrase is for the caller to write with mode 0600. Sealing takes
// 64 MiB of memory, which a small board has, and some tenths of a second.
func SealKey(priv ed25519.PrivateKey, role string, passphrase []byte) ([]byte, error) {
	if len(priv) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: a private key of %d bytes", ErrInvalid, len(priv))
	}
	f := keyFile{Format: KeyFormat, Kind: keyKind, Role: role, Public: envelope.KeyOf(priv)}
	switch {
	case !validRole(role):
		return nil, fmt.Errorf("%w: key role %q, want owner, operator, builder or robot", ErrInvalid, role)
	case role == RoleRobot && len(passphrase) > 0:
		return nil, fmt.Errorf("%w: a robot's key cannot have a passphrase: nobody is there to type it", ErrInvalid)
	case len(passphrase) > 0:
		sealed, err := encrypted.Encrypt(secret(priv, role), passphrase)
		if err != nil {
			return nil, fmt.Errorf("seal key: %w", err)
		}
		f.Sealed = sealed
	case role == RoleOwner || role == RoleOperator:
		return nil, fmt.Errorf("%w: the key of an %s needs one", ErrPassphrase, role)
	default:
		f.Plain = hex.EncodeToString(priv.Seed())
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode key file: %w", err)
	}
	return append(data, '\n'), nil
}

// OpenKey returns the private key in a key file, and its role. The passphrase
// of a plain file is ignored. Errors wrap ErrPassphrase, ErrKeyFile or
// canonical.ErrFuture.
func OpenKey(data, passphrase []byte) (ed25519.PrivateKey, string, error) {
	f, err := readKeyFile(data)
	if err != nil {
		return nil, "", err
	}
	var seed []byte
	if f.Plain != "" {
		if seed, err = hex.DecodeString(f.Plain); err != nil || len(seed) != ed25519.SeedSize {
			return nil, "", fmt.Errorf("%w: the secret is not %d bytes in hexadecimal", ErrKeyFile, ed25519.SeedSize)
		}
	} else {
		var plain []byte
		err := catch(func() (err error) {
			plain, err = encrypted.Decrypt(f.Sealed, passphrase)
			return err
		})
		if err != nil {
			return nil, "", fmt.Errorf("%w, or a damaged file: %v", ErrPassphrase, err)
		}
		if len(plain) < ed25519.SeedSize || string(plain[ed25519.SeedSize:]) != f.Role {
			return nil, "", fmt.Errorf("%w: it was not sealed for role %s", ErrKeyFile, f.Role)
		}
		seed = plain[:ed25519.SeedSize]
	}
	priv := ed25519.NewKeyFromSeed(seed)
	if envelope.KeyOf(priv) != f.Public {
		return nil, "", fmt.Errorf("%w: the secret is not that of public key %s", ErrKeyFile, f.Public.Short())
	}
	return priv, f.Role, nil
}

// PublicOf returns the public key in a key file, and its role, without a
// passphrase: what it says is proved only by OpenKey.
func PublicOf(data []byte) (envelope.Key, string, error) {
	f, err := readKeyFile(data)
	if err != nil {
		return envelope.Key{}, "", err
	}
	return f.Public, f.Role, nil
}

func readKeyFile(data []byte) (*keyFile, error) {
	if len(data) > MaxKeyBytes {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrKeyFile, len(data), MaxKeyBytes)
	}
	var head struct {
		Format uint   `json:"format"`
		Kind   string `json:"kind"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKeyFile, err)
	}
	if head.Kind != keyKind || head.Format == 0 {
		return nil, fmt.Errorf("%w: kind %q, format %d", ErrKeyFile, head.Kind, head.Format)
	}
	if head.Format > KeyFormat {
		return nil, fmt.Errorf("key file: %w: format %d, this build reads up to %d; update starling", canonical.ErrFuture, head.Format, KeyFormat)
	}
	var f keyFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKeyFile, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows the document", ErrKeyFile)
	}
	if !validRole(f.Role) || f.Public.IsZero() || (len(f.Sealed) > 0) == (f.Plain != "") {
		return nil, fmt.Errorf("%w: role %q, key %s, want a secret either sealed or plain", ErrKeyFile, f.Role, f.Public.Short())
	}
	return &f, nil
}

func validRole(role string) bool {
	switch role {
	case RoleOwner, RoleOperator, RoleBuilder, RoleRobot:
		return true
	}
	return false
}
