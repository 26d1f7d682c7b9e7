package p2p

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// deaf is a protocol whose handler reads nothing until the connection ends.
const deaf = "/test/deaf/1"

func deafOnes(h *Host) { h.Handle(deaf, hold) }

// inTime fails if f takes longer than limit, of virtual time too.
func inTime(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	require.LessOrEqual(t, time.Since(start), limit)
}

// What is read after Close fails at once, whatever the peer still says or does not.
func TestDirectReadAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2, deafOnes)
		s := alone(t, a, z.Key(), deaf)
		require.NoError(t, s.Close())
		time.Sleep(time.Second) // it is being seen off
		require.Equal(t, 1, directsOf(a))
		inTime(t, 0, func() {
			_, err := s.Read(make([]byte, 1))
			require.ErrorIs(t, err, net.ErrClosed)
		})
	})
}

// Close ends a write that a peer who does not read has blocked, and the connection.
// Whoever waits does so where the virtual clock can see it.
func TestDirectCloseEndsBlockedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2, deafOnes)
		s := alone(t, a, z.Key(), deaf)
		wrote := make(chan error, 1)
		go func() {
			for {
				if _, err := s.Write(make([]byte, 1<<20)); err != nil {
					wrote <- err
					return
				}
			}
		}()
		time.Sleep(time.Minute)
		inTime(t, lingerTime, func() {
			require.NoError(t, s.Close())
			require.ErrorIs(t, <-wrote, net.ErrClosed)
		})
		time.Sleep(2 * lingerTime)
		require.Zero(t, directsOf(a))
	})
}

// hooked is a connection that calls a function when a deadline for reads is set next,
// and another at the next read.
type hooked struct {
	net.Conn
	hook, read atomic.Pointer[func()]
}

func (c *hooked) Read(b []byte) (int, error) {
	if f := c.read.Swap(nil); f != nil {
		(*f)()
	}
	return c.Conn.Read(b)
}

func (c *hooked) SetReadDeadline(t time.Time) error {
	if f := c.hook.Swap(nil); f != nil {
		(*f)()
	}
	return c.Conn.SetReadDeadline(t)
}

// Whoever sets a deadline in the moment in which another closes the stream does not undo
// its end.
func TestDirectCloseAndDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var raw *hooked
		b, n := newBook(), newMemNet()
		z := n.on(t, b, 2, deafOnes)
		a := b.start(t, 1, func(c *Config) {
			c.Listener = n.listen("10.0.0.1:7000")
			c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				conn, err := n.dial(ctx, addr)
				raw = &hooked{Conn: conn}
				return raw, err
			}
		})
		s := alone(t, a, z.Key(), deaf)
		set := make(chan struct{})
		before, during := func() { <-set }, func() {
			go s.Close()
			for range 10_000 { // time enough for Close, unless it waits for us
				runtime.Gosched()
			}
		}
		raw.read.Store(&before)
		raw.hook.Store(&during)
		read := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		_ = s.SetReadDeadline(time.Time{}) // before the end or after it
		close(set)
		inTime(t, 0, func() { require.ErrorIs(t, <-read, net.ErrClosed) })
		time.Sleep(3 * lingerTime)
		require.Zero(t, directsOf(a))
		require.Error(t, s.SetReadDeadline(time.Time{}))
		require.Error(t, s.SetWriteDeadline(time.Time{}))
	})
}

// The end of a stream waits for a slow peer as its bytes do.
func TestDirectCloseWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const late = "/test/late/1"
		heard := make(chan int, 1)
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2, func(h *Host) {
			h.Handle(late, func(_ context.Context, s *Stream) {
				defer s.Close()
				time.Sleep(time.Minute)
				all, err := io.ReadAll(s)
				if err != nil {
					all = nil
				}
				heard <- len(all)
			})
		})
		s := alone(t, a, z.Key(), late)
		sent := 0
		for len(n.ends[0].out) < cap(n.ends[0].out) { // all that lies between holds
			_, err := s.Write([]byte("starling"))
			require.NoError(t, err)
			sent += len("starling")
		}
		require.NoError(t, s.CloseWrite())
		require.Equal(t, sent, <-heard)
		require.NoError(t, s.CloseWrite(), "once more is the same")
		require.NoError(t, s.Close())
	})
}

// Two that write at once, as other streams allow, harm neither.
func TestDirectTwoWriters(t *testing.T) {
	b := newBook()
	a, z := b.start(t, 1, nil), b.start(t, 2, nil)
	s := alone(t, a, z.Key(), tongue)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 100 {
				if _, err := s.Write(make([]byte, 40<<10)); err != nil {
					return // the length tells
				}
			}
		})
	}
	go func() {
		both.Wait()
		_ = s.CloseWrite()
	}()
	n, err := io.Copy(io.Discard, s)
	require.NoError(t, err)
	require.EqualValues(t, 2*100*40<<10, n)
	require.NoError(t, s.Close())
}

// After a write that was cut short nothing more can be written: the peer could not tell
// where it goes on.
func TestDirectWriteAfterATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2, deafOnes)
		s := alone(t, a, z.Key(), deaf)
		require.NoError(t, s.SetWriteDeadline(time.Now().Add(time.Minute)))
		var err error
		for err == nil {
			_, err = s.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
		require.NoError(t, s.SetWriteDeadline(time.Time{}))
		inTime(t, 0, func() {
			_, err = s.Write([]byte("x"))
			require.Error(t, err)
			require.Error(t, s.CloseWrite())
		})
		require.NoError(t, s.Close())
		time.Sleep(2 * lingerTime)
		require.Zero(t, directsOf(a))
	})
}
