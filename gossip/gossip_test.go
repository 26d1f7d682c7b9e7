package gossip

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/starling-swarm/starling/gossip/member"
)

// sockets opens both sockets on one loopback port.
func sockets(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 { // the port may be taken for the other protocol
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return p, l
		}
		require.NoError(t, l.Close())
	}
	t.Fatal("no port is free for both protocols")
	return nil, nil
}

// noLeaks waits until no goroutine is left: those that were told to end take their
// time on a busy machine.
func noLeaks(t *testing.T) {
	err := goleak.Find()
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); {
		err = goleak.Find()
	}
	require.NoError(t, err)
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func goodConfig(t *testing.T) Config {
	p, l := sockets(t)
	return Config{
		Self: 1, Swarm: "field", Keys: [][]byte{testKey}, Packets: p, Streams: l, Dial: dialTCP,
		Profile: Local, Log: slog.New(slog.DiscardHandler),
	}
}

func TestNewComplains(t *testing.T) {
	for what, spoil := range map[string]func(*Config){
		"roster":          func(c *Config) { c.Self = member.MaxMembers },
		"swarm":           func(c *Config) { c.Swarm = "" },
		"swarm \"sssss":   func(c *Config) { c.Swarm = strings.Repeat("s", 33) },
		"0 gossip keys":   func(c *Config) { c.Keys = nil },
		"5 gossip keys":   func(c *Config) { c.Keys = [][]byte{testKey, testKey, testKey, testKey, testKey} },
		"16 bytes":        func(c *Config) { c.Keys = [][]byte{testKey[:16]} },
		"dial are needed": func(c *Config) { c.Dial = nil },
		"profile 9":       func(c *Config) { c.Profile = 9 },
		"0.0.0.0:7946":    func(c *Config) { c.Advertise = "0.0.0.0:7946" },
		"robot:7946":      func(c *Config) { c.Advertise = "robot:7946" },
	} {
		t.Run(what, func(t *testing.T) {
			c := goodConfig(t)
			spoil(&c)
			_, err := New(c)
			require.ErrorIs(t, err, ErrConfig)
			require.ErrorContains(t, err, what)
			require.ErrorIs(t, c.Streams.Close(), net.ErrClosed, "New owns the sockets")
		})
	}
}

func TestCloseWithoutRun(t *testing.T) {
	c := goodConfig(t)
	m, err := New(c)
	require.NoError(t, err)
	require.ErrorIs(t, m.Leave(t.Context()), ErrNotRunning)
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	require.ErrorIs(t, c.Streams.Close(), net.ErrClosed)
	require.ErrorIs(t, m.Run(t.Context()), ErrRan)
}

func TestCloseEndsRun(t *testing.T) {
	m, err := New(goodConfig(t))
	require.NoError(t, err)
	end := make(chan error, 1)
	go func() { end <- m.Run(t.Context()) }()
	<-m.Changes() // it sees itself
	require.NoError(t, m.Close())
	require.NoError(t, <-end)
	require.NoError(t, m.Close())
}

// Somebody else closes a socket: Run says so.
func TestLostSocketEndsRun(t *testing.T) {
	c := goodConfig(t)
	m, err := New(c)
	require.NoError(t, err)
	end := make(chan error, 1)
	go func() { end <- m.Run(t.Context()) }()
	<-m.Changes()
	require.NoError(t, c.Packets.Close())
	require.ErrorIs(t, <-end, net.ErrClosed)
	require.NoError(t, m.Close())
}

// Real sockets on 127.0.0.1: five members meet, hear of an order, and one leaves.
func TestLoopback(t *testing.T) {
	defer noLeaks(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var nodes []*Membership
	var seed string
	ends := make(chan error, 5)
	for i := range 5 {
		c := goodConfig(t)
		c.Self = member.Index(i)
		if i == 0 {
			seed = c.Streams.Addr().String()
		}
		c.Seeds = func() []string { return []string{seed} }
		m, err := New(c)
		require.NoError(t, err)
		nodes = append(nodes, m)
		go func() { ends <- m.Run(ctx) }()
	}
	until := func(what string, ok func(m *Membership) bool) {
		for _, m := range nodes {
			for !ok(m) {
				select {
				case <-m.Changes():
				case <-ctx.Done():
					t.Fatalf("%s: member %d sees %v", what, m.cfg.Self, m.Members())
				}
			}
		}
	}
	until("five meet", func(m *Membership) bool { return m.Stats().Alive == 5 })
	nodes[2].Announce(pointer(3))
	for _, m := range []*Membership{nodes[0], nodes[1], nodes[3], nodes[4]} {
		select {
		case h := <-m.Pointers():
			require.Equal(t, Heard{pointer(3), 2}, h)
		case <-ctx.Done():
			t.Fatal("not told")
		}
	}
	require.NoError(t, nodes[4].Leave(ctx))
	until("one left", func(m *Membership) bool {
		row, _ := m.Lookup(4)
		return row.State == Left
	})
	for _, m := range nodes {
		require.NoError(t, m.Close())
		require.NoError(t, <-ends)
	}
}
