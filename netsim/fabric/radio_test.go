package fabric

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGreyZone(t *testing.T) {
	for distance, want := range map[float64]float64{0: 0, 50: 0, 80: 0, 85: 0.15625, 90: 0.5, 95: 0.84375, 100: 1, 500: 1} {
		t.Run(fmt.Sprint(distance), func(t *testing.T) {
			bubble(t, Config{Seed: 4}, func(t *testing.T, w world) {
				a, b := w.host(air), w.host(air, distance)
				p, q := w.packets(a), w.packets(b)
				const count = 2000
				got := w.during(q, func() { w.send(p, to(b), count, 10, 5*time.Millisecond) })
				require.InDelta(t, want, 1-float64(len(got))/count, 0.03, "share lost")
				require.Equal(t, distance < 100, w.Reach(0, 1))
			})
		})
	}
}

// Ranges differ: one is heard farther than the other.
func TestOneWayByPower(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		loud := air
		loud.Range = 1000
		a, b := w.host(loud), w.host(air, 300)
		require.Equal(t, []bool{true, false}, []bool{w.Reach(a.Index(), b.Index()), w.Reach(b.Index(), a.Index())})
		require.Equal(t, [][]int{{0}, {1}}, w.Islands())
		other := air
		other.Name = "another band"
		w.host(other)
		require.False(t, w.Reach(2, 0))
	})
}

// goodput is what a stream over the chain of h hops gets.
func goodput(t *testing.T, cfg Config, hops int, spacing float64) (bytesPerSecond float64) {
	bubble(t, cfg, func(t *testing.T, w world) {
		r := air
		r.Latency = 100 * time.Microsecond
		for i := range hops + 1 {
			w.host(r, float64(i)*spacing)
		}
		c, s := w.stream(w.Hosts()[0], w.Hosts()[hops])
		const size = 2 << 20
		bytesPerSecond = size / w.transfer(c, s, size).Seconds()
	})
	return bytesPerSecond
}

func TestMeshSharesTheAir(t *testing.T) {
	mesh := Config{Routing: Mesh}
	one := goodput(t, mesh, 1, 75)
	about(t, 1e6*1460/1520, one, 0.01, "8 Mbit/s, less headers and an acknowledgement for every second packet")
	for hops := 2; hops <= 3; hops++ {
		about(t, one/float64(hops), goodput(t, mesh, hops, 75), 0.05, "1/h")
	}
	far := goodput(t, mesh, 10, 75)
	require.Greater(t, far, one/7, "the two ends of a long chain send at once")
	require.Less(t, far, one/3)
}

// Two pairs in one neighbourhood share the air; far apart they do not.
func TestCells(t *testing.T) {
	for distance, share := range map[float64]float64{30: 0.5, 5000: 1} {
		t.Run(fmt.Sprint(distance), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, w world) {
				const size = 1 << 20
				took := make(chan time.Duration, 2)
				for i := range 2 {
					x := float64(i) * distance
					c, s := w.stream(w.host(air, x), w.host(air, x, 50))
					go func() { took <- w.transfer(c, s, size) }()
				}
				for range 2 {
					about(t, share*1e6*1460/1520, size/(<-took).Seconds(), 0.02, "bytes per second")
				}
			})
		})
	}
}

// A hop into the next square costs no more than one within a square.
func TestHopOverABorder(t *testing.T) {
	for _, x := range []float64{10, 90, 110} {
		bubble(t, Config{}, func(t *testing.T, w world) {
			c, s := w.stream(w.host(air, x), w.host(air, x+30))
			const size = 1 << 20
			about(t, 1e6*1460/1520, size/w.transfer(c, s, size).Seconds(), 0.02, "bytes per second")
		})
	}
}

// Acknowledgements need the air too: one for every second packet.
func TestAcknowledgementsCost(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		r := air
		r.Overhead = 1500 * time.Microsecond
		c, s := w.stream(w.host(r), w.host(r, 50))
		const size = 1 << 20
		want := 3 * 1460 / (3*(1.5e-3+1500e-6) + 2*(1.5e-3+40e-6)) // segments of 5 ms, without overhead
		about(t, want, size/w.transfer(c, s, size).Seconds(), 0.03, "bytes per second")
	})
}

// A duty of a tenth leaves the air silent for nine tenths.
func TestDutyAndAirtime(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		r := air
		r.Duty, r.Overhead = 0.1, 500*time.Microsecond
		a, b := w.host(r), w.host(r, 10)
		p, q := w.packets(a), w.packets(b)
		got := w.during(q, func() { w.send(p, to(b), 100, 472, 0) }) // 0.5 + 0.5 ms each
		require.Len(t, got, 100)
		about(t, float64(time.Second), float64(got[99].at), 0.02, "ten times as long")
		cells := w.Traffic().Cells
		require.Equal(t, []CellTraffic{{Radio: "air", Sent: 100 * time.Millisecond, Busy: 100 * time.Millisecond}}, cells)
	})
}

func TestTrafficCounts(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		p := w.packets(a)
		w.packets(b)
		w.send(p, to(b), 3, 100, 0)
		c, s := w.stream(a, b)
		w.transfer(c, s, 100*1460)
		time.Sleep(time.Second)
		hosts := w.Traffic().Hosts
		require.Equal(t, Count{SentPackets: 3, SentBytes: 3 * 128}, hosts[0].Ports[7946])
		require.Equal(t, Count{ReceivedPackets: 3, ReceivedBytes: 3 * 128}, hosts[1].Ports[7946])
		there, back := hosts[0].Ports[7947], hosts[1].Ports[7947]
		require.Equal(t, there.SentBytes, back.ReceivedBytes)
		require.Equal(t, there.ReceivedBytes, back.SentBytes)
		require.InDelta(t, 100*1500, there.SentBytes, 500)
		require.InDelta(t, 50*40, back.SentBytes, 400, "acknowledgements")
		require.Len(t, hosts[0].Ports, 2)
	})
}

func TestStar(t *testing.T) {
	bubble(t, Config{Routing: Star, Hub: "h1"}, func(t *testing.T, w world) {
		a := w.host(plain)
		q := w.packets(a)
		hub := w.host(plain)
		c := w.host(plain)
		p := w.packets(c)
		require.Len(t, w.during(q, func() { w.send(p, to(a), 1, 10, 0) }), 1)
		began := w.now()
		got := w.during(q, func() { w.send(p, to(a), 1, 10, 0) })
		about(t, float64(2*plain.Latency), float64(got[0].at-began), 0.01, "two hops")
		hub.PowerOff()
		require.False(t, w.Reach(0, 2))
		require.Equal(t, [][]int{{0}, {2}}, w.Islands())
		require.Empty(t, w.during(q, func() { w.send(p, to(a), 1, 10, 0) }))
		require.EqualValues(t, 1, w.Traffic().Events[HostOff])
	})
}

// A mesh finds a way around a relay that is gone, within the time its routing needs.
func TestMeshHeals(t *testing.T) {
	bubble(t, Config{Routing: Mesh}, func(t *testing.T, w world) {
		a, relay, b := w.host(air), w.host(air, 70, 30), w.host(air, 140)
		p, q := w.packets(a), w.packets(b)
		require.Len(t, w.during(q, func() { w.send(p, to(b), 1, 10, 0) }), 1)
		spare := w.host(air, 70, -30)
		relay.PowerOff()
		require.True(t, w.Reach(0, 2), "the truth is known at once")
		require.Equal(t, [][]int{{0, 2, 3}}, w.Islands())
		time.Sleep(time.Minute)
		spare.Move(Point{70, -31, 0})
		got := w.during(q, func() { w.send(p, to(b), 20, 10, 100*time.Millisecond) })
		require.Len(t, got, 20, "old routes were old enough to be learned anew")
		spare.Move(Point{70, -500, 0})
		require.Equal(t, [][]int{{0}, {2}, {3}}, w.Islands())
		relay.Start()
		got = w.during(q, func() { w.send(p, to(b), 20, 10, 100*time.Millisecond) })
		require.Less(t, len(got), 20, "a route is believed for a second")
		require.Greater(t, len(got), 8)
		relay.Crash()
		require.True(t, w.Reach(0, 2), "a crashed process does not stop the relay")
		require.Equal(t, Point{70, 30, 0}, relay.Position())
	})
}

// Of a bad hop and two good ones a mesh prefers the two.
func TestMeshAvoidsTheGreyZone(t *testing.T) {
	bubble(t, Config{Routing: Mesh, Seed: 1}, func(t *testing.T, w world) {
		a, b := w.host(air), w.host(air, 92)
		p, q := w.packets(a), w.packets(b)
		lossy := w.during(q, func() { w.send(p, to(b), 100, 10, 20*time.Millisecond) })
		require.InDelta(t, 35, len(lossy), 15, "there is no other")
		w.host(air, 46)
		time.Sleep(time.Second)
		require.Len(t, w.during(q, func() { w.send(p, to(b), 100, 10, 20*time.Millisecond) }), 100)
	})
}

func TestMixedRadios(t *testing.T) {
	bubble(t, Config{Routing: Mesh}, func(t *testing.T, w world) {
		slow := plain
		slow.Name, slow.Latency, slow.Down = "slow", 90*time.Millisecond, 1e6
		a, b := w.host(plain), w.host(slow)
		p, q := w.packets(a), w.packets(b)
		got := w.during(q, func() { w.send(p, to(b), 2, 1222, 0) })
		about(t, float64(60*time.Millisecond), float64(got[0].at), 0.01, "half of each latency, and 10 ms of downlink")
		about(t, float64(70*time.Millisecond), float64(got[1].at), 0.01, "one after the other")
		w.host(air)
		require.Equal(t, [][]int{{0, 1}, {2}}, w.Islands(), "what has a range hears its own kind")
		synctest.Wait()
	})
}

// In air that knows classes an urgent packet does not wait for those of all others; in
// air that does not, it does. No air carries more for it.
func TestUrgentGoesFirst(t *testing.T) {
	const pairs, size = 8, 256 << 10
	took := map[bool]time.Duration{}
	for _, classes := range []bool{false, true} {
		bubble(t, Config{}, func(t *testing.T, w world) {
			r := air
			r.Classes = classes
			a, b := w.host(r), w.host(r, 10)
			l, err := b.Urgent().Listen(t.Context(), b.IP()+":7948")
			require.NoError(t, err)
			c, err := a.Urgent().Dial(t.Context(), b.IP()+":7948")
			require.NoError(t, err)
			s, err := l.Accept()
			require.NoError(t, err)
			var ends [pairs][2]net.Conn
			for i := range ends {
				ends[i][0], ends[i][1] = w.stream(w.host(r), w.host(r, 10))
			}
			done := make(chan time.Duration, pairs)
			for _, e := range ends {
				go func() { done <- w.transfer(e[0], e[1], size) }()
			}
			time.Sleep(100 * time.Millisecond) // of virtual time: the air is full
			took[classes] = w.transfer(c, s, 100)
			last := time.Duration(0)
			for range pairs {
				last = max(last, <-done)
			}
			about(t, 1e6*1460/1520, pairs*size/last.Seconds(), 0.02, "bytes per second")
		})
	}
	require.Less(t, 5*took[true], took[false])
}
