package halt

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

func priv(b byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = b
	return ed25519.NewKeyFromSeed(seed)
}

var roles = order.Roles{
	Estop:      envelope.Keys{Keys: []envelope.Key{envelope.KeyOf(priv(1)), envelope.KeyOf(priv(2))}, Threshold: 1},
	EstopClear: envelope.Keys{Keys: []envelope.Key{envelope.KeyOf(priv(1)), envelope.KeyOf(priv(2))}, Threshold: 2},
}

func token(counter uint64, halted bool, by ...byte) []byte {
	e := (&Token{Format: Format, Swarm: "s", Counter: counter, Halted: halted, Reason: "smoke"}).Seal()
	for _, b := range by {
		e.Sign(priv(b))
	}
	return e.Encode()
}

func TestOneHaltsTwoClear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "halt")
	require.NoError(t, Create(path, "s"))
	f := Load(path)
	halted, _ := f.Halted()
	require.False(t, halted)

	accept := func(data []byte) error {
		tok, err := Open(data, "s", roles)
		if err != nil {
			return err
		}
		return f.Accept(tok, data)
	}
	require.ErrorIs(t, accept(token(1, true, 9)), envelope.ErrUnsigned, "a stranger")
	require.NoError(t, accept(token(1, true, 2)))
	require.ErrorIs(t, accept(token(1, false, 1, 2)), ErrOld, "a clearing must have a higher counter")
	require.ErrorIs(t, accept(token(2, false, 1)), envelope.ErrUnsigned, "one key does not clear")

	f = Load(path)
	halted, why := f.Halted()
	require.True(t, halted, "a halt survives a restart")
	require.Equal(t, "smoke", why)
	require.NoError(t, accept(token(2, false, 1, 2)))
	halted, _ = Load(path).Halted()
	require.False(t, halted)
	_, err := Open(token(3, true, 1), "other", roles)
	require.ErrorIs(t, err, envelope.ErrKind)
}

func TestUnreadableMeansHalted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "halt")
	check := func() {
		f := Load(path)
		halted, _ := f.Halted()
		require.True(t, halted)
		require.ErrorIs(t, f.Err(), ErrUnreadable)
	}
	check()
	require.NoError(t, Create(path, "s"))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := range data {
		require.NoError(t, os.WriteFile(path, data[:n], 0o600))
		check()
	}
	require.NoError(t, Create(path, "s"), "Create does not repair: that would end a halt")
	check()
	tok, err := Open(token(1, false, 1, 2), "s", roles)
	require.NoError(t, err)
	f := Load(path)
	require.NoError(t, f.Accept(tok, nil), "a newer token does")
	halted, _ := Load(path).Halted()
	require.False(t, halted)
}

func FuzzOpen(f *testing.F) {
	f.Add(token(1, true, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := Open(data, "s", roles); err != nil {
			require.Nil(t, tok)
		}
	})
}

// A halt that cannot be written counts all the same, leaves no file that says
// otherwise, and is written when it is heard again.
func TestHaltThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "halt")
	require.NoError(t, Create(path, "s"))
	f := Load(path)
	require.NoError(t, os.RemoveAll(dir)) // the disk is gone

	data := token(1, true, 1)
	tok, err := Open(data, "s", roles)
	require.NoError(t, err)
	require.Error(t, f.Accept(tok, data))
	halted, _ := f.Halted()
	require.True(t, halted)

	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, f.Accept(tok, data), "the same token again")
	require.ErrorIs(t, f.Accept(tok, data), ErrOld)
	halted, why := Load(path).Halted()
	require.True(t, halted)
	require.Equal(t, "smoke", why)
}
