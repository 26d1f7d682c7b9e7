package fabric

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is a radio without any trouble: each test adds the one it is about.
var plain = Radio{Name: "plain", Rate: 1e9, Latency: 10 * time.Millisecond, MTU: 1500, Queue: 1 << 20}

// air is plain with a range of 100 m and shared airtime.
var air = Radio{Name: "air", Range: 100, Shared: true, Rate: 8e6, Latency: time.Millisecond, MTU: 1500, Queue: 1 << 20}

// A world is a network in a bubble.
type world struct {
	*Net
	t testing.TB
}

// bubble runs f in virtual time. After it everything must end by itself.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n, err := New(cfg)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		end := make(chan error, 1)
		go func() { end <- n.Run(ctx) }()
		defer func() { cancel(); require.NoError(t, <-end) }()
		f(t, world{n, t})
	})
}

// host adds a host named by its index.
func (w world) host(r Radio, at ...float64) *Host {
	w.t.Helper()
	var p Point
	for i, v := range at {
		*[]*float64{&p.X, &p.Y, &p.Z}[i] = v
	}
	h, err := w.AddHost(fmt.Sprintf("h%d", len(w.Hosts())), r, p)
	require.NoError(w.t, err)
	return h
}

func (w world) apply(f Fault) func() {
	w.t.Helper()
	lift, err := w.Apply(f)
	require.NoError(w.t, err)
	return lift
}

func (w world) packets(h *Host) net.PacketConn {
	w.t.Helper()
	p, err := h.ListenPacket(context.Background(), ":7946")
	require.NoError(w.t, err)
	return p
}

func (w world) listen(h *Host) net.Listener {
	w.t.Helper()
	l, err := h.Listen(context.Background(), ":7947")
	require.NoError(w.t, err)
	return l
}

func (w world) dial(a, b *Host) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return a.Dial(ctx, net.JoinHostPort(b.IP(), "7947"))
}

// stream opens a stream from a to b.
func (w world) stream(a, b *Host) (net.Conn, net.Conn) {
	w.t.Helper()
	l := w.listen(b)
	c, err := w.dial(a, b)
	require.NoError(w.t, err)
	s, err := l.Accept()
	require.NoError(w.t, err)
	require.NoError(w.t, l.Close())
	return c, s
}

// to is where h's packets socket is.
func to(h *Host) net.Addr { return &net.UDPAddr{IP: net.ParseIP(h.IP()), Port: 7946} }

// send sends count packets of a size, one every gap.
func (w world) send(p net.PacketConn, to net.Addr, count, size int, gap time.Duration) {
	w.t.Helper()
	for i := range count {
		b := make([]byte, size)
		b[0], b[1] = byte(i), byte(i>>8)
		_, err := p.WriteTo(b, to)
		require.NoError(w.t, err)
		time.Sleep(gap)
	}
}

// An arrival is a packet with its number and its time.
type arrival struct {
	number int
	at     time.Duration
	data   []byte
}

// during reads what comes to p while f runs, and after it until nothing has come for a minute.
func (w world) during(p net.PacketConn, f func()) []arrival {
	w.t.Helper()
	all := make(chan []arrival)
	go func() { all <- w.drain(p) }()
	f()
	return <-all
}

// drain reads what comes until nothing has come for a minute.
func (w world) drain(p net.PacketConn) (out []arrival) {
	w.t.Helper()
	b := make([]byte, maxPacket)
	for {
		err := p.SetReadDeadline(time.Now().Add(time.Minute))
		var k int
		if err == nil {
			k, _, err = p.ReadFrom(b)
		}
		if isTimeout(err) {
			return out
		}
		if !assert.NoError(w.t, err) {
			return out
		}
		out = append(out, arrival{int(b[0]) | int(b[1])<<8, w.now(), bytes.Clone(b[:k])})
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// transfer sends size bytes from c to s and returns how long that took.
func (w world) transfer(c, s net.Conn, size int) time.Duration {
	w.t.Helper()
	want := pattern(size)
	sent := make(chan error, 1)
	began := time.Now()
	go func() {
		_, err := c.Write(want)
		sent <- err
	}()
	got := make([]byte, size)
	_, err := io.ReadFull(s, got)
	require.NoError(w.t, err)
	require.NoError(w.t, <-sent)
	require.True(w.t, bytes.Equal(want, got), "the bytes arrive as they were sent")
	return time.Since(began)
}

func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(mix(uint64(i/8)) >> (i % 8 * 8))
	}
	return b
}

// about checks a value to a share of it.
func about(t testing.TB, want, got, share float64, what string) {
	t.Helper()
	require.InDelta(t, want, got, want*share, what)
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"routing":        {Config{Routing: 7}, "fabric: the routing is none, mesh or star, not Routing(7)"},
		"star":           {Config{Routing: Star}, "fabric: a star needs the name of its hub, and nothing else does"},
		"hub":            {Config{Hub: "x"}, "fabric: a star needs the name of its hub, and nothing else does"},
		"window, routes": {Config{Window: 10, RouteLag: -1}, "fabric: routes cannot lag by -1ns\nfabric: a window holds 65536 bytes or more, not 10"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(c.cfg)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestHosts(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, w world) {
		a, err := w.AddHost("a", LAN, Point{})
		require.NoError(t, err)
		require.Equal(t, []any{"a", 0, "10.0.0.1"}, []any{a.Name(), a.Index(), a.IP()})
		for range 254 {
			w.host(LAN)
		}
		require.Equal(t, "10.0.1.1", w.Hosts()[254].IP())
		_, err = w.AddHost("a", LAN, Point{})
		require.EqualError(t, err, `fabric: a host needs a name of its own, not "a"`)
		_, err = w.AddHost("b", Radio{Name: "odd", Loss: 2}, Point{})
		require.EqualError(t, err, "add host \"b\": fabric: radio \"odd\": the rate cannot be 0\n"+
			"fabric: radio \"odd\": the loss cannot be 2\nfabric: radio \"odd\": the MTU cannot be 0\nfabric: radio \"odd\": the queue cannot be 0")

		host, err := a.Host("10.0.0.9:80")
		require.NoError(t, err)
		require.Equal(t, a.IP(), host)
		host, err = a.Host("localhost:80")
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1", host)
		_, err = a.Host("nobody:80")
		require.EqualError(t, err, "find the address that leads to nobody:80: lookup nobody: no such host")
	})
}

func TestPresets(t *testing.T) {
	for _, r := range Presets() {
		t.Run(r.Name, func(t *testing.T) {
			require.NoError(t, r.validate())
			got, ok := Preset(r.Name)
			require.True(t, ok)
			require.Equal(t, r, got)
			bubble(t, Config{Seed: 1}, func(t *testing.T, w world) {
				c, s := w.stream(w.host(r), w.host(r, r.Range/2))
				w.transfer(c, s, 4000)
			})
		})
	}
	_, ok := Preset("semaphore")
	require.False(t, ok)
}
