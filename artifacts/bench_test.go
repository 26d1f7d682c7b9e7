package artifacts_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
)

// tcp is a stream that is a TCP connection of its own.
type tcp struct{ *net.TCPConn }

func (c tcp) Reset() error {
	_ = c.SetLinger(0) // a connection that is gone is reset already
	return c.Close()
}

// wired is a node whose Open dials others on loopback.
type wired struct {
	*node
	addrs map[envelope.Key]string
}

func (m wired) Open(ctx context.Context, to envelope.Key) (artifacts.Stream, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", m.addrs[to])
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(m.key[:]); err != nil {
		return nil, err
	}
	return tcp{c.(*net.TCPConn)}, nil
}

// listen serves m's exchange to those who dial it, until the test ends.
func (m wired) listen(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	m.addrs[m.key] = l.Addr().String()
	m.w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.w.wg.Go(func() {
				var peer envelope.Key
				if _, err := c.Read(peer[:]); err == nil {
					m.handle(m.w.ctx, tcp{c.(*net.TCPConn)}, peer)
				}
			})
		}
	})
	context.AfterFunc(m.w.ctx, func() { _ = l.Close() })
}

// solid is an image of n bytes, random or of one repeated line.
func solid(n int, random bool) *image {
	im := &image{m: &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.PieceBytesFor(int64(n))}}
	r := rand.NewChaCha8([32]byte{})
	for at := 0; at < n; at += manifest.AverageChunkBytes {
		b := make([]byte, manifest.AverageChunkBytes)
		_, _ = r.Read(b) // never fails
		if !random {
			for k := range b[8:] {
				b[8+k] = "a line of a program's text, more or less\n"[k%41] ^ b[k&^63]&7
			}
		}
		im.add(b)
	}
	im.m.Entries = []manifest.Entry{{Path: "image", Kind: manifest.File, Mode: 0o644, Bytes: uint64(n)}}
	return im
}

func cpuSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkSwarm lets four robots fetch an image from one seed and each other over
// loopback, unencrypted and in memory: what the exchange itself costs.
func BenchmarkSwarm(b *testing.B) {
	for name, random := range map[string]bool{"random": true, "text": false} {
		b.Run(name, func(b *testing.B) {
			const fetchers = 4
			im := solid(64<<20, random)
			full := im.full(b)
			b.SetBytes(fetchers * im.m.Bytes())
			var seed float64
			cpu := cpuSeconds()
			for b.Loop() {
				seed += runWired(b, im, full, fetchers)
			}
			gib := float64(fetchers*im.m.Bytes()) * float64(b.N) / (1 << 30)
			b.ReportMetric((cpuSeconds()-cpu)/gib, "cpu-s/GiB")
			b.ReportMetric(seed/float64(b.N), "seed×")
		})
	}
}

// runWired is one swarm. It returns how often the seed sent the file.
func runWired(b *testing.B, im *image, full *store.Mem, fetchers int) float64 {
	addrs := map[envelope.Key]string{}
	w := newSwarm(b, fetchers+1, func(i int, c *artifacts.Config) { c.Peers = wired{c.Peers.(*node), addrs} })
	for _, m := range w.nodes {
		wired{m, addrs}.listen(b)
	}
	w.nodes[0].x.Hold(full)
	var wg sync.WaitGroup
	for _, i := range upTo(fetchers) {
		s := im.empty()
		w.nodes[i].x.Hold(s)
		wg.Go(func() {
			if err := w.nodes[i].x.Fetch(w.ctx, s, nil); err != nil {
				b.Errorf("node %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	s := w.stats(0, im)
	w.cancel()
	w.wg.Wait()
	return float64(s.SentBytes) / float64(s.Bytes)
}
