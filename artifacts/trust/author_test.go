package trust

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

func TestOperatorRoles(t *testing.T) {
	for n, clear := range map[int]uint{1: 1, 2: 2, 3: 2} {
		ops := []string{"op", "op2", "op3"}[:n]
		b, err := Init(pubs("own"), 1, pubs(ops...), solo, day0)
		require.NoError(t, err)
		roles := open(t, b, nil).Roles()
		for _, name := range roleNames {
			want := envelope.Keys{Keys: sorted(pubs(ops...)), Threshold: 1}
			if name == "estop-clear" {
				want.Threshold = clear
			}
			require.Equal(t, want, *slot(&roles, name), "%s of %d operators", name, n)
		}
	}
}

func TestInitRefusesBadKeys(t *testing.T) {
	for _, c := range []struct {
		name            string
		owner, operator []envelope.Key
		threshold       int
		signers         Signers
		want            error
	}{
		{"no owner", nil, pubs("op"), 1, solo, ErrInvalid},
		{"no operator", pubs("own"), nil, 1, solo, ErrInvalid},
		{"threshold 0", pubs("own"), pubs("op"), 0, solo, ErrInvalid},
		{"threshold below 0", pubs("own"), pubs("op"), -1, solo, ErrInvalid},
		{"threshold above keys", pubs("own"), pubs("op"), 2, solo, ErrInvalid},
		{"a key twice", pubs("own", "own"), pubs("op"), 2, solo, ErrInvalid},
		{"zero key", []envelope.Key{{}}, pubs("op"), 1, solo, ErrInvalid},
		{"too many keys", make([]envelope.Key, MaxKeys+1), pubs("op"), 1, solo, ErrInvalid},
		{"stranger's owner key", pubs("own"), pubs("op"), 1, Signers{Owner: privs("x"), Operator: privs("op")}, ErrSigner},
		{"stranger's operator key", pubs("own"), pubs("op"), 1, Signers{Owner: privs("own"), Operator: privs("x")}, ErrSigner},
		{"half a key", pubs("own"), pubs("op"), 1, Signers{Owner: []ed25519.PrivateKey{key("own")[:32]}}, ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := Init(c.owner, c.threshold, c.operator, c.signers, day0)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, b)
		})
	}
}

func TestPublishRefusesReuse(t *testing.T) {
	first := release("app", "1.0", 5)
	b := publish(t, initSolo(t), day1, first)
	other := release("app", "1.0", 5)
	other.Notes = "other bytes"
	bad := release("app", "1.2", 9)
	bad.Variants = nil
	for _, c := range []struct {
		name     string
		releases []*manifest.Release
		want     error
	}{
		{"version with other bytes", []*manifest.Release{other}, ErrTaken},
		{"version with a higher counter", []*manifest.Release{release("app", "1.0", 6)}, ErrTaken},
		{"counter in use", []*manifest.Release{release("app", "1.1", 5)}, ErrTaken},
		{"counter below the last", []*manifest.Release{release("app", "1.1", 4)}, ErrTaken},
		{"one counter for two", []*manifest.Release{release("app", "1.1", 6), release("app", "1.2", 6)}, ErrTaken},
		{"not a release", []*manifest.Release{bad}, manifest.ErrInvalid},
		{"the next", []*manifest.Release{release("app", "1.1", 6)}, nil},
		{"two at once, newest first", []*manifest.Release{release("app", "1.2", 7), release("app", "1.1", 6)}, nil},
		{"another component has its own counters", []*manifest.Release{release("cam", "1.0", 1)}, nil},
		{"the same again and a new one", []*manifest.Release{first, release("app", "1.1", 6)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := Publish(b, c.releases, solo, day2)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				require.Nil(t, out)
				return
			}
			require.NoError(t, err)
			require.Equal(t, uint64(3), open(t, out, b).Ref().Targets)
		})
	}
	same, err := Publish(b, []*manifest.Release{first}, solo, day2)
	require.NoError(t, err)
	require.Equal(t, b, same, "what is published already changes nothing")
}

func TestEqualArgumentsEqualBytes(t *testing.T) {
	run := func() *Bundle {
		s := Signers{Owner: privs("own", "own2"), Operator: privs("op", "op2")}
		b, err := Init(pubs("own", "own2", "own3"), 2, pubs("op", "op2"), s, day0)
		require.NoError(t, err)
		b, err = Publish(b, []*manifest.Release{release("cam", "1", 1), release("app", "1", 1), release("app", "2", 2)}, s, day1)
		require.NoError(t, err)
		b, err = RotateRoot(b, RootChange{Operator: pubs("op3")}, Signers{Owner: s.Owner, Operator: privs("op3")}, day2)
		require.NoError(t, err)
		return b
	}
	require.Equal(t, run().Encode(), run().Encode())
	// Nor does it matter in which order keys are named or sign.
	a, err := Init(pubs("own", "own2"), 2, pubs("op", "op2"), Signers{Owner: privs("own", "own2"), Operator: privs("op", "op2")}, day0)
	require.NoError(t, err)
	b, err := Init(pubs("own2", "own"), 2, pubs("op2", "op"), Signers{Owner: privs("own2", "own"), Operator: privs("op2", "op")}, day0.In(time.FixedZone("", 7200)).Add(300*time.Millisecond))
	require.NoError(t, err)
	require.Equal(t, a.Encode(), b.Encode())
}

// Two owners must sign. The first makes a draft, the second completes it.
func TestCoSign(t *testing.T) {
	alice := Signers{Owner: privs("own"), Operator: privs("op")}
	bob := Signers{Owner: privs("own2")} // an owner's key on a machine of its own
	draft, err := Init(pubs("own", "own2"), 2, pubs("op"), alice, day0)
	require.NoError(t, err)
	_, err = Open(pin(draft), draft, nil, day0)
	require.ErrorIs(t, err, ErrUnsigned)
	_, err = Renew(draft, alice, day0)
	require.ErrorIs(t, err, ErrUnsigned)
	signed, err := CoSign(draft, bob, day0)
	require.NoError(t, err)
	_, err = Open(pin(signed), signed, nil, day0)
	require.ErrorIs(t, err, ErrUnsigned, "nobody has signed a timestamp yet")
	b, err := Renew(signed, alice, day0)
	require.NoError(t, err)
	open(t, b, nil)
	require.Equal(t, signed.Roots, b.Roots, "the pin does not move once the root is complete")

	r := release("app", "1.0", 1)
	draft, err = Publish(b, []*manifest.Release{r}, alice, day1)
	require.NoError(t, err)
	for _, stored := range []*Bundle{nil, b} {
		_, err = Open(pin(b), draft, stored, day0)
		require.ErrorIs(t, err, ErrUnsigned)
	}
	v, err := Review(draft)
	require.NoError(t, err)
	require.Equal(t, pin(b), v.Root)
	require.Equal(t, r.Ref(), v.Releases[0].Ref)
	require.False(t, v.Bound)
	require.True(t, v.Needs[0].Met(), "root 1")
	require.Equal(t, Need{Document: "targets 2", Keys: v.Owner, Signed: pubs("own")}, v.Needs[1])

	_, err = CoSign(draft, alice, day1)
	require.ErrorIs(t, err, ErrSigner, "one owner stays one owner")
	_, err = CoSign(draft, Signers{Owner: privs("x"), Operator: privs("op")}, day1)
	require.ErrorIs(t, err, ErrSigner)
	_, err = Publish(draft, []*manifest.Release{release("app", "1.1", 2)}, alice, day1)
	require.ErrorIs(t, err, ErrUnsigned, "no change on top of a draft")

	// With an operator's key at hand, the second owner finishes it at once.
	done, err := CoSign(draft, Signers{Owner: privs("own2"), Operator: privs("op")}, day2)
	require.NoError(t, err)
	s := open(t, done, b)
	_, err = s.VerifyRelease(r.Encode())
	require.NoError(t, err)
	require.Equal(t, day2, s.SignedAt())
	again, err := CoSign(done, bob, day2)
	require.NoError(t, err)
	require.Equal(t, done, again, "what is complete stays as it is")

	// Without it, it is a draft that only lacks the binding.
	half, err := CoSign(draft, bob, day2)
	require.NoError(t, err)
	_, err = Open(pin(b), half, nil, day0)
	require.ErrorIs(t, err, ErrMismatch)
	done, err = Renew(half, alice, day2)
	require.NoError(t, err)
	open(t, done, b)
}

// A third signature where two suffice would move the digest that robots pin.
func TestSpareOwnerDoesNotMoveThePin(t *testing.T) {
	b, err := Init(pubs("own", "own2", "own3"), 2, pubs("op"), Signers{Owner: privs("own", "own2"), Operator: privs("op")}, day0)
	require.NoError(t, err)
	out, err := Publish(b, []*manifest.Release{release("app", "1", 1)}, Signers{Owner: privs("own", "own2", "own3"), Operator: privs("op")}, day1)
	require.NoError(t, err)
	require.Equal(t, b.Roots, out.Roots)
	open(t, out, b)
}

func TestSignersOfTheWrongRole(t *testing.T) {
	b := initSolo(t)
	_, err := Publish(b, []*manifest.Release{release("app", "1", 1)}, Signers{Owner: privs("op"), Operator: privs("own")}, day1)
	require.ErrorIs(t, err, ErrSigner)
	_, err = Renew(b, Signers{Owner: privs("own")}, day1)
	require.ErrorIs(t, err, ErrSigner)
	// The operator alone can renew, and can do no more.
	op := Signers{Operator: privs("op")}
	renewed, err := Renew(b, op, day1)
	require.NoError(t, err)
	s := open(t, renewed, b)
	require.Equal(t, uint64(2), s.Ref().Timestamp)
	require.Equal(t, uint64(1), s.Ref().Targets)
	for name, f := range map[string]func() (*Bundle, error){
		"publish":  func() (*Bundle, error) { return Publish(b, []*manifest.Release{release("app", "1", 1)}, op, day1) },
		"rotate":   func() (*Bundle, error) { return RotateRoot(b, RootChange{}, op, day1) },
		"delegate": func() (*Bundle, error) { return Delegate(b, s.Roles(), op, day1) },
	} {
		_, err := f()
		require.ErrorIs(t, err, ErrSigner, name)
	}
}

func TestRotateOwner(t *testing.T) {
	b := publish(t, initSolo(t), day0, release("app", "1.0", 1))
	change := RootChange{Owner: pubs("own2", "own3"), OwnerThreshold: 2}
	// The old owner alone does not suffice, nor do the new.
	draft, err := RotateRoot(b, change, solo, day1)
	require.NoError(t, err)
	_, err = Open(pin(b), draft, b, day0)
	require.ErrorIs(t, err, ErrUnsigned)
	coup, err := RotateRoot(b, change, Signers{Owner: privs("own2", "own3"), Operator: privs("op")}, day1)
	require.NoError(t, err)
	_, err = Open(pin(b), coup, b, day0)
	require.ErrorIs(t, err, ErrUnsigned)
	v, err := Review(draft)
	require.NoError(t, err)
	require.Equal(t, []string{"root 2", "root 2", "targets 3"}, []string{v.Needs[0].Document, v.Needs[1].Document, v.Needs[2].Document})
	require.Equal(t, []bool{true, false, false}, []bool{v.Needs[0].Met(), v.Needs[1].Met(), v.Needs[2].Met()})

	two, err := CoSign(draft, Signers{Owner: privs("own2", "own3"), Operator: privs("op")}, day1)
	require.NoError(t, err)
	s := open(t, two, b)
	require.Equal(t, uint64(2), s.Ref().Root)
	require.Equal(t, pin(b), s.Root(), "the trust root keeps its name")
	require.Equal(t, uint(2), s.Owner().Threshold)
	_, ok := s.Release("app", "1.0")
	require.True(t, ok)

	newOwners := Signers{Owner: privs("own2", "own3"), Operator: privs("op")}
	next, err := Publish(two, []*manifest.Release{release("app", "1.1", 2)}, newOwners, day2)
	require.NoError(t, err)
	open(t, next, b)
	_, err = Publish(two, []*manifest.Release{release("app", "1.1", 2)}, solo, day2)
	require.ErrorIs(t, err, ErrSigner, "the old key is worth nothing now")
}

func TestDelegateAndSucceed(t *testing.T) {
	b := initSolo(t)
	roles := open(t, b, nil).Roles()
	roles.Report = envelope.Keys{Keys: pubs("bench"), Threshold: 1}
	roles.Estop = envelope.Keys{Keys: sorted(pubs("op", "marshal")), Threshold: 1}
	roles.Genesis = envelope.Keys{}
	d, err := Delegate(b, roles, solo, day1)
	require.NoError(t, err)
	require.Equal(t, roles, open(t, d, b).Roles())

	bad := roles
	bad.Plan.Threshold = 2
	_, err = Delegate(b, bad, solo, day1)
	require.ErrorIs(t, err, ErrInvalid)

	r, err := RotateRoot(d, RootChange{Operator: pubs("op2", "op3")}, Signers{Owner: privs("own"), Operator: privs("op3")}, day2)
	require.NoError(t, err)
	got := open(t, r, d).Roles()
	require.Equal(t, roles.Report, got.Report, "the bench was never an operator")
	require.Equal(t, envelope.Keys{Keys: sorted(pubs("op2", "op3", "marshal")), Threshold: 1}, got.Estop)
	require.Equal(t, uint(2), got.EstopClear.Threshold)
	require.Empty(t, got.Genesis.Keys)
	require.Equal(t, sorted(pubs("op2", "op3")), got.Plan.Keys)
}

func TestBundleHasRoomForManyReleases(t *testing.T) {
	b := initSolo(t)
	var many []*manifest.Release
	for i := range 300 {
		many = append(many, release("navigation", fmt.Sprintf("2026.11.22-%d", i), uint64(i+1)))
	}
	full := publish(t, b, day1, many...)
	require.Len(t, open(t, full, b).Releases(), 300)
	require.Less(t, 10*(len(full.Encode())-len(b.Encode())), MaxBundleBytes-64<<10)

	p, err := takeApart(b, false)
	require.NoError(t, err)
	p.targets.Signed.UnrecognizedFields["pad"] = strings.Repeat("x", MaxBundleBytes)
	_, err = p.bundle()
	require.ErrorIs(t, err, ErrInvalid)
}
