package p2p

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Streams that are read, written, given deadlines and ended from all sides at once: what
// ends with io.EOF is whole, everything ends, and no place stays taken.
func TestDirectEndsOfAllKinds(t *testing.T) {
	const count, total = 24, "/test/total/1"
	got := make(chan result, 1)
	b := newBook()
	a := b.start(t, 1, nil)
	z := b.start(t, 2, nil, func(h *Host) {
		h.Handle(total, func(_ context.Context, s *Stream) {
			_, _ = s.Write([]byte("x")) // it has begun
			n, err := io.Copy(io.Discard, s)
			_ = s.Close()
			got <- result{n, err}
		})
	})
	ends := []func(*Stream){
		func(s *Stream) { _ = s.Close() },
		func(s *Stream) { _ = s.CloseWrite() },
		func(s *Stream) { _ = s.Reset() },
		func(s *Stream) { a.Disconnect(z.Key()) },
		func(s *Stream) { z.Disconnect(a.Key()) },
		func(s *Stream) { _ = s.SetDeadline(time.Now()) },
	}
	for i := range count {
		s := alone(t, a, z.Key(), total)
		_, err := s.Read(make([]byte, 1))
		require.NoError(t, err)
		var all sync.WaitGroup
		var wrote int64
		all.Go(func() {
			for range rand.N(40) {
				n, err := s.Write(make([]byte, 1+rand.N(100<<10)))
				if wrote += int64(n); err != nil {
					return
				}
			}
			_ = s.CloseWrite() // if it fails, the peer sees no io.EOF
		})
		all.Go(func() { _, _ = io.Copy(io.Discard, s) }) // it ends with the stream
		all.Go(func() {
			for range 20 {
				_ = s.SetReadDeadline(time.Time{})
			}
		})
		all.Go(func() {
			for range rand.N(2000) { // to a moment within the writes or after them
				runtime.Gosched()
			}
			ends[i%len(ends)](s)
			_ = s.Close()
		})
		r := <-got
		all.Wait()
		require.NoError(t, s.Close())
		if r.err == nil {
			require.Equal(t, wrote, r.n, "end %d", i%len(ends))
		} else {
			require.ErrorIs(t, r.err, ErrReset, "end %d", i%len(ends))
		}
	}
	require.Eventually(t, func() bool {
		z.mu.Lock()
		defer z.mu.Unlock()
		return directsOf(a) == 0 && len(z.directs) == 0 && len(z.inbound) == 0
	}, 3*lingerTime, time.Millisecond)
}

type result struct {
	n   int64
	err error
}

// Hosts that end in the middle of everything take all of it along.
func TestDirectAndTheEndOfTheHost(t *testing.T) {
	b := newBook()
	z := b.start(t, 2, nil, deafOnes)
	for n := range 8 {
		l, err := net.Listen("tcp", "127.0.0.1:0") // a real socket: the kernel's buffers are part of it
		require.NoError(t, err)
		a, err := New(Config{Key: keyNumber(10 + n), Listener: l, Resolve: b.resolve})
		require.NoError(t, err)
		b.write(a.Key(), l.Addr().String())
		ran := make(chan error, 1)
		go func() { ran <- a.Run(t.Context()) }()
		opened := make(chan struct{}, 1000)
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				protocol := []string{tongue, deaf}[i%2]
				for {
					s, err := a.OpenDirect(soon(t), z.Key(), protocol)
					if err != nil {
						return // the host has ended
					}
					select {
					case opened <- struct{}{}:
					default:
					}
					all.Go(func() { _, _ = io.Copy(io.Discard, s) })
					_, _ = s.Write(make([]byte, rand.N(8<<20)))
					_ = s.Close()
				}
			})
		}
		for range 1 + rand.N(6) { // somewhere in the middle
			<-opened
		}
		require.NoError(t, a.Close())
		select {
		case err := <-ran:
			require.NoError(t, err)
		case <-time.After(lingerTime):
			t.Fatal("the host does not end")
		}
		all.Wait()
	}
}
