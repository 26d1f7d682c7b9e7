package fabric

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClogForgetsTheDead(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		q := w.packets(b)
		lift := w.apply(Clog{})
		w.send(w.packets(a), to(b), 5, 10, 0)
		a.Crash()
		a.Start()
		w.send(w.packets(a), to(b), 3, 20, 0)
		lift()
		got := w.drain(q)
		require.Len(t, got, 3)
		require.Len(t, got[0].data, 20)
	})
}

func TestCrash(t *testing.T) {
	for name, c := range map[string]struct {
		end     func(*Host)
		refused bool // what is sent to the dead host
	}{"crash": {(*Host).Crash, true}, "power": {(*Host).PowerOff, false}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, w world) {
				a, b := w.host(plain), w.host(plain)
				x, y := w.stream(a, b)
				idle, _ := w.stream(a, w.host(plain))
				q := w.packets(b)
				l := w.listen(b)
				failed := make(chan error, 3)
				go func() { _, err := y.Read(make([]byte, 1)); failed <- err }()
				go func() { _, err := l.Accept(); failed <- err }()
				go func() { _, _, err := q.ReadFrom(make([]byte, 1)); failed <- err }()
				time.Sleep(time.Second)
				c.end(b)
				for range 3 {
					require.ErrorIs(t, <-failed, net.ErrClosed)
				}
				require.False(t, b.Running())
				_, err := y.Write([]byte("x"))
				require.ErrorIs(t, err, net.ErrClosed)

				require.NoError(t, x.SetReadDeadline(time.Now().Add(time.Minute)))
				_, err = x.Read(make([]byte, 1))
				require.True(t, isTimeout(err), "nobody tells")
				_, err = x.Write([]byte("x"))
				require.NoError(t, err)
				require.NoError(t, x.SetReadDeadline(time.Now().Add(time.Minute)))
				_, err = x.Read(make([]byte, 1))
				_, dialled := w.dial(a, b)
				if c.refused {
					require.ErrorIs(t, err, syscall.ECONNRESET)
					require.ErrorIs(t, dialled, syscall.ECONNREFUSED)
				} else {
					require.True(t, isTimeout(err), "nobody answers")
					require.ErrorIs(t, dialled, syscall.ETIMEDOUT)
				}
				b.Start()
				if !c.refused {
					require.NoError(t, x.SetReadDeadline(time.Time{}))
					_, err = x.Read(make([]byte, 1))
					require.ErrorIs(t, err, syscall.ECONNRESET, "its next life knows nothing of it")
				}
				w.packets(b)
				c, s := w.stream(a, b)
				w.transfer(c, s, 1000)
				require.NoError(t, idle.Close())
				_, err = y.Read(make([]byte, 1))
				require.ErrorIs(t, err, net.ErrClosed, "old sockets stay dead")
			})
		})
	}
}

func TestPowerLostInMidTransfer(t *testing.T) {
	for name, c := range map[string]struct {
		back bool
		want error
	}{"for a while": {true, syscall.ECONNRESET}, "for good": {false, syscall.ETIMEDOUT}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, w world) {
				a, b := w.host(plain), w.host(plain)
				x, _ := w.stream(a, b)
				began := time.Now()
				time.AfterFunc(time.Second+5*time.Millisecond, b.PowerOff)
				if c.back {
					time.AfterFunc(time.Minute, b.Start)
				}
				time.Sleep(time.Second)
				_, err := x.Write(make([]byte, 1000))
				require.NoError(t, err)
				_, err = x.Read(make([]byte, 1))
				require.ErrorIs(t, err, c.want)
				require.NotZero(t, w.Traffic().Events[Retried])
				if c.back {
					require.Less(t, time.Since(began), 2*time.Minute)
				}
			})
		})
	}
}

func TestCrashStopsWhatWaits(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		r := plain
		r.Rate = 1e6
		a, b := w.host(r), w.host(plain)
		p, q := w.packets(a), w.packets(b)
		dialled := make(chan error, 1)
		go func() {
			_, err := w.dial(a, b)
			dialled <- err
		}()
		c, _ := w.stream(a, w.host(plain))
		_, err := c.Write(make([]byte, 100_000))
		require.NoError(t, err)
		got := w.during(q, func() {
			w.send(p, to(b), 20, 1222, 0)
			time.Sleep(45 * time.Millisecond)
			a.Crash()
			a.Start()
		})
		require.InDelta(t, 3, len(got), 2)
		require.Error(t, <-dialled)
	})
}

func TestPause(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		c, s := w.stream(a, b)
		p, q := w.packets(a), w.packets(b)
		began := w.now()
		b.Pause(3 * time.Second)
		b.Pause(5 * time.Second)
		done := make(chan time.Duration, 1)
		go func() { done <- w.transfer(c, s, 100_000) }()
		var back []arrival
		there := w.during(q, func() {
			back = w.during(p, func() {
				w.send(p, to(b), 10, 10, 100*time.Millisecond)
				w.send(q, to(a), 10, 10, 100*time.Millisecond)
			})
		})
		require.Len(t, there, 10)
		require.Len(t, back, 10)
		for i := range 10 {
			require.Equal(t, i, there[i].number)
			require.Equal(t, 5*time.Second, there[i].at-began, "all at once")
			require.InDelta(t, 5.01, (back[i].at - began).Seconds(), 0.001)
		}
		assert.InDelta(t, 5.1, (<-done).Seconds(), 0.2)
		b.Pause(time.Hour)
		b.Crash()
		b.Start()
		q = w.packets(b)
		require.Len(t, w.during(q, func() { w.send(p, to(b), 1, 10, 0) }), 1, "a new life is not paused")
	})
}
