package fabric

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLatencyAndRate(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		r := plain
		r.Rate = 1e6
		a, b := w.host(r), w.host(plain)
		p, q := w.packets(a), w.packets(b)
		// 1250 bytes take 10 ms each at 1 Mbit/s, and 10 µs at the other end.
		got := w.during(q, func() { w.send(p, to(b), 3, 1222, 0) })
		require.Len(t, got, 3)
		for i, g := range got {
			want := time.Duration(i+1)*10*time.Millisecond + 10*time.Millisecond
			about(t, float64(want), float64(g.at), 0.01, "arrival")
		}
	})
}

func TestJitterReorders(t *testing.T) {
	bubble(t, Config{Seed: 3}, func(t *testing.T, w world) {
		r := plain
		r.Jitter = 5 * time.Millisecond
		a, b := w.host(r), w.host(r)
		p, q := w.packets(a), w.packets(b)
		const count = 3000
		began := w.now()
		got := w.during(q, func() { w.send(p, to(b), count, 100, time.Millisecond) })
		var sum time.Duration
		require.Len(t, got, count)
		for _, g := range got {
			late := g.at - began - time.Duration(g.number)*time.Millisecond - r.Latency
			require.GreaterOrEqual(t, late, time.Duration(0), "latency is the least")
			sum += late
		}
		about(t, float64(r.Jitter), float64(sum)/count, 0.05, "mean jitter")
		require.False(t, slices.IsSortedFunc(got, func(a, b arrival) int { return a.number - b.number }))
	})
}

func TestLossOfPackets(t *testing.T) {
	for name, r := range map[string]Radio{
		"single": {Loss: 0.1},
		"bursts": {Burst: Burst{Begin: 0.02, End: 0.16, Share: 0.9}}, // ill for 1/9 of the time
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{Seed: 5}, func(t *testing.T, w world) {
				radio := plain
				radio.Loss, radio.Burst = r.Loss, r.Burst
				a, b := w.host(radio), w.host(radio)
				p, q := w.packets(a), w.packets(b)
				const count = 10000
				got := w.during(q, func() { w.send(p, to(b), count, 10, time.Millisecond) })
				lost := count - len(got)
				about(t, 0.1, float64(lost)/count, 0.1, "share lost")
				require.EqualValues(t, lost, w.Traffic().Events[Lost])

				gaps := 0 // runs of losses
				for i, g := range got[1:] {
					if g.number > got[i].number+1 {
						gaps++
					}
				}
				mean := float64(lost) / float64(gaps)
				if name == "single" {
					about(t, 1.11, mean, 0.1, "mean length of a gap")
				} else {
					require.Greater(t, mean, 3.0, "losses come together")
				}
			})
		})
	}
}

// What packets meet with that do not fit, or fit nobody.
func TestFatesOfPackets(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		slow := plain
		slow.Rate, slow.Queue = 1e6, 10000
		a, b, off := w.host(slow), w.host(plain), w.host(plain)
		p, q := w.packets(a), w.packets(b)
		off.PowerOff()
		w.send(p, to(b), 1, 1473, 0)                                          // 1501 bytes of IP
		w.send(p, &net.UDPAddr{IP: net.IPv4(10, 0, 9, 9), Port: 1}, 1, 10, 0) // nobody
		w.send(p, to(off), 1, 10, 0)
		w.send(p, &net.UDPAddr{IP: net.ParseIP(b.IP()), Port: 1}, 1, 10, 0)
		require.Empty(t, w.drain(q))
		w.send(p, to(b), 20, 1000, 0) // one goes out at once, ten wait
		require.Len(t, w.drain(q), 11)
		require.Equal(t, map[Kind]uint64{TooLarge: 1, NoRoute: 1, HostOff: 1, NoSocket: 1, QueueFull: 9, Delivered: 11}, w.Traffic().Events)
		_, err := p.WriteTo(make([]byte, 65508), to(b))
		require.ErrorIs(t, err, syscall.EMSGSIZE)
	})
}

// Many senders fill one downlink; what waits for it is bounded too.
func TestDownlinkQueue(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		slow := plain
		slow.Down, slow.Queue = 1e6, 10000
		b := w.host(slow)
		q := w.packets(b)
		for range 4 {
			p := w.packets(w.host(plain))
			w.send(p, to(b), 10, 1222, 0)
		}
		got := w.drain(q)
		require.InDelta(t, 10, len(got), 2)
		require.EqualValues(t, 40-len(got), w.Traffic().Events[QueueFull])
	})
}

func TestPacketSockets(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		ctx := context.Background()
		a, b := w.host(plain), w.host(plain)
		p := w.packets(a)
		require.Equal(t, "0.0.0.0:7946", p.LocalAddr().String(), "as bound")
		_, err := a.ListenPacket(ctx, a.IP()+":7946")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = a.ListenPacket(ctx, b.IP()+":7946")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		q, err := b.ListenPacket(ctx, b.IP()+":0")
		require.NoError(t, err)
		require.NotZero(t, q.LocalAddr().(*net.UDPAddr).Port)

		_, err = p.WriteTo([]byte("hello"), q.LocalAddr())
		require.NoError(t, err)
		buf := make([]byte, 2)
		k, from, err := q.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "he", string(buf[:k]), "the rest is lost")
		require.Equal(t, a.IP()+":7946", from.String(), "with the address to answer to")

		require.NoError(t, q.SetReadDeadline(time.Now().Add(time.Second)))
		began := time.Now()
		_, _, err = q.ReadFrom(buf)
		require.True(t, isTimeout(err))
		require.Equal(t, time.Second, time.Since(began))

		require.NoError(t, q.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Second, func() { _ = q.Close() }) // the read below sees it
		_, _, err = q.ReadFrom(buf)
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, q.Close(), net.ErrClosed)
		_, err = b.ListenPacket(ctx, q.LocalAddr().String())
		require.NoError(t, err, "the port is free again")
	})
}

func TestLoopback(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		ctx := context.Background()
		a, b := w.host(LoRa), w.host(LoRa)
		p, err := a.ListenPacket(ctx, "127.0.0.1:5")
		require.NoError(t, err)
		w.send(p, p.LocalAddr(), 1, 5000, 0)
		other := w.packets(b)
		w.send(other, &net.UDPAddr{IP: net.ParseIP(a.IP()), Port: 5}, 1, 10, 0)
		require.Len(t, w.drain(p), 1, "its own, and not a stranger's")

		l, err := a.Listen(ctx, "127.0.0.1:7947")
		require.NoError(t, err)
		c, err := a.Dial(ctx, "localhost:7947")
		require.NoError(t, err)
		s, err := l.Accept()
		require.NoError(t, err)
		require.Less(t, w.transfer(c, s, 1<<20), 10*time.Millisecond)
		_, err = w.dial(b, a)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

// One more packet on one link, or one fault less, changes the fate of no other packet.
func TestDrawsAreIndependent(t *testing.T) {
	run := func(t *testing.T, extra bool, faults ...Fault) (fates []int) {
		bubble(t, Config{Seed: 9}, func(t *testing.T, w world) {
			r := plain
			r.Rate, r.Jitter = 1e15, 2*time.Millisecond // rates are shared, so they would move times a little
			a, b, c := w.host(r), w.host(r), w.host(r)
			pa, pb, pc := w.packets(a), w.packets(b), w.packets(c)
			for _, f := range faults {
				w.apply(f)
			}
			got := w.during(pb, func() {
				for i := range 200 {
					w.send(pa, to(b), 1, 10+i, time.Millisecond)
					if extra && i%3 == 0 {
						w.send(pc, to(b), 1, 10, 0)
						w.send(pc, to(a), 1, 10, 0)
					}
				}
			})
			for _, g := range got {
				fates = append(fates, int(g.at.Microseconds())<<10|len(g.data))
			}
		})
		return fates
	}
	loss := Loss{Share: 0.3}
	want := run(t, false, loss)
	require.InDelta(t, 140, len(want), 20)
	// The first packet is as long as the extra ones.
	without := func(fates []int) []int {
		return slices.DeleteFunc(slices.Clone(fates), func(f int) bool { return f&1023 == 10 })
	}
	require.Equal(t, without(want), without(run(t, true, loss)), "with others on other links")
	require.Equal(t, want, run(t, false, Loss{On: Links{From: []string{"h2"}}, Share: 0.5}, loss), "with a fault elsewhere")
	require.Subset(t, want, run(t, false, Loss{Share: 0.2}, loss), "a second fault takes more, and moves none")
}

func TestErrorsAreTheSystems(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a := w.host(plain)
		a.Crash()
		_, err := a.ListenPacket(context.Background(), ":1")
		require.ErrorIs(t, err, syscall.ENETDOWN)
		var op *net.OpError
		require.True(t, errors.As(err, &op))
		require.Equal(t, "listen udp: socket: network is down", err.Error())
		a.Start()
		_, err = a.ListenPacket(context.Background(), ":1")
		require.NoError(t, err)
	})
}
