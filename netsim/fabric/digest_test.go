package fabric

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// replay runs a swarm of 12 with streams, packets, faults and crashes, driven by one
// goroutine, and returns what happened.
func replay(t *testing.T, seed uint64, change func(w world)) (digest [32]byte, trace []string) {
	cfg := Config{Seed: seed, Routing: Mesh, Trace: func(e Event) { trace = append(trace, e.String()) }}
	bubble(t, cfg, func(t *testing.T, w world) {
		var hosts []*Host
		var socks []net.PacketConn
		for i := range 12 {
			h := w.host(WiFiMesh, float64(i%4)*90, float64(i/4)*90)
			hosts = append(hosts, h)
			socks = append(socks, w.packets(h))
		}
		change(w)
		c, s := w.stream(hosts[0], hosts[11])
		w.transfer(c, s, 100_000)
		lift := w.apply(Partition{Groups: [][]string{{"h0", "h1", "h2"}}})
		_, err := c.Write([]byte("late"))
		require.NoError(t, err)
		for i, p := range socks {
			w.send(p, to(hosts[(i*5+1)%12]), 5, 100*i+10, time.Millisecond)
		}
		hosts[5].Crash()
		hosts[4].Move(Point{40, 90, 3})
		lift()
		w.send(socks[0], to(hosts[11]), 20, 50, 30*time.Millisecond)
		time.Sleep(time.Minute)
		digest = w.Digest()
	})
	return digest, trace
}

func TestEqualRunsHaveEqualDigests(t *testing.T) {
	one, trace := replay(t, 1, func(world) {})
	for range 3 {
		again, other := replay(t, 1, func(world) {})
		require.Equal(t, strings.Join(trace, "\n"), strings.Join(other, "\n"))
		require.Equal(t, one, again)
	}
	require.Greater(t, len(trace), 100)
	another, _ := replay(t, 2, func(world) {})
	require.NotEqual(t, one, another, "another seed")
	another, _ = replay(t, 1, func(w world) { w.apply(Delay{Add: time.Nanosecond}) })
	require.NotEqual(t, one, another, "a nanosecond more")
	another, _ = replay(t, 1, func(w world) { w.apply(Delay{}) })
	require.Equal(t, one, another, "a fault that does nothing")
}

// Bytes count, not only their number.
func TestDigestCoversBytes(t *testing.T) {
	run := func(b byte) (digest [32]byte) {
		bubble(t, Config{}, func(t *testing.T, w world) {
			a, z := w.host(plain), w.host(plain)
			_, err := w.packets(a).WriteTo([]byte{1, 2, b}, to(z))
			require.NoError(t, err)
			c, s := w.stream(a, z)
			w.transfer(c, s, 10)
			digest = w.Digest()
		})
		return digest
	}
	require.Equal(t, run(3), run(3))
	require.NotEqual(t, run(3), run(4))
}

func TestTraceReads(t *testing.T) {
	var lines []string
	cfg := Config{Trace: func(e Event) { lines = append(lines, e.String()) }}
	bubble(t, cfg, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		_, err := w.dial(a, b)
		require.Error(t, err)
		p := w.packets(a)
		w.packets(b)
		w.send(p, to(b), 1, 10, 0)
		c, s := w.stream(a, b)
		w.transfer(c, s, 3000)
		require.NoError(t, c.Close())
		time.Sleep(time.Second)
		require.NoError(t, s.Close())
		time.Sleep(time.Second)
	})
	require.Equal(t, []string{
		"20.00064ms 0:0 > 1:7947 0 bytes 00000000 refused",
		"30.000944ms 0:7946 > 1:7946 10 bytes e3ddf06b delivered",
		"50.001904ms 0:32768 > 1:7947 0 bytes 00000000 opened",
	}, lines[:3])
	require.Equal(t, "Kind(200)", Kind(200).String())
}

// The sockets of a network that has ended fail, and nothing blocks.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Config{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		end := make(chan error, 1)
		go func() { end <- n.Run(ctx) }()
		w := world{n, t}
		a, b := w.host(plain), w.host(plain)
		c, s := w.stream(a, b)
		p, l := w.packets(a), w.listen(a)
		w.apply(Clog{On: Links{From: []string{"h1"}}})
		errs := make(chan error)
		for _, f := range []func() error{
			func() error { _, err := c.Read(make([]byte, 1)); return err },
			func() error { _, err := s.Write(make([]byte, 1<<20)); return err },
			func() error { _, _, err := p.ReadFrom(make([]byte, 1)); return err },
			func() error { _, err := l.Accept(); return err },
			func() error { _, err := b.Dial(context.Background(), "10.9.9.9:1"); return err },
		} {
			go func() { errs <- f() }()
		}
		synctest.Wait()
		cancel()
		require.NoError(t, <-end)
		for range 5 {
			require.ErrorIs(t, <-errs, net.ErrClosed)
		}
		_, err = a.Listen(context.Background(), ":9")
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = w.dial(a, b)
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestHeap(t *testing.T) {
	var e events
	type mark struct{ task }
	for i := range 2000 {
		e.push(time.Duration(mix(uint64(i))%100), mark{})
	}
	last := event{at: -1}
	for i := range 4000 {
		if i%2 == 0 && i < 2000 {
			e.push(last.at+time.Duration(mix(uint64(i))%50), mark{})
		}
		if len(e.heap) == 0 {
			require.Greater(t, i, 2999)
			return
		}
		x := e.pop()
		require.True(t, before(&last, &x), fmt.Sprint(last, x))
		last = x
	}
}

func TestFifo(t *testing.T) {
	var f fifo[int]
	next, want := 0, 0
	for i := range 10000 {
		if mix(uint64(i))%5 < 3 || f.len() == 0 {
			f.push(next)
			next++
		} else {
			require.Equal(t, want, *f.first())
			require.Equal(t, want, f.pop())
			want++
		}
		require.Equal(t, next-want, f.len())
		require.Len(t, f.items(), f.len())
	}
	require.Less(t, cap(f.all), 20000)
}

func TestBuffers(t *testing.T) {
	var b buffers
	for _, size := range []int{0, 1, 256, 257, 1500, 9000, maxSegment} {
		buf := b.get(size)
		require.Empty(t, buf)
		require.GreaterOrEqual(t, cap(buf), size)
		b.put(append(buf, make([]byte, size)...))
	}
	require.Len(t, b.free[0], 1, "the same one again")
	require.GreaterOrEqual(t, cap(b.get(maxPacket)), maxPacket)
	for range 2 * keep / maxSegment {
		b.put(make([]byte, maxSegment))
	}
	require.Len(t, b.free[3], keep/maxSegment)
}
