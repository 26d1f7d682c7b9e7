package p2p

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// counting is a connection that counts calls of Write.
type counting struct {
	net.Conn
	writes int
}

func (c *counting) Write(b []byte) (int, error) {
	c.writes++
	return c.Conn.Write(b)
}

// pair is two ends of a connection of the kernel.
func pair(t *testing.T) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a real socket: read-ahead is of those
	require.NoError(t, err)
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestPulsePassesOnWhatItIsGiven writes in parts of all sizes, gathered or not, and
// reads in parts of all sizes: the bytes are the same, and none is left behind.
func TestPulsePassesOnWhatItIsGiven(t *testing.T) {
	rawA, rawB := pair(t)
	a, b := newPulse(rawA, nil), newPulse(rawB, nil)
	require.NotNil(t, b.sys)
	rnd := rand.New(rand.NewPCG(3, 4))
	sent := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(sent) // never fails
	go func() {
		defer rawA.Close()
		for rest := sent; len(rest) > 0; {
			gathered := rnd.IntN(2) == 0
			if gathered {
				a.gather()
			}
			for range rnd.IntN(5) {
				n := min(len(rest), rnd.IntN(2*bufferBytes))
				if _, err := a.Write(rest[:n]); err != nil {
					return // the other side sees too little
				}
				rest = rest[n:]
			}
			if gathered && a.send() != nil {
				return
			}
		}
	}()
	var got bytes.Buffer
	sizes := rand.New(rand.NewPCG(5, 6))
	for {
		part := make([]byte, 1+sizes.IntN(2*bufferBytes))
		n, err := b.Read(part)
		got.Write(part[:n])
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(sent, got.Bytes()), "%d of %d bytes came, or others", got.Len(), len(sent))
	require.EqualValues(t, len(sent), b.heard.Load())
	require.Nil(t, b.in, "a connection without bytes keeps no buffer")
}

// TestGatheredWritesAreOne says what gathering is for.
func TestGatheredWritesAreOne(t *testing.T) {
	rawA, rawB := pair(t)
	c := &counting{Conn: rawA}
	a := newPulse(c, nil)
	a.gather()
	for range 4 {
		_, err := a.Write(make([]byte, 16<<10))
		require.NoError(t, err)
	}
	require.Zero(t, c.writes)
	go func() { _, _ = io.Copy(io.Discard, rawB) }()
	require.NoError(t, a.send())
	require.Equal(t, 1, c.writes)
	require.NoError(t, rawA.Close())
	a.gather()
	_, err := a.Write([]byte{1})
	require.NoError(t, err)
	require.ErrorIs(t, a.send(), net.ErrClosed)
}
