package fabric

import (
	"bytes"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

// TestConn is the standard library's own test of connections; it needs real time.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		n, err := New(Config{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		end := make(chan error, 1)
		go func() { end <- n.Run(ctx) }()
		w := world{n, t}
		r := plain
		r.Latency = 100 * time.Microsecond
		c1, c2 = w.stream(w.host(r), w.host(r))
		return c1, c2, func() { cancel(); require.NoError(t, <-end) }, nil
	})
}

func TestRateOfStreams(t *testing.T) {
	const size = 12 << 20
	for name, c := range map[string]struct {
		change func(*Radio)
		rate   float64 // bytes/s
		within float64
	}{
		"by the line":   {func(r *Radio) { r.Rate, r.Latency = 80e6, time.Millisecond }, 10e6 * 1460 / 1500, 0.03},
		"by the window": {func(r *Radio) { r.Latency = 50 * time.Millisecond }, DefaultWindow / 0.1, 0.15},
		"by loss":       {func(r *Radio) { r.Latency, r.Loss = 20*time.Millisecond, 0.01 }, 1460 / 0.04 * math.Sqrt(1.5/0.01), 0.25},
		"by more loss":  {func(r *Radio) { r.Latency, r.Loss = 20*time.Millisecond, 0.05 }, 1460 / 0.04 * math.Sqrt(1.5/0.05), 0.35},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{Seed: 1}, func(t *testing.T, w world) {
				r := plain
				c.change(&r)
				x, y := w.stream(w.host(r), w.host(r))
				took := w.transfer(x, y, size)
				about(t, c.rate, size/took.Seconds(), c.within, "bytes per second")
			})
		})
	}
}

// Streams share a line alike, and leave room for a heartbeat.
func TestSharing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		r := plain
		r.Rate, r.Latency = 8e6, time.Millisecond
		a := w.host(r)
		const size = 1 << 20
		took := make(chan time.Duration, 4)
		for range 4 {
			c, s := w.stream(a, w.host(plain))
			go func() { took <- w.transfer(c, s, size) }()
		}
		b := w.host(plain)
		p, q := w.packets(a), w.packets(b)
		var sent []time.Duration
		for i, g := range w.during(q, func() {
			for range 20 {
				sent = append(sent, w.now())
				w.send(p, to(b), 1, 100, 100*time.Millisecond)
			}
		}) {
			require.Less(t, g.at-sent[i], 30*time.Millisecond, "a heartbeat waits for a segment or two")
		}
		for range 4 {
			about(t, 4*size*1500/1460/1e6, (<-took).Seconds(), 0.05, "four at once")
		}
	})
}

// Packets that fill the queue leave half of the line to a stream.
func TestFlood(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		r := plain
		r.Rate, r.Latency, r.MTU, r.Queue = 8e6, time.Millisecond, 9000, 100_000
		a, b := w.host(r), w.host(plain)
		c, s := w.stream(a, b)
		p := w.packets(a)
		w.packets(b)
		const size = 1 << 20
		done := make(chan time.Duration, 1)
		go func() { done <- w.transfer(c, s, size) }()
		w.send(p, to(b), 5000, 1472, time.Millisecond) // 1.5 times what the line carries
		took := <-done
		require.Less(t, took, 3*time.Second)
		require.NotZero(t, w.Traffic().Events[QueueFull])
	})
}

func TestBackPressure(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		c, s := w.stream(w.host(plain), w.host(plain))
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Minute)))
		wrote, err := c.Write(make([]byte, 10<<20))
		require.True(t, isTimeout(err))
		require.InDelta(t, 2*DefaultWindow, wrote, maxSegment, "one window unread, one unsent")
		require.LessOrEqual(t, wrote, 2*DefaultWindow)
		require.NoError(t, c.SetWriteDeadline(time.Time{}))
		done := make(chan error, 1)
		go func() {
			_, err := c.Write([]byte("more"))
			done <- err
			done <- c.Close()
		}()
		all, err := io.ReadAll(s)
		require.NoError(t, err)
		require.Len(t, all, wrote+4)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
	})
}

// A Write that comes while another is blocked waits for it, though there is room.
func TestWritesTakeTurns(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		c, s := w.stream(w.host(plain), w.host(plain))
		const long = 4 * DefaultWindow
		wrote := make(chan error, 2)
		write := func(b byte, size int) {
			_, err := c.Write(bytes.Repeat([]byte{b}, size))
			wrote <- err
		}
		go write(1, long)
		time.Sleep(time.Second)
		got := make([]byte, long+1000)
		_, err := io.ReadFull(s, got[:maxSegment])
		require.NoError(t, err)
		time.Sleep(time.Second)
		go write(2, 1000)
		time.Sleep(time.Second)
		_, err = io.ReadFull(s, got[maxSegment:])
		require.NoError(t, err)
		require.NoError(t, <-wrote)
		require.NoError(t, <-wrote)
		require.Equal(t, bytes.Repeat([]byte{1}, long), got[:long])
		require.Equal(t, bytes.Repeat([]byte{2}, 1000), got[long:])
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		c, s := w.stream(w.host(plain), w.host(plain))
		_, err := c.Write([]byte("question"))
		require.NoError(t, err)
		require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
		_, err = c.Write([]byte("?"))
		require.ErrorIs(t, err, syscall.EPIPE)
		got, err := io.ReadAll(s)
		require.NoError(t, err)
		require.Equal(t, "question", string(got))
		_, err = s.Write([]byte("answer"))
		require.NoError(t, err)
		require.NoError(t, s.Close())
		got, err = io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Close(), net.ErrClosed)
		time.Sleep(time.Second)
		for _, h := range w.Hosts() {
			require.Empty(t, h.ports.conns)
			require.Empty(t, h.ports.used)
		}
	})
}

// What is written before Close arrives, though the writer is gone.
func TestCloseLingers(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		c, s := w.stream(w.host(plain), w.host(plain))
		want := pattern(DefaultWindow)
		_, err := c.Write(want)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		got, err := io.ReadAll(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, s.Close())
	})
}

// Who writes to an end that is closed gets a reset; who closes with data unread sends one.
func TestReset(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		c, s := w.stream(w.host(plain), w.host(plain))
		require.NoError(t, s.Close())
		_, err := c.Write([]byte("into the void"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = c.Write([]byte("again"))
		require.ErrorIs(t, err, syscall.EPIPE)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the end came before the reset")

		c, s = w.stream(w.host(plain), w.host(plain))
		_, err = c.Write([]byte("never read"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, s.Close())
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

// A small message that is lost comes after a timeout, and what follows waits for it.
func TestLossDelaysAndKeepsOrder(t *testing.T) {
	bubble(t, Config{Seed: 2}, func(t *testing.T, w world) {
		r := plain
		r.Loss = 0.2
		c, s := w.stream(w.host(r), w.host(r))
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			for i := range 200 {
				_, err := c.Write([]byte{byte(i)})
				assert.NoError(t, err)
				time.Sleep(time.Second)
			}
		}()
		began, late := time.Now(), 0
		for i := range 200 {
			var b [1]byte
			_, err := io.ReadFull(s, b[:])
			require.NoError(t, err)
			require.EqualValues(t, i, b[0])
			if time.Since(began)-time.Duration(i)*time.Second >= minRetry {
				late++
			}
		}
		require.InDelta(t, 40, late, 15)
	})
}

func TestHTTP(t *testing.T) {
	bubble(t, Config{Seed: 1}, func(t *testing.T, w world) {
		r := WiFiMesh
		a, b := w.host(r), w.host(r, 50)
		srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			assert.NoError(t, err)
			_, err = rw.Write(body)
			assert.NoError(t, err)
		})}
		l := w.listen(b)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return a.Dial(ctx, addr) }}
		client := http.Client{Transport: tr, Timeout: time.Minute}
		for range 3 {
			body, write := io.Pipe()
			want := pattern(200_000)
			go func() {
				_, err := write.Write(want)
				assert.NoError(t, err)
				assert.NoError(t, write.Close())
			}()
			resp, err := client.Post("http://h1:7947/echo", "text/plain", body)
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, got)
		}
		tr.CloseIdleConnections()
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}
