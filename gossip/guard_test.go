package gossip

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOldPadding(t *testing.T) {
	require.True(t, oldPadding([]byte{244, 1, 'x', 0, 7}))
	require.False(t, oldPadding([]byte{244, 1, 'x', 1, 7}))
	for _, short := range [][]byte{nil, {244}, {244, 3}, {244, 1, 'x'}, {0, 0, 0, 0}} {
		require.False(t, oldPadding(short))
	}
}

func TestHarmfulStreams(t *testing.T) {
	encrypted := func(size uint32, version byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{10}, size), version)
	}
	for _, c := range []struct {
		name string
		head []byte
		harm bool
	}{
		{"a member's", encrypted(30, 1), false},
		{"old padding", encrypted(300, 0), true},
		{"a version to come", encrypted(300, 2), true},
		{"empty", encrypted(29, 1), true},
		{"not encrypted", []byte{6, 0, 0, 0, 0, 0}, false},
	} {
		for _, label := range []string{"", "\xf4\x05field", "\xf4\x00"} {
			head := append([]byte(label), c.head...)
			harm, enough := harmful(head)
			require.True(t, enough, "%s after %q", c.name, label)
			require.Equal(t, c.harm, harm, "%s after %q", c.name, label)

			var slow streamHead // the same, when bytes come one by one
			var err error
			for i := range head {
				require.NoError(t, err)
				err = slow.read(head[i : i+1])
			}
			require.Equal(t, c.harm, err != nil, "%s after %q, byte by byte", c.name, label)
		}
	}
}

// Neither of these has a member that is true to memberlist's own code ever sent, and
// each ended the process that read it.
func TestAMessageThatMemberlistCannotBearIsRefused(t *testing.T) {
	for name, harm := range map[string]struct {
		version byte
		plain   []byte
	}{
		"padding that is not there": {0, bytes.Repeat([]byte{200}, 16)},
		"an empty message":          {1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *swarm) {
				victim := s.start(0)
				stranger := s.net.host("10.0.1.1:7946")
				conn, err := stranger.dial(s.ctx, addrOf(0))
				require.NoError(t, err)
				_, err = conn.Write([]byte("\xf4\x05field"))
				require.NoError(t, err)
				_, _ = conn.Write(sealed(t, harm.version, harm.plain)) // the victim may close first
				_, err = io.Copy(io.Discard, conn)
				require.NoError(t, err)

				other := s.start(1)
				s.within(settle, "the victim answers others", func() bool {
					return other.sees(0, Alive) && victim.sees(1, Alive)
				})
			})
		})
	}
}

// sealed is a stream's message of one version, as whoever holds the key can make it.
func sealed(t *testing.T, version byte, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(testKey)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	nonce := make([]byte, gcm.NonceSize())
	out := []byte{encryptType}
	out = binary.BigEndian.AppendUint32(out, uint32(1+len(nonce)+len(plain)+gcm.Overhead()))
	bound := append(append([]byte(nil), out...), "field"...)
	out = append(append(out, version), nonce...)
	return gcm.Seal(out, nonce, plain, bound)
}
