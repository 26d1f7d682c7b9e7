package fabric

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHandshake(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		rtt := 2 * plain.Latency
		began := time.Now()
		_, err := w.dial(a, b)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, "dial tcp 10.0.0.2:7947: connect: connection refused", err.Error())
		about(t, float64(rtt), float64(time.Since(began)), 0.01, "refused after a round trip")

		l := w.listen(b)
		began = time.Now()
		c, err := w.dial(a, b)
		require.NoError(t, err)
		about(t, float64(rtt), float64(time.Since(began)), 0.01, "open after a round trip")
		s, err := l.Accept()
		require.NoError(t, err)
		about(t, 1.5*float64(rtt), float64(time.Since(began)), 0.01, "accepted half a round trip later")
		require.Equal(t, c.LocalAddr().String(), s.RemoteAddr().String())
		require.Equal(t, "10.0.0.2:7947", s.LocalAddr().String())
		require.Equal(t, s.LocalAddr(), c.RemoteAddr())

		_, err = a.Dial(context.Background(), "nobody:1")
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns)
		named, err := a.Dial(context.Background(), "h1:7947")
		require.NoError(t, err)
		require.NoError(t, named.Close())
		_, err = b.Listen(context.Background(), ":7947")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	})
}

func TestDialIntoTheVoid(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a := w.host(plain)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := a.Dial(ctx, "10.0.7.7:1")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, isTimeout(err))
		require.Equal(t, 3*time.Second, time.Since(began))
		began = time.Now()
		_, err = a.Dial(context.Background(), "10.0.7.7:1")
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.Equal(t, 127*time.Second, time.Since(began), "as Linux gives up")
	})
}

func TestBacklog(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		l := w.listen(b)
		for range backlog {
			_, err := w.dial(a, b)
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		time.AfterFunc(500*time.Millisecond, func() {
			_, err := l.Accept()
			assert.NoError(t, err)
		})
		_, err := w.dial(a, b)
		require.NoError(t, err)
		require.Greater(t, time.Since(began), time.Second, "asked again after a second")
	})
}

func TestClosedListenerResetsWhoWaits(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, b := w.host(plain), w.host(plain)
		l := w.listen(b)
		c, err := w.dial(a, b)
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, l.Close())
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, l.Close(), net.ErrClosed)
	})
}

func TestAcceptDeadline(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		l := w.listen(w.host(plain))
		require.Equal(t, "0.0.0.0:7947", l.Addr().String())
		began := time.Now()
		require.NoError(t, l.(interface{ SetDeadline(time.Time) error }).SetDeadline(began.Add(time.Second)))
		_, err := l.Accept()
		require.True(t, isTimeout(err))
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestAddresses(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		h := w.host(plain)
		for addr, want := range map[string]string{
			"":            "listen tcp: missing port in address",
			"x:1":         "listen tcp: lookup x: no such host",
			":http":       "listen tcp: address http: invalid port",
			":70000":      "listen tcp: address 70000: invalid port",
			"10.0.0.9:1":  "listen tcp: bind: cannot assign requested address",
			"[fe80::1]:1": "listen tcp: lookup fe80::1: no such host",
			":1":          "0.0.0.0:1",
			"0.0.0.0:2":   "0.0.0.0:2",
			"[::]:3":      "0.0.0.0:3",
			"[::1]:4":     "127.0.0.1:4",
			"h0:5":        "10.0.0.1:5",
			h.IP() + ":6": "10.0.0.1:6",
			"localhost:7": "127.0.0.1:7",
			"127.0.0.1:8": "127.0.0.1:8",
			"localhost:0": "127.0.0.1:32768",
		} {
			l, err := h.Listen(context.Background(), addr)
			if err != nil {
				require.EqualError(t, err, want, addr)
				continue
			}
			require.Equal(t, want, l.Addr().String(), addr)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := h.Listen(ctx, ":0")
		require.ErrorIs(t, err, context.Canceled)
		_, err = h.Dial(ctx, "h0:1")
		require.ErrorIs(t, err, context.Canceled)
	})
}
