package trust_test

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
)

// The owner publishes a release; a robot that knows no more than the digest of
// the first root tells it from any other.
func ExampleOpen() {
	owner := ed25519.NewKeyFromSeed(make([]byte, 32))
	operator := ed25519.NewKeyFromSeed([]byte("thirty-two bytes of an operator!"))
	signers := trust.Signers{Owner: []ed25519.PrivateKey{owner}, Operator: []ed25519.PrivateKey{operator}}
	now := time.Date(2026, 5, 4, 6, 30, 0, 0, time.UTC)

	first, err := trust.Init([]envelope.Key{envelope.KeyOf(owner)}, 1, []envelope.Key{envelope.KeyOf(operator)}, signers, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	pin := manifest.Sum(first.Roots[0]) // goes into every invite
	nav := &manifest.Release{
		Format: manifest.ReleaseFormat, Component: "nav", Version: "1.5.0", Counter: 12,
		Variants: []manifest.Variant{{Name: "any", Manifest: manifest.Sum([]byte("image")), ManifestBytes: 900, Bytes: 1 << 20, Driver: "dirslot"}},
	}
	second, err := trust.Publish(first, []*manifest.Release{nav}, signers, now.Add(time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}

	set, err := trust.Open(pin, second, first, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := set.VerifyRelease(nav.Encode())
	fmt.Println(r.Describe(), err)
	_, err = trust.Open(pin, first, second, now)
	fmt.Println(err)
	// Output:
	// nav 1.5.0: 1 variants (any) <nil>
	// trust: older than the stored metadata: timestamp 1, stored is 2: trust: wrong version: timestamp: bad version number error: new timestamp version 1 must be >= 2
}
