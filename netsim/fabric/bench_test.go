package fabric

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// fast is a radio whose own limits are far beyond the machine's: what is measured
// is the cost of moving things. It runs in real time.
var fast = Radio{Name: "fast", Rate: 1e13, MTU: 1500, Queue: 64 << 20}

func benchPair(b *testing.B) (a, z *Host) {
	n, err := New(Config{Seed: 1})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- n.Run(ctx) }()
	b.Cleanup(func() { cancel(); require.NoError(b, <-end) })
	a, err = n.AddHost("a", fast, Point{})
	require.NoError(b, err)
	z, err = n.AddHost("z", fast, Point{})
	require.NoError(b, err)
	return a, z
}

func BenchmarkStream(b *testing.B) {
	a, z := benchPair(b)
	l, err := z.Listen(context.Background(), ":1")
	require.NoError(b, err)
	c, err := a.Dial(context.Background(), z.IP()+":1")
	require.NoError(b, err)
	s, err := l.Accept()
	require.NoError(b, err)
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	go func() {
		for range b.N {
			if _, err := c.Write(chunk); err != nil {
				b.Error(err)
				break
			}
		}
		_ = c.Close() // the reader sees the end or misses it
	}()
	into := make([]byte, 64<<10)
	total := 0
	for {
		k, err := s.Read(into)
		total += k
		if err == io.EOF {
			break
		}
		require.NoError(b, err)
	}
	require.Equal(b, b.N*len(chunk), total)
}

func BenchmarkPackets(b *testing.B) {
	a, z := benchPair(b)
	p, err := a.ListenPacket(context.Background(), ":1")
	require.NoError(b, err)
	q, err := z.ListenPacket(context.Background(), ":1")
	require.NoError(b, err)
	to := &net.UDPAddr{IP: net.ParseIP(z.IP()), Port: 1}
	const ahead = 64 // packets under way
	credit := make(chan struct{}, ahead)
	go func() {
		msg := make([]byte, 200)
		for range b.N {
			credit <- struct{}{}
			if _, err := p.WriteTo(msg, to); err != nil {
				b.Error(err)
				break
			}
		}
	}()
	into := make([]byte, 1500)
	for range b.N {
		_, _, err := q.ReadFrom(into)
		require.NoError(b, err)
		<-credit
	}
}
