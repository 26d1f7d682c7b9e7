package p2p

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// on runs robot n on the network, at address 10.0.0.n.
func (n *memNet) on(t *testing.T, b *book, robot int, handle ...func(*Host)) *Host {
	return b.start(t, robot, func(c *Config) {
		c.Listener = n.listen(fmt.Sprintf("10.0.0.%d:7000", robot))
		c.Dial = n.dial
	}, handle...)
}

func TestVirtualTime(t *testing.T) {
	for _, first := range []protocol.ID{libp2ptls.ID, noise.ID} {
		t.Run(string(first), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, n := newBook(), newMemNet()
				a, z := n.on(t, b, 1), n.on(t, b, 2)
				a.sec.offer = []protocol.ID{first}
				start := time.Now()
				require.NoError(t, roundTrip(soon(t), a, z.Key(), 100_000))
				require.Less(t, time.Since(start), time.Second)
			})
		})
	}
}

// A connection that dies without a word costs one dial timeout and two
// handshakes' worth of latency, not a failure.
func TestSilentDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
		n.cut()
		start := time.Now()
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
		require.Less(t, time.Since(start), DefaultDialTimeout+time.Second)
		require.Len(t, z.conns[a.Key()], 1, "the other side sees that the new one replaces the old")
	})
}

// A peer that restarts and calls us takes the place of what it has forgotten.
func TestNewConnectionReplacesDeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
		old := a.best(z.Key())
		time.Sleep(10 * time.Second)
		n.cut()
		require.NoError(t, z.Close())
		again := n.on(t, b, 2)
		require.NoError(t, roundTrip(soon(t), again, a.Key(), 10))
		require.NotSame(t, old, a.best(z.Key()))
		start := time.Now()
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
		require.Less(t, time.Since(start), time.Second)
	})
}

func TestBlockedReadsEndWithADeadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		s, err := a.Open(soon(t), z.Key(), tongue)
		require.NoError(t, err)
		n.cut()
		start := time.Now()
		_, err = s.Read(make([]byte, 1))
		require.ErrorIs(t, err, ErrReset)
		require.LessOrEqual(t, time.Since(start), keepAlive+2*stallTimeout+time.Second)
		require.NoError(t, s.Close())
	})
}

func TestUnreachableTakesOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a := n.on(t, b, 1)
		lost := envelope.KeyOf(keyNumber(9))
		b.write(lost, "10.0.0.9:7000")
		start := time.Now()
		_, err := a.Open(t.Context(), lost, tongue)
		require.ErrorIs(t, err, ErrUnreachable)
		require.Equal(t, DefaultDialTimeout, time.Since(start))

		// An address that fails is not asked first again once another has worked.
		z := n.on(t, b, 2)
		b.write(z.Key(), "10.0.0.9:7000", "10.0.0.2:7000")
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
		a.Disconnect(z.Key())
		start = time.Now()
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
		require.Less(t, time.Since(start), time.Second)
	})
}

// A caller that gives up takes nobody else's dial with it.
func TestDialsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		b.write(z.Key(), "10.0.0.9:7000", "10.0.0.2:7000")
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- roundTrip(hasty, a, z.Key(), 10) }()
		synctest.Wait()
		go func() { second <- roundTrip(soon(t), a, z.Key(), 10) }()
		require.ErrorIs(t, <-first, context.DeadlineExceeded)
		require.NoError(t, <-second)
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a := n.on(t, b, 1)
		z := n.on(t, b, 2, func(h *Host) { h.Handle("/test/hold/1", hold) })
		s, err := a.Open(soon(t), z.Key(), "/test/hold/1")
		require.NoError(t, err)
		time.Sleep(10 * DefaultIdleTimeout)
		require.Len(t, a.Connected(), 1, "a stream is open")
		require.NoError(t, s.Reset())
		time.Sleep(DefaultIdleTimeout + 2*sweepInterval)
		require.Empty(t, a.Connected())
		require.Empty(t, z.Connected())
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
	})
}

func TestStrangersTurnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		z := n.on(t, b, 2, func(h *Host) { h.Handle("/test/hold/1", hold) })
		var members envelope.Key
		for robot, member := range map[int]bool{3: false, 4: true} {
			h := n.on(t, b, robot)
			if !member {
				b.write(h.Key())
			} else {
				members = h.Key()
			}
			_, err := h.OpenAt(soon(t), "10.0.0.2:7000", z.Key(), "/test/hold/1")
			require.NoError(t, err)
		}
		require.Len(t, z.Connected(), 2)
		time.Sleep(StrangerAge + 2*sweepInterval)
		require.Equal(t, []envelope.Key{members}, z.Connected())
		require.Zero(t, z.guests)
	})
}

// A stranger that becomes a member is held to a member's limits at once.
func TestStrangerBecomesMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		b.write(a.Key())
		open := func() error {
			_, err := a.Open(soon(t), z.Key(), tongue)
			return err
		}
		for range MaxStrangerStreams {
			require.NoError(t, open())
		}
		require.ErrorIs(t, open(), ErrBusy)
		require.Equal(t, 1, z.guests)
		b.write(a.Key(), "10.0.0.1:7000")
		require.NoError(t, open())
		require.Zero(t, z.guests)
	})
}

// Whoever sends slowly is cut off by the clock, not by patience.
func TestSlowloris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2, answering)
		start := time.Now()
		s, err := a.Open(soon(t), z.Key(), "/test/ask/1")
		require.NoError(t, err)
		for i := 0; err == nil; i++ {
			time.Sleep(time.Second)
			_, err = s.Write([]byte("\x00\x00\x00\xc8and so on, and so on, and so on")[i : i+1])
		}
		require.ErrorIs(t, err, ErrReset)
		require.LessOrEqual(t, time.Since(start), 12*time.Second)
		require.NoError(t, s.Close())

		// The same before a protocol is named, and before a key is proved.
		raw, err := a.best(z.Key()).mux.OpenStream(t.Context())
		require.NoError(t, err)
		_, err = raw.Read(make([]byte, 1))
		require.Error(t, err)
		silent, err := n.dial(t.Context(), "10.0.0.2:7000")
		require.NoError(t, err)
		buf := make([]byte, 100)
		for err == nil {
			_, err = silent.Read(buf)
		}
		require.LessOrEqual(t, time.Since(start), 12*time.Second+2*handshakeTimeout+time.Second)
		require.NoError(t, silent.Close())
	})
}

// A robot whose clock says 2000 (the bubble's) and one made today trust each other's keys.
func TestClocksDoNotMatter(t *testing.T) {
	today, err := newSecurity(keyNumber(2))
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 2000, time.Now().Year())
		b, n := newBook(), newMemNet()
		a := n.on(t, b, 1)
		z := n.on(t, b, 2, func(h *Host) { h.sec = today })
		a.sec.offer = []protocol.ID{libp2ptls.ID}
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
	})
}

// Both sides dial in the same instant: two connections arise, both sides then
// prefer the same one, and the other falls idle.
func TestSimultaneousDialsSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		errs := make(chan error, 2)
		go func() { errs <- roundTrip(soon(t), a, z.Key(), 10) }()
		go func() { errs <- roundTrip(soon(t), z, a.Key(), 10) }()
		require.NoError(t, <-errs)
		require.NoError(t, <-errs)
		require.Len(t, a.conns[z.Key()], 2)
		require.Equal(t, a.best(z.Key()).outbound, !z.best(a.Key()).outbound)
		for range 3 {
			time.Sleep(DefaultIdleTimeout / 2)
			require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
			require.NoError(t, roundTrip(soon(t), z, a.Key(), 10))
		}
		require.Len(t, a.conns[z.Key()], 1)
		require.Len(t, z.conns[a.Key()], 1)
	})
}

// A host that ends while a peer is slow to answer does not wait for it.
func TestRunEndsPromptly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2, answering)
		called := make(chan error, 1)
		go func() {
			_, err := a.Call(t.Context(), z.Key(), "/test/mute/1", nil, 10)
			called <- err
		}()
		time.Sleep(time.Second)
		n.cut()
		start := time.Now()
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-called, ErrReset)
		a.tasks.Wait()
		require.Less(t, time.Since(start), time.Second)
	})
}
