package trust

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

func FuzzOpen(f *testing.F) {
	b := publish(f, initSolo(f), day1, release("app", "1.0", 1))
	rotated, err := RotateRoot(b, RootChange{Operator: pubs("op2")}, Signers{Owner: privs("own"), Operator: privs("op2")}, day2)
	require.NoError(f, err)
	for _, x := range []*Bundle{b, rotated, {Format: 1, Roots: [][]byte{b.Roots[0]}}} {
		f.Add(x.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := DecodeBundle(data)
		if err != nil {
			require.Nil(t, x)
			return
		}
		require.Equal(t, data, x.Encode())
		if s, err := Open(pin(x), x, nil, day0); err == nil {
			require.Equal(t, x.Digest(), s.Ref().Digest)
		}
		if _, err := Open(pin(b), x, b, day0); err == nil {
			require.Equal(t, b.Roots[0], x.Roots[0])
		}
	})
}

// The parts are fuzzed apart as well: a whole bundle seldom gets past its digest.
func FuzzParts(f *testing.F) {
	b := publish(f, initSolo(f), day1, release("app", "1.0", 1))
	f.Add(b.Roots[0], b.Timestamp, b.Snapshot, b.Targets)
	f.Add([]byte(`{"signatures":[],"signed":{"_type":"root","roles":{"root":null}}}`), b.Timestamp, b.Snapshot, b.Targets)
	f.Add(b.Roots[0], []byte(`{"signatures":[],"signed":{"_type":"timestamp","meta":{"snapshot.json":null}}}`), b.Snapshot, b.Targets)
	f.Add(b.Roots[0], b.Timestamp, b.Snapshot, []byte(`{"signatures":[],"signed":{"_type":"targets","targets":{"a":null}}}`))
	f.Fuzz(func(t *testing.T, root, timestamp, snapshot, targets []byte) {
		x := &Bundle{Format: Format, Roots: [][]byte{root}, Timestamp: timestamp, Snapshot: snapshot, Targets: targets}
		_, _ = Open(pin(x), x, nil, day0)
		_, _ = Open(pin(x), x, b, day0)
		if _, err := Review(x); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
		}
		_, _ = CoSign(x, solo, day2)
	})
}

func FuzzOpenKey(f *testing.F) {
	plain, err := SealKey(key("robot"), RoleRobot, nil)
	require.NoError(f, err)
	f.Add(plain)
	f.Add([]byte(`{"format":1,"kind":"starling-key","role":"owner","public":"` + pubs("a")[0].String() + `","sealed":{"kdf":{"name":"scrypt"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		priv, role, err := OpenKey(data, []byte("x"))
		if err != nil {
			require.Nil(t, priv)
			require.Empty(t, role)
			return
		}
		pub, as, err := PublicOf(data)
		require.NoError(t, err)
		require.Equal(t, role, as)
		require.Equal(t, envelope.KeyOf(priv), pub)
	})
}
