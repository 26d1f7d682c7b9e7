package trust

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

func TestOpenChain(t *testing.T) {
	b1 := initSolo(t)
	r1, r2, fw := release("app", "1.0", 1), release("app", "1.1", 5), release("agent", "0.3", 2)
	b2 := publish(t, b1, day1, r2, r1, fw)
	s := open(t, b2, b1)
	require.Equal(t, pin(b1), s.Root())
	require.Equal(t, order.TrustRef{Root: 1, Timestamp: 2, Snapshot: 2, Targets: 2, Digest: b2.Digest()}, s.Ref())
	require.Equal(t, []Listed{
		{Ref: fw.Ref(), Component: "agent", Bytes: int64(len(fw.Encode()))},
		{Ref: r1.Ref(), Component: "app", Bytes: int64(len(r1.Encode()))},
		{Ref: r2.Ref(), Component: "app", Bytes: int64(len(r2.Encode()))},
	}, s.Releases())
	l, ok := s.Release("app", "1.1")
	require.True(t, ok)
	require.Equal(t, r2.Ref(), l.Ref)
	_, ok = s.Release("agent", "1.1")
	require.False(t, ok)
	require.Equal(t, envelope.Keys{Keys: pubs("own"), Threshold: 1}, s.Owner())
	require.Equal(t, envelope.Keys{Keys: pubs("op"), Threshold: 1}, s.Operator())
	require.Equal(t, day1, s.SignedAt())

	again, err := DecodeBundle(b2.Encode())
	require.NoError(t, err)
	require.Equal(t, b2, again)
	require.Equal(t, s.Ref(), open(t, again, b2).Ref(), "the stored bundle itself opens")
	b2.Roots[0][0] = 'x'
	require.Equal(t, again, s.Bundle(), "a set shares no memory with its maker")
}

func TestOpenWrongRoot(t *testing.T) {
	b := initSolo(t)
	_, err := Open(manifest.Sum([]byte("another")), b, nil, day0)
	require.ErrorIs(t, err, ErrRoot)
	other, err := Init(pubs("own2"), 1, pubs("op"), Signers{Owner: privs("own2"), Operator: privs("op")}, day0)
	require.NoError(t, err)
	_, err = Open(pin(b), other, nil, day0)
	require.ErrorIs(t, err, ErrRoot)
	_, err = Open(pin(b), b, other, day0)
	require.ErrorIs(t, err, ErrRoot)
	mixed := *other
	mixed.Roots = b.Roots
	_, err = Open(pin(b), &mixed, nil, day0)
	require.ErrorIs(t, err, ErrUnsigned)
	_, err = Open(pin(b), &Bundle{Format: Format}, nil, day0)
	require.ErrorIs(t, err, ErrMalformed)
}

func TestOpenRefusesToGoBack(t *testing.T) {
	b1 := initSolo(t)
	b2 := publish(t, b1, day1, release("app", "1.0", 1))
	b3, err := Renew(b2, solo, day2)
	require.NoError(t, err)
	rotated, err := RotateRoot(b3, RootChange{}, solo, day2)
	require.NoError(t, err)
	rotatedTwin, err := RotateRoot(b3, RootChange{Operator: pubs("op", "op2")}, solo, day2)
	require.NoError(t, err)
	rotatedTwin, err = Renew(rotatedTwin, solo, day2) // its timestamp speaks for it, its root does not
	require.NoError(t, err)
	newOp := Signers{Owner: privs("own"), Operator: privs("op2")}
	replaced, err := RotateRoot(b2, RootChange{Operator: pubs("op2")}, newOp, day2)
	require.NoError(t, err)
	p1, err := takeApart(b1, false)
	require.NoError(t, err)
	ahead := func(ts, ss int64) func(*parts) {
		return func(p *parts) { p.timestamp.Signed.Version, p.snapshot.Signed.Version = ts, ss }
	}
	twin, err := Renew(b2, solo, day2.Add(time.Hour))
	require.NoError(t, err)

	for _, c := range []struct {
		name      string
		b, stored *Bundle
		want      error
	}{
		{"timestamp", b2, b3, ErrRollback},
		{"everything", b1, b3, ErrRollback},
		{"snapshot under a newer timestamp", forge(t, b2, solo, ahead(9, 2)), b3, ErrRollback},
		{"targets under a newer snapshot", forge(t, b1, solo, ahead(9, 9)), b3, ErrRollback},
		{"root", b3, rotated, ErrRollback},
		{"another root 2", rotatedTwin, rotated, ErrFork},
		{"another timestamp of the same version", twin, b3, ErrFork},
		{"targets under a new operator's key", forge(t, replaced, newOp, func(p *parts) {
			*p.targets = *p1.targets
		}), b2, ErrRollback},
		{"timestamp leaps", forge(t, b2, solo, ahead(2+MaxLeap+1, 3)), b2, ErrLeap},
		{"snapshot leaps", forge(t, b2, solo, ahead(3, 2+MaxLeap+1)), b2, ErrLeap},
		{"targets leap", forge(t, b2, solo, func(p *parts) {
			ahead(3, 3)(p)
			p.targets.Signed.Version = 2 + MaxLeap + 1
		}), b2, ErrLeap},
		{"a leap that is allowed", forge(t, b2, solo, ahead(2+MaxLeap, 2+MaxLeap)), b2, nil},
		{"forward", b3, b2, nil},
		{"forward to a new root", rotated, b1, nil},
		{"the same", b3, b3, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(pin(c.b), c.b, c.stored, day0)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
			_, err = Open(pin(c.b), c.b, nil, day0)
			require.NoError(t, err, "only the stored bundle speaks against it")
		})
	}
}

// Two laptops publish at once; the swarm chooses one; a robot that has stored
// the other is brought back by Renew on the chosen one.
func TestRenewSettlesAFork(t *testing.T) {
	base := initSolo(t)
	chosen := publish(t, base, day1, release("app", "1.0", 1))
	lost := publish(t, base, day1, release("app", "1.0-b", 1))
	_, err := Open(pin(base), chosen, lost, day0)
	require.ErrorIs(t, err, ErrFork)
	renewed, err := Renew(chosen, solo, day2)
	require.NoError(t, err)
	_, ok := open(t, renewed, lost).Release("app", "1.0")
	require.True(t, ok)
}

// A thief of the operator's key races the versions ahead, so that robots would
// refuse the true ones for ever. A new root with a new operator's key cures it.
func TestFastForwardAndRecovery(t *testing.T) {
	b := publish(t, initSolo(t), day1, release("app", "1.0", 1))
	raced := b
	for i := int64(1); i <= 3; i++ {
		next := forge(t, b, solo, func(p *parts) {
			p.timestamp.Signed.Version, p.snapshot.Signed.Version = 2+i*MaxLeap, 2+i*MaxLeap
		})
		open(t, next, raced)
		raced = next
	}
	renewed, err := Renew(b, solo, day2)
	require.NoError(t, err)
	_, err = Open(pin(b), renewed, raced, day0)
	require.ErrorIs(t, err, ErrRollback)

	newOp := Signers{Owner: privs("own"), Operator: privs("op2")}
	cured, err := RotateRoot(b, RootChange{Operator: pubs("op2")}, newOp, day2)
	require.NoError(t, err)
	s := open(t, cured, raced)
	require.Equal(t, uint64(3), s.Ref().Timestamp)
	require.Equal(t, pubs("op2"), s.Roles().Plan.Keys)
	_, err = Open(pin(b), raced, cured, day0)
	require.ErrorIs(t, err, ErrRollback, "the thief's bundle is refused from then on")
	thief := *cured
	thief.Timestamp, thief.Snapshot = raced.Timestamp, raced.Snapshot
	_, err = Open(pin(b), &thief, nil, day0)
	require.ErrorIs(t, err, ErrUnsigned)
}

func TestOpenMixAndMatch(t *testing.T) {
	b1 := initSolo(t)
	b2 := publish(t, b1, day1, release("app", "1.0", 1))
	b3 := publish(t, b2, day2, release("app", "1.1", 2))
	twin := publish(t, b2, day2, release("app", "1.2", 2)) // same versions as b3
	for i, mix := range []*Bundle{
		{Format, b1.Roots, b3.Timestamp, b3.Snapshot, b2.Targets},
		{Format, b1.Roots, b3.Timestamp, b2.Snapshot, b2.Targets},
		{Format, b1.Roots, b2.Timestamp, b3.Snapshot, b3.Targets},
		{Format, b1.Roots, b3.Timestamp, twin.Snapshot, twin.Targets},
		{Format, b1.Roots, b3.Timestamp, b3.Snapshot, twin.Targets},
	} {
		_, err := Open(pin(b1), mix, nil, day0)
		require.ErrorIs(t, err, ErrMismatch, "mix %d", i)
	}
}

func TestExpiryNeverRefuses(t *testing.T) {
	b := publish(t, initSolo(t), day1, release("app", "1.0", 1))
	for _, year := range []int{1970, 2026, 2099} {
		floor := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		s, err := Open(pin(b), b, b, floor)
		require.NoError(t, err, "floor %d", year)
		require.Equal(t, day1.Add(operatorLifetime), s.Expires())
		require.Equal(t, year == 2099, s.Expired(time.Unix(0, 0)), "floor %d", year)
		require.True(t, s.Expired(day1.Add(31*24*time.Hour)))
	}
	// Years later the owner has signed; a robot at 1970 knows it is at least that late.
	late, err := Renew(b, solo, day0.AddDate(3, 0, 0))
	require.NoError(t, err)
	s := open(t, late, b)
	require.Equal(t, day0.AddDate(3, 0, 0), s.SignedAt())
	require.True(t, s.Expired(time.Unix(0, 0)), "targets and root are of three years ago")
	fresh, err := RotateRoot(late, RootChange{}, solo, day0)
	require.NoError(t, err)
	require.Equal(t, s.SignedAt(), open(t, fresh, late).SignedAt(), "a laptop with a slow clock does not sign the past")
	require.False(t, open(t, fresh, late).Expired(time.Unix(0, 0)))
	more := publish(t, fresh, day0, release("app", "1.1", 2))
	require.Equal(t, s.SignedAt(), open(t, more, fresh).SignedAt())
	p, err := takeApart(more, false)
	require.NoError(t, err)
	at, err := signedAt(p.targets)
	require.NoError(t, err)
	require.Equal(t, s.SignedAt(), at)
}

func TestTamperedByteNeverOpens(t *testing.T) {
	t.Parallel()
	b, err := Delegate(initSolo(t), order.Roles{Plan: envelope.Only(pubs("op")[0])}, solo, day0) // a small one
	require.NoError(t, err)
	b = publish(t, b, day1, release("app", "1.0", 1))
	rotated, err := RotateRoot(b, RootChange{}, solo, day2)
	require.NoError(t, err)
	data := rotated.Encode()
	for i := range data {
		if i%8 != 0 && (raced || inHex(data, i)) {
			continue // one digit of a digest or signature is like the other
		}
		bad := bytes.Clone(data)
		bad[i] ^= 1 << ((i + i/8) % 7) // the eighth bit makes no JSON
		got, err := DecodeBundle(bad)
		if err != nil {
			require.Nil(t, got)
			continue
		}
		_, err = Open(pin(b), got, nil, day0)
		require.Error(t, err, "byte %d of %d", i, len(data))
	}
}

// inHex reports whether data[i] stands amid eight hexadecimal digits.
func inHex(data []byte, i int) bool {
	for _, c := range data[max(0, i-4):min(len(data), i+5)] {
		if !strings.ContainsRune("0123456789abcdef", rune(c)) {
			return false
		}
	}
	return true
}

// What a relay may change is who else has signed: that leaves the meaning.
func TestSpareSignatureMayGo(t *testing.T) {
	two := Signers{Owner: privs("own"), Operator: privs("op", "op2")}
	b, err := Init(pubs("own"), 1, pubs("op", "op2"), two, day0)
	require.NoError(t, err)
	p, err := takeApart(b, false)
	require.NoError(t, err)
	require.Len(t, p.timestamp.Signatures, 2)
	p.timestamp.Signatures = p.timestamp.Signatures[:1]
	less, err := p.bundle()
	require.NoError(t, err)
	require.NotEqual(t, b.Digest(), less.Digest())
	s, u := open(t, less, b), open(t, b, less)
	require.Equal(t, s.Roles(), u.Roles())
	require.Equal(t, order.Roles{
		Plan: envelope.Keys{Keys: sorted(pubs("op", "op2")), Threshold: 1}, Roster: s.Roles().Plan, Genesis: s.Roles().Plan,
		Report: s.Roles().Plan, Estop: s.Roles().Plan,
		EstopClear: envelope.Keys{Keys: sorted(pubs("op", "op2")), Threshold: 2},
	}, s.Roles())
}

func TestHostileJSON(t *testing.T) {
	b := publish(t, initSolo(t), day1, release("app", "1.0", 1))
	p, err := takeApart(b, false)
	require.NoError(t, err)
	own := p.root().Signed.Roles[metadata.ROOT].KeyIDs[0]
	const root, timestamp, snapshot, targets = 0, 1, 2, 3
	for _, c := range []struct {
		name     string
		part     int
		old, new string
	}{
		{"null role", root, `"root":{"keyids":["` + own + `"],"threshold":1}`, `"root":null`},
		{"null key", root, `"signed":{`, `"signed":{"x":null,`},
		{"no such role", root, `"timestamp":{`, `"timestamp2":{`},
		{"threshold 0", root, `"threshold":1`, `"threshold":0`},
		{"threshold above keys", root, `"threshold":1`, `"threshold":2`},
		{"short key", root, `"public":"`, `"public":"00`},
		{"other scheme", root, `"scheme":"ed25519"`, `"scheme":"rsassa-pss-sha256"`},
		{"not first", root, `"version":1`, `"version":2`},
		{"spaces", root, `"signed":{`, `"signed": {`},
		{"signed twice", root, `{"signatures"`, `{"signed":{"_type":"root"},"signatures"`},
		{"unsigned field", root, `{"signatures"`, `{"a":1,"signatures"`},
		{"signature's unsigned field", root, `[{"keyid"`, `[{"a":1,"keyid"`},
		{"signed after expiry", root, `"x-starling-signed-at":"2026`, `"x-starling-signed-at":"2036`},
		{"no signing time", root, `"x-starling-signed-at":"2026-05-04T06:30:00Z"`, `"x-starling-signed-at":7`},
		{"not a root", root, `"_type":"root"`, `"_type":"targets"`},
		{"null snapshot", timestamp, `"meta":{"snapshot.json":{`, `"meta":{"snapshot.json":null,"x":{`},
		{"no snapshot", timestamp, `"snapshot.json"`, `"snapshot2.json"`},
		{"no hash", timestamp, `"hashes":{"sha256"`, `"hashes":{"sha512"`},
		{"no targets", snapshot, `"targets.json"`, `"targets2.json"`},
		{"null target", targets, `"targets":{"app/1.0":`, `"targets":{"app/0":null,"app/1.0":`},
		{"role twice", targets, `"name":"roster"`, `"name":"plan"`},
		{"null delegation", targets, `"name":"roster"`, `"name":null`},
		{"counter 0", targets, `"counter":1`, `"counter":0`},
		{"other version", targets, `"version":"1.0"`, `"version":"1.1"`},
		{"no target hash", targets, `"hashes":{"sha256"`, `"hashes":{"sha512"`},
		{"floating point", targets, `"version":2`, `"version":2.5`},
		{"empty", targets, string(b.Targets), ``},
		{"list", targets, string(b.Targets), `[]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := b.clone()
			dst := []*[]byte{&bad.Roots[0], &bad.Timestamp, &bad.Snapshot, &bad.Targets}[c.part]
			require.Contains(t, string(*dst), c.old)
			*dst = bytes.Replace(*dst, []byte(c.old), []byte(c.new), 1)
			s, err := Open(pin(bad), bad, nil, day0)
			require.ErrorIs(t, err, ErrMalformed)
			require.Nil(t, s)
			_, err = Review(bad)
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
}

func TestNullIsRefusedBeforeGoTUF(t *testing.T) {
	for _, doc := range []string{`null`, `{"signed":null}`, `{"signed":{"_type":"root","keys":{"a":null}}}`, `{"a":[1,{"b":null}]}`} {
		_, err := parse[metadata.RootType]("root", []byte(doc))
		require.ErrorIs(t, err, ErrMalformed)
		require.ErrorContains(t, err, "null at byte")
	}
}

// go-tuf counts public keys, not key ids; so must we, before it and after.
func TestOneKeyUnderTwoNames(t *testing.T) {
	b, err := Init(pubs("own", "own2"), 2, pubs("op"), Signers{Owner: privs("own", "own2"), Operator: privs("op")}, day0)
	require.NoError(t, err)
	double := func(keys map[string]*metadata.Key, ids []string) []string {
		keys["alias"] = keys[ids[0]]
		return []string{ids[0], "alias"}
	}
	p, err := takeApart(b, false)
	require.NoError(t, err)
	for _, role := range p.roots[0].Signed.Roles {
		if len(role.KeyIDs) == 2 {
			role.KeyIDs = double(p.roots[0].Signed.Keys, role.KeyIDs)
		}
	}
	bad, err := p.bundle()
	require.NoError(t, err)
	_, err = Open(pin(bad), bad, nil, day0)
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorContains(t, err, "2 signatures of 1 keys")

	p, err = takeApart(b, false)
	require.NoError(t, err)
	d := p.targets.Signed.Delegations
	d.Roles[0].KeyIDs, d.Roles[0].Threshold = double(d.Keys, d.Roles[0].KeyIDs), 2
	_, err = delegated(p.targets)
	require.ErrorIs(t, err, ErrMalformed)
	d.Roles[0].Threshold = 1
	roles, err := delegated(p.targets)
	require.NoError(t, err)
	require.Equal(t, envelope.Only(pubs("op")[0]), roles.Plan)
}

func TestVerifyRelease(t *testing.T) {
	r := release("app", "1.0", 3)
	s := open(t, publish(t, initSolo(t), day1, r), nil)
	got, err := s.VerifyRelease(r.Encode())
	require.NoError(t, err)
	require.Equal(t, r.Digest(), got.Digest())

	other := release("app", "1.0", 3)
	other.Notes = "longer"
	swapped := release("app", "1.0", 3)
	swapped.Variants[0].Bytes++
	for name, bad := range map[string]*manifest.Release{
		"not listed": release("app", "1.1", 4), "wrong component": release("cam", "1.0", 3),
		"wrong length": other, "wrong hash": swapped, "wrong counter": release("app", "1.0", 4),
	} {
		_, err := s.VerifyRelease(bad.Encode())
		require.ErrorIs(t, err, ErrNotListed, name)
	}
	_, err = s.VerifyRelease(r.Encode()[1:])
	require.ErrorIs(t, err, canonical.ErrMalformed)

	// The counter under which a release is listed is the release's own.
	b := forge(t, s.Bundle(), solo, func(p *parts) {
		raw := []byte(`{"component":"app","counter":7,"version":"1.0"}`)
		require.NoError(t, p.targets.Signed.Targets["app/1.0"].Custom.UnmarshalJSON(raw))
	})
	_, err = open(t, b, nil).VerifyRelease(r.Encode())
	require.ErrorIs(t, err, ErrNotListed)
	require.ErrorContains(t, err, "counter 7")
}

// Targets that others list beside releases are none of ours.
func TestForeignTargetsArePassedOver(t *testing.T) {
	b := forge(t, publish(t, initSolo(t), day1, release("app", "1.0", 1)), solo, func(p *parts) {
		p.targets.Signed.Targets["sbom/app-1.0.json"] = &metadata.TargetFiles{Length: 7, Hashes: metadata.Hashes{"sha256": []byte{1}}}
		p.targets.Signed.Delegations.Roles = append(p.targets.Signed.Delegations.Roles, metadata.DelegatedRole{Name: "audit", KeyIDs: []string{"x"}, Paths: []string{"a/*"}})
	})
	s := open(t, b, nil)
	require.Len(t, s.Releases(), 1)
	twice := forge(t, b, solo, func(p *parts) {
		f, err := targetOf(release("app", "1.1", 1))
		require.NoError(t, err)
		p.targets.Signed.Targets["app/1.1"] = f
	})
	_, err := Open(pin(b), twice, nil, day0)
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorContains(t, err, "one counter")
}

func TestDecodeBundleLimits(t *testing.T) {
	b := initSolo(t)
	future := *b
	future.Format = Format + 1
	_, err := DecodeBundle(future.Encode())
	require.ErrorIs(t, err, canonical.ErrFuture)
	_, err = DecodeBundle(append(b.Encode(), 0))
	require.ErrorIs(t, err, canonical.ErrMalformed)
	_, err = DecodeBundle((&Bundle{Format: 1}).Encode())
	require.ErrorIs(t, err, ErrMalformed)
	_, err = DecodeBundle((&Bundle{Format: 1, Roots: make([][]byte, MaxRoots+1)}).Encode())
	require.ErrorIs(t, err, ErrMalformed)
	_, err = DecodeBundle(make([]byte, MaxBundleBytes+1))
	require.ErrorIs(t, err, canonical.ErrTooLarge)
}
