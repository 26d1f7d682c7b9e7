package trust

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

var (
	day0 = time.Date(2026, 5, 4, 6, 30, 0, 0, time.UTC)
	day1 = day0.Add(24 * time.Hour)
	day2 = day0.Add(48 * time.Hour)
)

// key returns a key that only name determines.
func key(name string) ed25519.PrivateKey {
	d := manifest.Sum([]byte("trust test key " + name))
	return ed25519.NewKeyFromSeed(d[:])
}

func privs(names ...string) []ed25519.PrivateKey {
	var out []ed25519.PrivateKey
	for _, n := range names {
		out = append(out, key(n))
	}
	return out
}

func pubs(names ...string) []envelope.Key {
	var out []envelope.Key
	for _, n := range names {
		out = append(out, envelope.KeyOf(key(n)))
	}
	return out
}

// solo is the usual pair: one owner, one operator.
var solo = Signers{Owner: privs("own"), Operator: privs("op")}

func initSolo(t testing.TB) *Bundle {
	t.Helper()
	b, err := Init(pubs("own"), 1, pubs("op"), solo, day0)
	require.NoError(t, err)
	return b
}

func release(component, version string, counter uint64) *manifest.Release {
	return &manifest.Release{
		Format: manifest.ReleaseFormat, Component: component, Version: version, Counter: counter,
		Variants: []manifest.Variant{{Name: "any", Manifest: manifest.Sum([]byte(version)), ManifestBytes: 900, Bytes: 1 << 20, Driver: "dirslot"}},
	}
}

func publish(t testing.TB, b *Bundle, now time.Time, releases ...*manifest.Release) *Bundle {
	t.Helper()
	out, err := Publish(b, releases, solo, now)
	require.NoError(t, err)
	return out
}

func pin(b *Bundle) manifest.Digest { return manifest.Sum(b.Roots[0]) }

func open(t testing.TB, b, stored *Bundle) *Set {
	t.Helper()
	s, err := Open(pin(b), b, stored, day0)
	require.NoError(t, err)
	return s
}

// forge takes b apart, lets change have its way, and signs targets, snapshot and
// timestamp again with solo's keys where change returns true for them.
func forge(t testing.TB, b *Bundle, signers Signers, change func(p *parts)) *Bundle {
	t.Helper()
	p, err := takeApart(b, false)
	require.NoError(t, err)
	change(p)
	resign(t, p.targets, p.root(), metadata.TARGETS, signers.Owner)
	data, err := p.targets.ToBytes(false)
	require.NoError(t, err)
	p.snapshot.Signed.Meta[targetsFile] = pinOf(data, p.targets.Signed.Version)
	resign(t, p.snapshot, p.root(), metadata.SNAPSHOT, signers.Operator)
	data, err = p.snapshot.ToBytes(false)
	require.NoError(t, err)
	p.timestamp.Signed.Meta[snapshotFile] = pinOf(data, p.snapshot.Signed.Version)
	resign(t, p.timestamp, p.root(), metadata.TIMESTAMP, signers.Operator)
	out, err := p.bundle()
	require.NoError(t, err)
	return out
}

func resign[T metadata.Roles](t testing.TB, m *metadata.Metadata[T], root *rootMeta, role string, keys []ed25519.PrivateKey) {
	t.Helper()
	held, err := holders(root.Signed.Keys, root.Signed.Roles[role].KeyIDs)
	require.NoError(t, err)
	m.ClearSignatures()
	_, err = sign(m, held, keys)
	require.NoError(t, err)
}
