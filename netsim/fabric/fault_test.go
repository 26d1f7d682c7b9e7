package fabric

import (
	"io"
	"math"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFaultsAreChecked(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		w.host(plain)
		for want, f := range map[string]Fault{
			"fabric: no fault": nil,
			`apply clog x->*: fabric: no host is called "x"`:                                                                          Clog{Links{From: []string{"x"}}},
			`apply clog *<->x: fabric: no host is called "x"`:                                                                         Clog{Links{To: []string{"x"}, Both: true}},
			"apply partition : fabric: a partition has groups, and each has hosts":                                                    Partition{},
			`apply partition h0 | h0: fabric: host "h0" is in two groups`:                                                             Partition{Groups: [][]string{{"h0"}, {"h0"}}},
			"apply loss *->* 1.5: fabric: a share is from 0 to 1, not 1.5":                                                            Loss{Share: 1.5},
			"apply duplicate *->* NaN: fabric: a share is from 0 to 1, not NaN":                                                       Duplicate{Share: math.NaN()},
			"apply bandwidth *->* x0: fabric: a bandwidth times 0 is none":                                                            Bandwidth{},
			"apply delay *->* +-1s ~0s: fabric: time does not go back by -1s":                                                         Delay{Add: -time.Second},
			"apply reorder *->* 0.5 by -1s: fabric: time does not go back by -1s":                                                     Reorder{Share: 0.5, By: -time.Second},
			"apply corrupt *->* -1: fabric: a share is from 0 to 1, not -1":                                                           Corrupt{Share: -1},
			"apply mtu *->* 20: fabric: an MTU is 68 bytes or more (RFC 791), not 20":                                                 MTU{Bytes: 20},
			"apply partition one-way h0 | h1: fabric: no host is called \"h1\"":                                                       Partition{Groups: [][]string{{"h0"}, {"h1"}}, OneWay: true},
			"apply loss *->* 0 burst 0.1/0/1: fabric: a burst has three chances from 0 to 1, and ends: not {Begin:0.1 End:0 Share:1}": Loss{Burst: Burst{0.1, 0, 1}},
		} {
			_, err := w.Apply(f)
			require.EqualError(t, err, want)
		}
		require.Empty(t, w.Faults())
	})
}

func TestPartition(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		for range 6 {
			w.host(plain)
		}
		lift := w.apply(Partition{Groups: [][]string{{"h0", "h1"}, {"h2"}}})
		require.Equal(t, [][]int{{0, 1}, {2}, {3, 4, 5}}, w.Islands())
		over := w.apply(Partition{Groups: [][]string{{"h0"}}})
		require.Equal(t, [][]int{{0}, {1}, {2}, {3, 4, 5}}, w.Islands())
		lift()
		lift()
		require.Equal(t, [][]int{{0}, {1, 2, 3, 4, 5}}, w.Islands())
		over()
		require.Equal(t, [][]int{{0, 1, 2, 3, 4, 5}}, w.Islands())

		mute := w.apply(Partition{Groups: [][]string{{"h0"}}, OneWay: true})
		require.Equal(t, []bool{false, true}, []bool{w.Reach(0, 1), w.Reach(1, 0)})
		p, q := w.packets(w.Hosts()[0]), w.packets(w.Hosts()[1])
		require.Empty(t, w.during(q, func() { w.send(p, to(w.Hosts()[1]), 5, 10, 0) }))
		require.Len(t, w.during(p, func() { w.send(q, to(w.Hosts()[0]), 5, 10, 0) }), 5)
		require.EqualValues(t, 5, w.Traffic().Events[Blocked])
		mute()
		require.Len(t, w.during(q, func() { w.send(p, to(w.Hosts()[1]), 5, 10, 0) }), 5)
	})
}

// A stream in a partition waits, and nobody is told; what was written comes after it.
func TestStreamsWaitInPartitions(t *testing.T) {
	for name, fault := range map[string]Fault{
		"partition": Partition{Groups: [][]string{{"h0"}}}, "one way": Partition{Groups: [][]string{{"h1"}}, OneWay: true},
		"loss": Loss{Share: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, w world) {
				c, s := w.stream(w.host(plain), w.host(plain))
				lift := w.apply(fault)
				_, err := c.Write([]byte("patience"))
				require.NoError(t, err)
				require.NoError(t, s.SetReadDeadline(time.Now().Add(10*time.Minute)))
				_, err = s.Read(make([]byte, 10))
				require.True(t, isTimeout(err))
				lift()
				healed := time.Now()
				require.NoError(t, s.SetReadDeadline(time.Time{}))
				got := make([]byte, 8)
				_, err = io.ReadFull(s, got)
				require.NoError(t, err)
				require.Equal(t, "patience", string(got))
				require.Less(t, time.Since(healed), maxRetry+time.Second)
				w.transfer(s, c, 1<<20)
			})
		})
	}
}

// After a quarter of an hour the sender gives up. The other end knows nothing of it
// until it sends.
func TestStreamsGiveUp(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		c, s := w.stream(w.host(plain), w.host(plain))
		lift := w.apply(Partition{Groups: [][]string{{"h0"}}})
		began := time.Now()
		_, err := c.Write([]byte("never"))
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.InDelta(t, giveUp.Seconds(), time.Since(began).Seconds(), maxRetry.Seconds())
		lift()
		require.NoError(t, s.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err = s.Read(make([]byte, 1))
		require.True(t, isTimeout(err), "no reset comes by itself")
		require.NoError(t, s.SetReadDeadline(time.Time{}))
		_, err = s.Write([]byte("are you there?"))
		require.NoError(t, err)
		_, err = s.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestClog(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		c, s := w.stream(a, b)
		p, q := w.packets(a), w.packets(b)
		lift := w.apply(Clog{Links{From: []string{"h0"}, To: []string{"h1"}}})
		other := w.apply(Clog{Links{To: []string{"h1"}}})
		require.False(t, w.Reach(0, 1))
		done := make(chan time.Duration, 1)
		go func() { done <- w.transfer(c, s, 1<<20) }()
		w.send(p, to(b), 10, 10, 0)
		require.Empty(t, w.drain(q))
		lift()
		require.Empty(t, w.drain(q), "another clog lies there")
		lifted := w.now()
		other()
		require.Less(t, <-done, 2*time.Minute+time.Second)
		got := w.drain(q)
		require.Len(t, got, 10)
		for i, g := range got {
			require.Equal(t, i, g.number, "in order")
		}
		require.Less(t, lifted, got[0].at)
	})
}

// What an earlier life has sent into a clog is gone with it.
func TestClogIsBounded(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		r := plain
		r.MTU = math.MaxUint16
		a, b := w.host(r), w.host(r)
		p := w.packets(a)
		w.packets(b)
		w.apply(Clog{})
		w.send(p, to(b), 300, 60000, time.Millisecond)
		require.EqualValues(t, 300-maxClogBytes/60000, w.Traffic().Events[QueueFull])
	})
}

// Every fault does to packets and streams what it says, where it says so.
func TestFaults(t *testing.T) {
	const count = 1000
	seen := func(got []arrival) (distinct int) {
		m := map[int]bool{}
		for _, g := range got {
			m[g.number] = true
		}
		return len(m)
	}
	for name, c := range map[string]struct {
		fault Fault
		check func(t *testing.T, got []arrival, stream time.Duration)
	}{
		"none": {Delay{}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.Len(t, got, count)
			require.True(t, slices.IsSortedFunc(got, func(a, b arrival) int { return a.number - b.number }))
			require.Less(t, stream, 300*time.Millisecond)
		}},
		"loss": {Loss{Share: 0.2}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.InDelta(t, 800, len(got), 40)
			require.Greater(t, stream, time.Second)
		}},
		"burst": {Loss{Burst: Burst{0.1, 0.1, 1}}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.InDelta(t, 500, len(got), 100)
			require.Greater(t, stream, time.Second)
		}},
		"bandwidth": {Bandwidth{Factor: 0.001}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.InDelta(t, 8.4, stream.Seconds(), 1)
		}},
		"delay": {Delay{Add: time.Second, Jitter: time.Second}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.Len(t, got, count)
			require.InDelta(t, (11*time.Second + plain.Latency).Seconds(), got[len(got)-1].at.Seconds(), 7)
			require.Greater(t, stream, time.Second)
		}},
		"duplicate": {Duplicate{Share: 0.3}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.InDelta(t, 1300, len(got), 50)
			require.Equal(t, count, seen(got))
		}},
		"reorder": {Reorder{Share: 0.3, By: 55 * time.Millisecond}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.Len(t, got, count)
			late := 0
			for i, g := range got {
				if g.number < i-2 {
					late++
				}
			}
			require.InDelta(t, 300, late, 50)
		}},
		"corrupt": {Corrupt{Share: 0.25}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.Len(t, got, count)
			changed := 0
			for _, g := range got {
				if slices.ContainsFunc(g.data[2:], func(b byte) bool { return b != 0 }) {
					changed++
				}
			}
			require.InDelta(t, 250, changed, 40)
		}},
		"mtu": {MTU{Bytes: 100}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.Empty(t, got)
		}},
		"elsewhere": {Loss{On: Links{From: []string{"h2"}, Both: true}, Share: 1}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.Len(t, got, count)
			require.Less(t, stream, 300*time.Millisecond)
		}},
		"here": {Loss{On: Links{From: []string{"h1"}, To: []string{"h0", "h2"}, Both: true}, Share: 0.9}, func(t *testing.T, got []arrival, stream time.Duration) {
			require.InDelta(t, 100, len(got), 40)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{Seed: 8}, func(t *testing.T, w world) {
				r := plain
				r.Latency = time.Millisecond
				a, b := w.host(r), w.host(r)
				w.host(r)
				p, q := w.packets(a), w.packets(b)
				x, y := w.stream(a, b)
				lift := w.apply(c.fault)
				require.Equal(t, []Fault{c.fault}, w.Faults())
				got := w.during(q, func() { w.send(p, to(b), count, 200, 10*time.Millisecond) })
				stream := w.transfer(x, y, 1<<20)
				c.check(t, got, stream)
				lift()
				got = w.during(q, func() { w.send(p, to(b), 50, 200, 10*time.Millisecond) })
				require.Len(t, got, 50, "all is well again")
			})
		})
	}
}

// On a way of several hops a fault acts where it lies, and through a relay on the ends.
func TestFaultsOnHops(t *testing.T) {
	bubble(t, Config{Routing: Star, Hub: "h1"}, func(t *testing.T, w world) {
		a := w.host(plain)
		w.host(plain)
		b := w.host(plain)
		p, q := w.packets(a), w.packets(b)
		for _, c := range []struct {
			f    Fault
			want time.Duration
		}{
			{Delay{Add: time.Second}, 2 * time.Second},
			{Delay{On: Links{From: []string{"h0"}}, Add: time.Second}, time.Second},
			{Delay{On: Links{From: []string{"h0"}, To: []string{"h2"}}, Add: time.Second}, time.Second},
			{Delay{On: Links{From: []string{"h2"}}, Add: time.Second}, 0},
		} {
			lift := w.apply(c.f)
			began := w.now()
			got := w.during(q, func() { w.send(p, to(b), 1, 10, 0) })
			require.InDelta(t, c.want.Seconds(), (got[0].at - began).Seconds(), 0.03, c.f.String())
			lift()
		}
	})
}

// What is under way to a host that loses its power is sent again until it has a new
// life, and then refused; or until the sender gives up.
// A host that crashes while it dials, or with packets in line, sends nothing more.
