package trust

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
)

func TestKeyFile(t *testing.T) {
	t.Parallel()
	priv := key("own")
	sealed, err := SealKey(priv, RoleOwner, []byte("correct horse"))
	require.NoError(t, err)
	got, role, err := OpenKey(sealed, []byte("correct horse"))
	require.NoError(t, err)
	require.Equal(t, priv, got)
	require.Equal(t, RoleOwner, role)
	_, _, err = OpenKey(sealed, []byte("wrong horse"))
	require.ErrorIs(t, err, ErrPassphrase)
	require.NotContains(t, string(sealed), "plain")

	pub, role, err := PublicOf(sealed)
	require.NoError(t, err)
	require.Equal(t, envelope.KeyOf(priv), pub)
	require.Equal(t, RoleOwner, role)

	_, _, err = OpenKey(bytes.Replace(sealed, []byte(`"owner"`), []byte(`"operator"`), 1), []byte("correct horse"))
	require.ErrorIs(t, err, ErrKeyFile, "sealed for another role")

	for _, role := range []string{RoleRobot, RoleBuilder} {
		plain, err := SealKey(priv, role, nil)
		require.NoError(t, err)
		got, as, err := OpenKey(plain, nil)
		require.NoError(t, err)
		require.Equal(t, priv, got)
		require.Equal(t, role, as)
	}
}

func TestSealKeyRefuses(t *testing.T) {
	for _, c := range []struct {
		name, role, passphrase string
		want                   error
	}{
		{"owner in the open", RoleOwner, "", ErrPassphrase},
		{"operator in the open", RoleOperator, "", ErrPassphrase},
		{"robot that waits for a person", RoleRobot, "x", ErrInvalid},
		{"no such role", "admin", "x", ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := SealKey(key("k"), c.role, []byte(c.passphrase))
			require.ErrorIs(t, err, c.want)
		})
	}
	_, err := SealKey(key("k")[:31], RoleRobot, nil)
	require.ErrorIs(t, err, ErrInvalid)
}

func TestOpenKeyRefuses(t *testing.T) {
	good, err := SealKey(key("robot"), RoleRobot, nil)
	require.NoError(t, err)
	other := envelope.KeyOf(key("other")).String()
	this := envelope.KeyOf(key("robot")).String()
	for _, c := range []struct {
		name, old, new string
		want           error
	}{
		{"future format", `"format": 1`, `"format": 2`, canonical.ErrFuture},
		{"no format", `"format": 1`, `"format": 0`, ErrKeyFile},
		{"another kind", `starling-key`, `starling-invite`, ErrKeyFile},
		{"another public key", this, other, ErrKeyFile},
		{"short public key", this, other[2:], ErrKeyFile},
		{"short secret", `"plain": "`, `"plain": "00`, ErrKeyFile},
		{"no secret", `"plain"`, `"plain2"`, ErrKeyFile},
		{"two secrets", `"plain"`, `"sealed": {}, "plain"`, ErrKeyFile},
		{"empty seal", `"plain"`, `"sealed": {}, "x"`, ErrKeyFile},
		{"no such role", `"robot"`, `"admin"`, ErrKeyFile},
		{"a second document", "}\n", "}{}", ErrKeyFile},
		{"null", string(good), "null", ErrKeyFile},
		{"nothing", string(good), "", ErrKeyFile},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Contains(t, string(good), c.old)
			bad := bytes.Replace(good, []byte(c.old), []byte(c.new), 1)
			priv, _, err := OpenKey(bad, nil)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, priv)
		})
	}
	_, _, err = OpenKey(make([]byte, MaxKeyBytes+1), nil)
	require.ErrorIs(t, err, ErrKeyFile)
	sealed := []byte(`{"format":1,"kind":"starling-key","role":"owner","public":"` + this + `","sealed":{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1}},"cipher":{"name":"nacl/secretbox"}}}`)
	_, _, err = OpenKey(sealed, []byte("x"))
	require.ErrorIs(t, err, ErrPassphrase, "a file cannot ask for a terabyte")
}
