package p2p

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// counted makes a host count its dials.
func counted(dials *atomic.Int64) func(*Config) {
	return func(c *Config) {
		dial := c.Dial
		if dial == nil {
			dial = func(ctx context.Context, addr string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", addr)
			}
		}
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, addr)
		}
	}
}

// countedOn is memNet.on with dials that are counted.
func countedOn(t *testing.T, n *memNet, b *book, dials *atomic.Int64) *Host {
	return b.start(t, 1, func(c *Config) {
		c.Listener, c.Dial = n.listen("10.0.0.1:7000"), n.dial
		counted(dials)(c)
	})
}

// A peer whose machine takes connections while its process does not is waited for once.
func TestDirectToAPeerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		b, n := newBook(), newMemNet()
		a := countedOn(t, n, b, &dials)
		l := n.listen("10.0.0.9:7000")
		var all sync.WaitGroup
		all.Go(func() {
			for {
				if _, err := l.Accept(); err != nil {
					return
				}
			}
		})
		hung := envelope.KeyOf(keyNumber(9))
		b.write(hung, "10.0.0.9:7000")
		inTime(t, handshakeTimeout+time.Second, func() {
			_, err := a.OpenDirect(t.Context(), hung, tongue)
			require.ErrorIs(t, err, ErrUnreachable)
		})
		require.EqualValues(t, 1, dials.Load())
		require.NoError(t, l.Close())
		all.Wait()
	})
}

// A peer that has gone is dialed once, though an old connection to it seems to stand.
func TestDirectToAPeerThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		b, n := newBook(), newMemNet()
		a, z := countedOn(t, n, b, &dials), n.on(t, b, 2)
		require.NoError(t, roundTrip(soon(t), a, z.Key(), 10))
		n.cut()
		b.write(z.Key(), "10.0.0.9:7000")
		dials.Store(0)
		inTime(t, 3*DefaultDialTimeout, func() {
			_, err := a.OpenDirect(t.Context(), z.Key(), tongue)
			require.ErrorIs(t, err, ErrUnreachable)
		})
		require.EqualValues(t, 1, dials.Load())
		require.Empty(t, a.Connected())
	})
}

func TestDirectToAnotherKeyDialsOnce(t *testing.T) {
	var dials atomic.Int64
	b := newBook()
	a, z := b.start(t, 1, counted(&dials)), b.start(t, 2, nil)
	other := envelope.KeyOf(keyNumber(3))
	b.write(other, z.Addr().String())
	_, err := a.OpenDirect(soon(t), other, tongue)
	require.ErrorIs(t, err, ErrWrongKey)
	require.EqualValues(t, 1, dials.Load())
}

// A peer of an older build chooses yamux or nothing. It gets a shared connection, blames
// nobody, and its own streams come as ever.
func TestDirectToAnOlderBuild(t *testing.T) {
	var dials, blamed atomic.Int64
	b := newBook()
	a := b.start(t, 1, counted(&dials))
	z := b.start(t, 2, func(c *Config) {
		c.Refused = func(envelope.Key, string, string) { blamed.Add(1) }
	}, func(h *Host) { h.sec.carry = []string{yamux.ID} })
	for range 2 {
		s, err := a.OpenDirect(soon(t), z.Key(), tongue)
		require.NoError(t, err)
		require.False(t, s.c.alone())
		require.NoError(t, s.Close())
	}
	require.EqualValues(t, 3, dials.Load(), "the shared connection is kept")
	require.Zero(t, blamed.Load())
	require.Eventually(t, func() bool { z.mu.Lock(); defer z.mu.Unlock(); return z.pendings == 0 }, time.Minute, time.Millisecond)
	alone(t, z, a.Key(), tongue)
}

// At this end's limit nobody is asked for what would be thrown away.
func TestDirectWhenFullHere(t *testing.T) {
	var dials atomic.Int64
	b := newBook()
	a := b.start(t, 1, func(c *Config) { c.MaxPeers = 1; counted(&dials)(c) })
	z := b.start(t, 2, nil)
	one := alone(t, a, z.Key(), tongue)
	defer one.Close()
	two, err := a.OpenDirect(soon(t), z.Key(), tongue)
	require.NoError(t, err)
	require.False(t, two.c.alone())
	require.EqualValues(t, 2, dials.Load())
	require.NoError(t, two.Close())
}

// One member cannot take the places of all, with streams or with what remains of them.
func TestDirectOneMemberHasAPart(t *testing.T) {
	b := newBook()
	greedy, other := b.start(t, 1, nil), b.start(t, 3, nil)
	z := b.start(t, 2, func(c *Config) { c.MaxPeers = 2 * directParts }, deafOnes)
	alone(t, greedy, z.Key(), deaf)
	require.NoError(t, alone(t, greedy, z.Key(), deaf).Close()) // it lingers at both ends
	s, err := greedy.OpenDirect(soon(t), z.Key(), deaf)
	require.NoError(t, err)
	require.False(t, s.c.alone())
	alone(t, other, z.Key(), deaf)
	require.Equal(t, 3, directsOf(z))
}

// Whoever is not known here may be a member all the same; it is no flood until it is one.
func TestDirectStrangersAreNotBlamed(t *testing.T) {
	var blamed atomic.Int64
	b := newBook()
	z := b.start(t, 2, func(c *Config) {
		c.Known = func(envelope.Key) bool { return false }
		c.Refused = func(envelope.Key, string, string) { blamed.Add(1) }
	})
	a := b.start(t, 1, nil)
	s, err := a.OpenDirect(soon(t), z.Key(), tongue)
	require.NoError(t, err)
	require.False(t, s.c.alone())
	require.NoError(t, s.Close())
	require.Zero(t, blamed.Load())
	for range strangersBurst {
		if s, err := a.OpenDirect(soon(t), z.Key(), tongue); err == nil {
			_ = s.Reset()
		} else {
			require.ErrorIs(t, err, ErrBusy)
		}
	}
	require.NotZero(t, blamed.Load(), "connections count as much as streams")
}

// A member that is put out loses the connections of its own.
func TestDirectOfAFormerMemberEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBook(), newMemNet()
		a, z := n.on(t, b, 1), n.on(t, b, 2)
		s := alone(t, a, z.Key(), tongue)
		back := alone(t, z, a.Key(), tongue)
		b.write(a.Key())
		inTime(t, sweepInterval+time.Second, func() {
			_, err := s.Read(make([]byte, 1))
			require.ErrorIs(t, err, ErrReset)
		})
		time.Sleep(sweepInterval)
		require.Equal(t, 1, directsOf(z), "whom it is asked by is a's affair")
		require.NoError(t, back.Close())
	})
}

// Who opens a connection and says nothing, or half of it, has it for as long as a
// handshake may take.
func TestDirectWithoutAProposal(t *testing.T) {
	for name, said := range map[string][]byte{"silence": nil, "half a hello": hello(tongue)[:10], "an endless one": {0xff, 0xff, 0xff}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, n := newBook(), newMemNet()
				a, z := n.on(t, b, 1), n.on(t, b, 2)
				require.NoError(t, a.ready(t.Context(), z.Key(), tongue))
				c, err := a.dialPeer(t.Context(), "", z.Key(), true)
				require.NoError(t, err)
				s, err := c.mux.OpenStream(t.Context())
				require.NoError(t, err)
				_, err = s.Write(said)
				require.NoError(t, err)
				time.Sleep(time.Second)
				require.Equal(t, 1, directsOf(z))
				time.Sleep(handshakeTimeout + 2*lingerTime)
				require.Zero(t, directsOf(z))
				z.mu.Lock()
				defer z.mu.Unlock()
				require.Empty(t, z.inbound)
			})
		})
	}
}

// Bytes that go one way alone keep a connection, and so does a peer that reads slowly.
func TestDirectOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mute = "/test/mute/2"
		b, n := newBook(), newMemNet()
		ended := make(chan error, 1)
		a, z := n.on(t, b, 1), n.on(t, b, 2, func(h *Host) {
			h.Handle(mute, func(_ context.Context, s *Stream) {
				defer s.Close()
				var err error
				for err == nil {
					time.Sleep(time.Minute)
					_, err = s.Read(make([]byte, 1000))
				}
				ended <- err
			})
		})
		s := alone(t, a, z.Key(), mute)
		for range 100 {
			_, err := s.Write(make([]byte, 1000))
			require.NoError(t, err)
		}
		require.NoError(t, s.CloseWrite())
		require.Equal(t, io.EOF, <-ended)
		require.NoError(t, s.Close())
	})
}
