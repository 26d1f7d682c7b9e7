package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

func directsOf(h *Host) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.directs)
}

// alone opens a stream with a connection of its own.
func alone(t *testing.T, h *Host, peer envelope.Key, protocol string) *Stream {
	s, err := h.OpenDirect(soon(t), peer, protocol)
	require.NoError(t, err)
	require.True(t, s.c.alone())
	return s
}

func TestDirectStream(t *testing.T) {
	b := newBook()
	a, z := b.start(t, 1, nil), b.start(t, 2, nil)
	s := alone(t, a, z.Key(), tongue)
	require.Equal(t, z.Key(), s.Peer())
	require.Empty(t, a.Connected(), "other streams do not use it")
	sent := bytes.Repeat([]byte("starling"), 400_000)
	go func() {
		_, _ = s.Write(sent) // what comes back says whether it worked
		_ = s.CloseWrite()
	}()
	got, err := io.ReadAll(s)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = s.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	require.Eventually(t, func() bool { return directsOf(a) == 0 && directsOf(z) == 0 }, time.Minute, time.Millisecond)
	require.NoError(t, roundTrip(soon(t), z, a.Key(), 10), "both still speak")

	s = alone(t, a, z.Key(), tongue)
	defer s.Close()
	require.NoError(t, s.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = s.Read(make([]byte, 1))
	require.Equal(t, os.ErrDeadlineExceeded, err)
	require.NoError(t, s.SetReadDeadline(time.Time{}))
	_, err = s.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(s, make([]byte, 1))
	require.NoError(t, err, "a deadline that has passed harms nothing")
}

// What was written before Close arrives, even if the peer writes and nobody reads that.
func TestDirectCloseDelivers(t *testing.T) {
	const chatty = "/test/chatty/1"
	heard := make(chan []byte, 1)
	b := newBook()
	a := b.start(t, 1, nil)
	z := b.start(t, 2, nil, func(h *Host) {
		h.Handle(chatty, func(_ context.Context, s *Stream) {
			defer s.Close()
			var talk sync.WaitGroup
			talk.Go(func() {
				for {
					if _, err := s.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			})
			data, err := io.ReadAll(s)
			if err != nil {
				data = []byte(err.Error())
			}
			heard <- data
			_ = s.Reset()
			talk.Wait()
		})
	})
	s := alone(t, a, z.Key(), chatty)
	reader := make(chan error, 1)
	_, err := io.ReadFull(s, make([]byte, 100)) // it is talking
	require.NoError(t, err)
	_, err = s.Write(bytes.Repeat([]byte("a"), 100_000))
	require.NoError(t, err)
	go func() { // ends with Close, whatever comes
		_, err := io.Copy(io.Discard, s)
		reader <- err
	}()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-reader, net.ErrClosed)
	require.Len(t, <-heard, 100_000)
}

func TestDirectReset(t *testing.T) {
	b := newBook()
	ended := make(chan error, 1)
	a := b.start(t, 1, nil)
	z := b.start(t, 2, nil, func(h *Host) {
		h.Handle("/test/wait/1", func(_ context.Context, s *Stream) {
			_, err := io.Copy(io.Discard, s)
			ended <- err
			_ = s.Close()
		})
	})
	s := alone(t, a, z.Key(), "/test/wait/1")
	_, err := s.Write([]byte("half"))
	require.NoError(t, err)
	require.NoError(t, s.Reset())
	require.ErrorIs(t, <-ended, ErrReset)

	s = alone(t, a, z.Key(), tongue)
	z.Disconnect(a.Key())
	_, err = io.ReadFull(s, make([]byte, 1))
	require.ErrorIs(t, err, ErrReset)
	require.NoError(t, s.Close())
}

func TestDirectIsRefused(t *testing.T) {
	b := newBook()
	a := b.start(t, 1, nil)
	z := b.start(t, 2, func(c *Config) {
		c.MaxStreamsPerPeer = 1
		c.Admit = func(_ envelope.Key, p string) error {
			if p == "/test/secret/1" {
				return errors.New("not for you")
			}
			return nil
		}
	})
	_, err := a.OpenDirect(soon(t), z.Key(), "/test/secret/1")
	require.ErrorIs(t, err, ErrRefused)
	_, err = a.OpenDirect(soon(t), z.Key(), "/test/unknown/1")
	require.ErrorIs(t, err, ErrRefused)
	require.Eventually(t, func() bool { z.mu.Lock(); defer z.mu.Unlock(); return len(z.inbound) == 0 }, time.Minute, time.Millisecond)
	first := alone(t, a, z.Key(), tongue)
	defer first.Close()
	_, err = a.OpenDirect(soon(t), z.Key(), tongue)
	require.ErrorIs(t, err, ErrBusy)
	_, err = a.OpenDirect(soon(t), a.Key(), tongue)
	require.ErrorIs(t, err, ErrUnreachable)
	_, err = a.OpenDirect(soon(t), envelope.KeyOf(keyNumber(9)), tongue)
	require.ErrorIs(t, err, ErrNoAddress)

	full := b.start(t, 3, func(c *Config) { c.MaxPeers = 1 })
	one := alone(t, a, full.Key(), tongue)
	defer one.Close()
	two, err := a.OpenDirect(soon(t), full.Key(), tongue)
	require.NoError(t, err)
	require.False(t, two.c.alone())
	require.NoError(t, two.Close())
}

// Strangers have no connections of their own, and nobody is dialed for one who is wrong.
func TestDirectWithStrangers(t *testing.T) {
	b := newBook()
	z := b.start(t, 2, func(c *Config) { c.Known = func(envelope.Key) bool { return false } })
	a := b.start(t, 1, nil)
	s, err := a.OpenDirect(soon(t), z.Key(), tongue)
	require.NoError(t, err)
	require.False(t, s.c.alone())
	require.NoError(t, s.Close())
	require.Zero(t, directsOf(z))

	other := envelope.KeyOf(keyNumber(3))
	b.write(other, z.Addr().String())
	_, err = a.OpenDirect(soon(t), other, tongue)
	require.ErrorIs(t, err, ErrWrongKey)
}

// Who cannot have a connection of its own gets a stream over a shared one.
func TestDirectFallsBack(t *testing.T) {
	t.Run("a peer without TLS", func(t *testing.T) {
		b := newBook()
		a, z := b.start(t, 1, nil), b.start(t, 2, nil, func(h *Host) {
			h.sec.accept.RemoveHandler("/tls/1.0.0")
			h.sec.offer = []protocol.ID{noise.ID}
		})
		s, err := a.OpenDirect(soon(t), z.Key(), tongue)
		require.NoError(t, err)
		require.False(t, s.c.alone())
		require.NoError(t, s.Close())
	})
	t.Run("a peer that cannot be dialed", func(t *testing.T) {
		b := newBook()
		a, z := b.start(t, 1, nil), b.start(t, 2, nil)
		require.NoError(t, roundTrip(soon(t), z, a.Key(), 10))
		require.Eventually(t, func() bool { return len(a.Connected()) == 1 }, time.Minute, time.Millisecond)
		b.write(z.Key(), "127.0.0.1:1")
		s, err := a.OpenDirect(soon(t), z.Key(), tongue)
		require.NoError(t, err)
		require.False(t, s.c.alone())
		require.NoError(t, s.Close())
	})
}

// A link that dies without a word ends its stream at either end, for nobody else asks.
func TestDirectDeathIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		s := alone(t, a, z.Key(), tongue)
		for range 10 { // a talk that goes on is not ended
			time.Sleep(directSilence / 2)
			_, err := s.Write([]byte("x"))
			require.NoError(t, err)
			_, err = io.ReadFull(s, make([]byte, 1))
			require.NoError(t, err)
		}
		n.cut()
		start := time.Now()
		_, err := s.Read(make([]byte, 1))
		require.ErrorIs(t, err, ErrReset)
		require.Less(t, time.Since(start), directSilence+2*sweepInterval)
		require.NoError(t, s.Close())
		synctest.Wait()
		require.Zero(t, directsOf(a))
		time.Sleep(2 * sweepInterval)
		require.Zero(t, directsOf(z))
	})
}
