package p2p

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

func cpuSeconds(b *testing.B) float64 {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkStream sends 64 KiB at a time over one stream between two hosts in this
// process, over a real connection on loopback; both ends are counted.
func BenchmarkStream(b *testing.B) {
	for name, id := range map[string]protocol.ID{"tls": libp2ptls.ID, "noise": noise.ID} {
		b.Run(name, func(b *testing.B) {
			var got sync.WaitGroup
			sink, err := New(Config{Key: keyNumber(1), Listener: loopback(b), Known: func(envelope.Key) bool { return true }})
			require.NoError(b, err)
			sink.Handle(tongue, func(_ context.Context, s *Stream) {
				defer got.Done()
				_, _ = io.Copy(io.Discard, s) // Close below ends it
				_ = s.Close()
			})
			source, err := New(Config{Key: keyNumber(2), Resolve: func(envelope.Key) []string { return []string{sink.Addr().String()} }})
			require.NoError(b, err)
			source.sec.offer = []protocol.ID{id}
			ctx, cancel := context.WithCancel(b.Context())
			var ran sync.WaitGroup
			for _, h := range []*Host{sink, source} {
				ran.Go(func() { _ = h.Run(ctx) })
			}
			got.Add(1)
			s, err := source.Open(ctx, sink.Key(), tongue)
			require.NoError(b, err)
			part := make([]byte, 64<<10)
			b.SetBytes(int64(len(part)))
			cpu := cpuSeconds(b)
			for b.Loop() {
				if _, err := s.Write(part); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, s.CloseWrite())
			got.Wait()
			b.ReportMetric((cpuSeconds(b)-cpu)/(float64(b.N)*float64(len(part))/(1<<30)), "cpu-s/GiB")
			cancel()
			ran.Wait()
		})
	}
}

func loopback(b *testing.B) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a real socket is what is measured
	require.NoError(b, err)
	return l
}
