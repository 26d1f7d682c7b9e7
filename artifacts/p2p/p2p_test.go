package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// Goroutines that were told to end take their time on a busy machine.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		err := goleak.Find()
		for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); {
			err = goleak.Find()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// tongue is the protocol of the tests; its handler sends back what it hears.
const tongue = "/test/echo/1"

func echo(_ context.Context, s *Stream) {
	defer s.Close()
	_, _ = io.Copy(s, s)
}

func keyNumber(n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(fmt.Appendf(nil, "%032d", n))
}

// A book says where robots are. Everybody in it is a member.
type book struct {
	mu sync.Mutex
	at map[envelope.Key][]string
}

func (b *book) resolve(k envelope.Key) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at[k]
}

func (b *book) known(k envelope.Key) bool { return len(b.resolve(k)) > 0 }

func (b *book) write(k envelope.Key, addrs ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at[k] = addrs
}

func newBook() *book { return &book{at: map[envelope.Key][]string{}} }

// start runs robot n on loopback, with an echo, until the test ends. It writes
// it into b, if that is not nil; edit may change its config, and handle add
// protocols.
func (b *book) start(t *testing.T, n int, edit func(*Config), handle ...func(*Host)) *Host {
	t.Helper()
	cfg := Config{Key: keyNumber(n)}
	if b != nil {
		cfg.Resolve, cfg.Known = b.resolve, b.known
	}
	if edit != nil {
		edit(&cfg)
	}
	if cfg.Listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		cfg.Listener = l
	}
	h, err := New(cfg)
	require.NoError(t, err)
	h.Handle(tongue, echo)
	for _, f := range handle {
		f(h)
	}
	if b != nil {
		b.write(h.Key(), h.Addr().String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ran)
	})
	return h
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// roundTrip sends n bytes to peer's echo and wants them back.
func roundTrip(ctx context.Context, h *Host, peer envelope.Key, n int) error {
	s, err := h.Open(ctx, peer, tongue)
	if err != nil {
		return err
	}
	defer s.Close()
	sent := bytes.Repeat([]byte("starling"), n/8+1)[:n]
	wrote := make(chan error, 1)
	go func() {
		_, err := s.Write(sent)
		wrote <- errors.Join(err, s.CloseWrite())
	}()
	got, err := io.ReadAll(s)
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("%d bytes came back of %d, or others", len(got), n)
	}
	return nil
}

func TestRoundTrip(t *testing.T) {
	for _, first := range []protocol.ID{libp2ptls.ID, noise.ID} {
		t.Run(string(first), func(t *testing.T) {
			b := newBook()
			a, z := b.start(t, 1, nil), b.start(t, 2, nil)
			for _, h := range []*Host{a, z} {
				h.sec.offer = []protocol.ID{first}
			}
			require.NoError(t, roundTrip(soon(t), a, z.Key(), 3<<20))
			require.NoError(t, roundTrip(soon(t), z, a.Key(), 100))
			require.Equal(t, []envelope.Key{z.Key()}, a.Connected())
			require.Len(t, a.conns[z.Key()], 1, "the way back uses the same connection")

			s, err := a.Open(soon(t), z.Key(), tongue)
			require.NoError(t, err)
			require.Equal(t, z.Key(), s.Peer())
			require.Equal(t, tongue, s.Protocol())
			require.Equal(t, z.Addr().String(), s.RemoteAddr().String())
			require.NoError(t, s.SetReadDeadline(time.Now().Add(-time.Second)))
			_, err = s.Read(make([]byte, 1))
			require.Equal(t, os.ErrDeadlineExceeded, err)
			require.NoError(t, s.Close())
			require.NoError(t, s.Close())
			_, err = s.Read(make([]byte, 1))
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

func TestSomebodyElseAnswers(t *testing.T) {
	for _, first := range []protocol.ID{libp2ptls.ID, noise.ID} {
		t.Run(string(first), func(t *testing.T) {
			b := newBook()
			a, z := b.start(t, 1, nil), b.start(t, 2, nil)
			a.sec.offer = []protocol.ID{first}
			other := envelope.KeyOf(keyNumber(3))
			_, err := a.OpenAt(soon(t), z.Addr().String(), other, tongue)
			require.ErrorIs(t, err, ErrWrongKey)
			require.ErrorIs(t, err, ErrUnreachable)
			require.Empty(t, a.Connected())

			b.write(other, z.Addr().String(), b.start(t, 3, nil).Addr().String())
			require.NoError(t, roundTrip(soon(t), a, other, 10), "the next address is tried")
		})
	}
}

func TestErrorsOfOpen(t *testing.T) {
	b := newBook()
	served := make(chan string, 10)
	a := b.start(t, 1, nil)
	z := b.start(t, 2, func(c *Config) {
		c.Admit = func(_ envelope.Key, p string) error {
			if p == "/test/secret/1" {
				return errors.New("not in the electorate")
			}
			return nil
		}
	}, func(h *Host) {
		h.Handle("/test/secret/1", func(_ context.Context, s *Stream) { served <- s.Protocol(); s.Close() })
	})
	gone := b.start(t, 3, nil)
	require.NoError(t, gone.Close())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name     string
		ctx      context.Context
		peer     envelope.Key
		protocol string
		want     error
	}{
		{"not admitted", soon(t), z.Key(), "/test/secret/1", ErrRefused},
		{"unknown protocol", soon(t), z.Key(), "/test/other/1", ErrRefused},
		{"no protocol", soon(t), z.Key(), "", ErrRefused},
		{"no address", soon(t), envelope.KeyOf(keyNumber(9)), tongue, ErrNoAddress},
		{"nobody listens", soon(t), gone.Key(), tongue, ErrUnreachable},
		{"itself", soon(t), a.Key(), tongue, ErrUnreachable},
		{"ctx ended", ended, gone.Key(), tongue, context.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := a.Open(tc.ctx, tc.peer, tc.protocol)
			require.ErrorIs(t, err, tc.want)
		})
	}
	require.Empty(t, served, "no handler ran")
	require.NoError(t, roundTrip(soon(t), a, z.Key(), 10), "the connection survives refusals")
}

// hold is a handler that keeps its stream until the connection ends.
func hold(ctx context.Context, s *Stream) {
	defer s.Close()
	<-ctx.Done()
}

func TestStreamLimits(t *testing.T) {
	for _, tc := range []struct {
		name   string
		member bool
		limit  int
	}{{"member", true, 7}, {"stranger", false, MaxStrangerStreams}} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBook()
			z := b.start(t, 2, func(c *Config) {
				c.MaxStreamsPerPeer = 7
				c.Known = func(envelope.Key) bool { return tc.member }
			}, func(h *Host) { h.Handle("/test/hold/1", hold) })
			a := b.start(t, 1, nil)
			var open []*Stream
			for range tc.limit {
				s, err := a.Open(soon(t), z.Key(), "/test/hold/1")
				require.NoError(t, err)
				open = append(open, s)
			}
			_, err := a.Open(soon(t), z.Key(), "/test/hold/1")
			require.ErrorIs(t, err, ErrBusy)
			require.NoError(t, open[0].Reset())
		})
	}
}

func TestStrangersConnections(t *testing.T) {
	b := newBook()
	z := b.start(t, 1000, nil, func(h *Host) { h.Handle("/test/hold/1", hold) })
	for n := range MaxStrangers {
		a := (*book)(nil).start(t, n, nil)
		_, err := a.OpenAt(soon(t), z.Addr().String(), z.Key(), "/test/hold/1")
		require.NoError(t, err)
	}
	late := (*book)(nil).start(t, 500, nil)
	_, err := late.OpenAt(soon(t), z.Addr().String(), z.Key(), tongue)
	require.Error(t, err, "all places are taken")
	require.True(t, errors.Is(err, ErrBusy) || errors.Is(err, ErrUnreachable), err)

	member := b.start(t, 501, nil)
	require.NoError(t, roundTrip(soon(t), member, z.Key(), 10), "members have their own places")

	z.Disconnect(envelope.KeyOf(keyNumber(0)))
	require.NoError(t, func() error {
		_, err := late.OpenAt(soon(t), z.Addr().String(), z.Key(), tongue)
		return err
	}(), "a place is free again")
}

func TestStrangersRate(t *testing.T) {
	b := newBook()
	z := b.start(t, 1, nil)
	a := (*book)(nil).start(t, 2, nil)
	busy := 0
	for range 2 * strangersBurst {
		s, err := a.OpenAt(soon(t), z.Addr().String(), z.Key(), tongue)
		if err != nil {
			require.ErrorIs(t, err, ErrBusy)
			busy++
			continue
		}
		require.NoError(t, s.Reset())
	}
	require.Greater(t, busy, strangersBurst/2)
}

func TestMaxPeersClosesTheLongestIdle(t *testing.T) {
	b := newBook()
	z := b.start(t, 100, func(c *Config) { c.MaxPeers = 2 }, func(h *Host) { h.Handle("/test/hold/1", hold) })
	busy, idle, third, fourth := b.start(t, 1, nil), b.start(t, 2, nil), b.start(t, 3, nil), b.start(t, 4, nil)
	_, err := busy.Open(soon(t), z.Key(), "/test/hold/1")
	require.NoError(t, err)
	require.NoError(t, roundTrip(soon(t), idle, z.Key(), 10))
	for _, h := range []*Host{third, fourth} {
		// The idle peer's last stream ends at z a moment after it ended here.
		require.NoError(t, eventually(soon(t), func() error { return roundTrip(soon(t), h, z.Key(), 10) }))
	}
	require.Len(t, z.Connected(), 2)
	require.Contains(t, z.Connected(), busy.Key())
}

// eventually calls f until it succeeds or ctx ends.
func eventually(ctx context.Context, f func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// A peer that is killed and comes back, elsewhere or not, costs no failed Open.
func TestPeerRestarts(t *testing.T) {
	for _, tc := range []struct {
		name     string
		samePort bool
	}{{"same port", true}, {"another port", false}} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBook()
			a, z := b.start(t, 1, nil), b.start(t, 2, nil)
			require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
			require.NoError(t, z.Close())
			addr := "127.0.0.1:0"
			if tc.samePort {
				addr = z.Addr().String()
			}
			l, err := net.Listen("tcp", addr)
			if errors.Is(err, syscall.EADDRINUSE) {
				t.Skip("another process was given the port in this very moment")
			}
			require.NoError(t, err)
			again := b.start(t, 2, func(c *Config) { c.Listener = l })
			start := time.Now()
			require.NoError(t, roundTrip(soon(t), a, again.Key(), 10))
			require.Less(t, time.Since(start), keepAlive, "nothing had to time out")
			require.NoError(t, roundTrip(soon(t), again, a.Key(), 10))
		})
	}
}

func TestCloseEndsReads(t *testing.T) {
	b := newBook()
	handled := make(chan error, 1)
	z := b.start(t, 2, nil, func(h *Host) {
		h.Handle("/test/read/1", func(_ context.Context, s *Stream) {
			_, err := s.Read(make([]byte, 1))
			handled <- err
			s.Close()
		})
	})
	a := b.start(t, 1, nil)
	s, err := a.Open(soon(t), z.Key(), "/test/read/1")
	require.NoError(t, err)
	read := make(chan error, 1)
	go func() {
		_, err := s.Read(make([]byte, 1))
		read <- err
	}()
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	for _, c := range []chan error{read, handled} {
		select {
		case err := <-c:
			require.ErrorIs(t, err, ErrReset)
		case <-soon(t).Done():
			t.Fatal("a read still blocks")
		}
	}
	_, err = a.Open(soon(t), z.Key(), tongue)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, a.Run(t.Context()), ErrClosed)
}

// Both sides dial at once, again and again: every stream works.
func TestSimultaneousDials(t *testing.T) {
	b := newBook()
	a, z := b.start(t, 1, nil), b.start(t, 2, nil)
	for range 5 {
		var all sync.WaitGroup
		errs := make(chan error, 40)
		for range 20 {
			all.Go(func() { errs <- roundTrip(soon(t), a, z.Key(), 50_000) })
			all.Go(func() { errs <- roundTrip(soon(t), z, a.Key(), 50_000) })
		}
		all.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		require.LessOrEqual(t, len(a.conns[z.Key()]), 2)
		a.Disconnect(z.Key())
	}
}

func TestOpenWaitsForRun(t *testing.T) {
	b := newBook()
	z := b.start(t, 2, nil)
	a, err := New(Config{Key: keyNumber(1), Resolve: b.resolve})
	require.NoError(t, err)
	require.Nil(t, a.Addr())
	opened := make(chan error, 1)
	go func() { opened <- roundTrip(soon(t), a, z.Key(), 10) }()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	require.NoError(t, <-opened)
	cancel()
	require.NoError(t, <-ran)
}

func TestResetTellsThePeer(t *testing.T) {
	b := newBook()
	z := b.start(t, 2, nil, func(h *Host) {
		h.Handle("/test/reset/1", func(_ context.Context, s *Stream) { _ = s.Reset() })
	})
	a := b.start(t, 1, nil)
	s, err := a.Open(soon(t), z.Key(), "/test/reset/1")
	if err == nil {
		_, err = s.Read(make([]byte, 1))
		require.ErrorIs(t, err, ErrReset)
		return
	}
	require.ErrorIs(t, err, ErrBusy, "the reset overtook the consent")
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{DialTimeout: -1})
	require.ErrorContains(t, err, "private key")
	require.ErrorContains(t, err, "DialTimeout")
	require.Panics(t, func() {
		h, err := New(Config{Key: keyNumber(1)})
		require.NoError(t, err)
		h.Handle(tongue, echo)
		h.Handle(tongue, echo)
	})
}

func TestPeerString(t *testing.T) {
	require.Equal(t, "12D3KooW", PeerString(envelope.KeyOf(keyNumber(1)))[:8])
}

// A peer that proves a key and speaks garbage after it neither crashes nor stays.
func TestGarbageInsteadOfAProtocol(t *testing.T) {
	b := newBook()
	a, z := b.start(t, 1, nil), b.start(t, 2, nil)
	require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
	for _, sent := range [][]byte{
		{0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		[]byte("GET / HTTP/1.1\r\n\r\n"), hello("na"), hello(string(bytes.Repeat([]byte("x"), 900))),
	} {
		s, err := a.best(z.Key()).mux.OpenStream(soon(t))
		require.NoError(t, err)
		_, _ = s.Write(sent) // the reset may overtake either
		_ = s.CloseWrite()
		_, err = io.ReadAll(s)
		var reset *network.StreamError
		require.ErrorAs(t, err, &reset, "%q", sent)
	}
	require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
	// And one that does not even prove a key.
	c, err := net.Dial("tcp", z.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(slices.Repeat([]byte{0xfe}, 4096))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err = io.Copy(io.Discard, c)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is sent away")
}
