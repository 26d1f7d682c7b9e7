package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/node/join"
)

// Images use only the interfaces they are given, by the address of this machine's end.
func TestWays(t *testing.T) {
	w := &ways{[]string{"wlan0", "mesh0"}, func(name string) ([]netip.Addr, error) {
		if name == "wlan0" {
			return []netip.Addr{netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fe80::1")}, nil
		}
		return nil, errors.New("no such interface")
	}}
	at := func(host string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(host), Port: 7947} }
	require.NoError(t, w.allow(at("10.0.0.3")))
	require.NoError(t, w.allow(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 7947, Zone: "wlan0"}))
	err := w.allow(at("192.168.1.3"))
	require.ErrorIs(t, err, errWay)
	require.ErrorContains(t, err, "192.168.1.3 is not an address of wlan0 or mesh0")
	require.ErrorContains(t, err, "mesh0: no such interface")
	require.NoError(t, newWays(nil).allow(at("192.168.1.3")))

	lo, err := interfaceAddrs("lo")
	if err != nil {
		t.Skip("no interface lo here")
	}
	require.Contains(t, lo, netip.MustParseAddr("127.0.0.1"))
}

// A robot told to use an interface that it does not have fetches nothing; told to use
// the right one, it does.
func TestImagesKeepToTheirInterfaces(t *testing.T) {
	t.Parallel()
	if _, err := interfaceAddrs("lo"); err != nil {
		t.Skip("no interface lo here")
	}
	s := newSwarm(t, 4, "1.0.0")
	s.wait("1.0.0", s.all("1.0.0"))
	good := s.again(3, func(c *Config) { c.Interfaces = []string{"lo"} })
	bad := s.again(2, func(c *Config) { c.Interfaces = []string{"wlan77"} })
	_, err := peers{bad.Node}.Open(t.Context(), s.op.key())
	require.ErrorIs(t, err, errWay)
	x, err := peers{s.op.Node}.Open(t.Context(), bad.key())
	if err == nil { // the stream is taken, and reset before a word is said
		_, err = x.Read(make([]byte, 1))
	}
	require.Error(t, err, "it does not serve either")
	require.Equal(t, "no interface wlan77 with an address is here", bad.Status().Transfer.Waits)
	require.Equal(t, Conditions{Schema: ConditionsSchema, Text: bad.Status().Transfer.Waits, All: bad.Conditions().All}, *bad.Conditions())
	require.Empty(t, good.Status().Transfer.Waits)
	x, err = peers{good.Node}.Open(t.Context(), s.op.key())
	require.NoError(t, err)
	require.NoError(t, x.Reset())
}

// The same fault of the same peer is told once a minute, and counted each time; what is
// kept is bounded.
func TestFaultsAreCounted(t *testing.T) {
	var f faults
	at := time.Unix(1000, 0)
	add := func(who, kind string, after time.Duration, out bool) bool {
		return f.add(PeerFaults{Member: who, Kind: kind, Last: at.Add(after), Out: out})
	}
	require.True(t, add("r01", "protocol", 0, false))
	require.False(t, add("r01", "protocol", time.Second, false))
	require.True(t, add("r01", "protocol", 2*time.Second, true), "that it is left out is news")
	require.True(t, add("r01", "stalled", 2*time.Second, false))
	require.True(t, add("r02", "protocol", 2*time.Second, false))
	require.True(t, add("r01", "protocol", 70*time.Second, true))
	require.EqualValues(t, 4, f.list()[0].Count)
	for i := range 2 * maxFaults {
		add(itoa(i), "flood", 0, false)
	}
	require.Len(t, f.list(), maxFaults)
}

// A member that answers with another document than was asked for, or with more than any
// can have, is named, and the answer is not kept. This test uses a real socket.
func TestAWrongDocumentIsBlamed(t *testing.T) {
	most := join.ReleaseDocument.Limit()
	for protocol, answers := range map[string][][]byte{
		join.DocumentProtocol: { // of a member that cannot pack
			[]byte("not what was asked for"), make([]byte, most+1),
		},
		join.PackedDocumentProtocol: {
			[]byte("\x00not what was asked for"), make([]byte, join.MaxPackedBytes(most)+1), []byte("\x01not a frame"),
		},
	} {
		t.Run(protocol, func(t *testing.T) { blamed(t, protocol, answers) })
	}
}

// blamed has a member answer with nothing and then with these, over a protocol.
func blamed(t *testing.T, protocol string, wrong [][]byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	answers := make(chan []byte, 2)
	liar, err := p2p.New(p2p.Config{Key: newKey(t), Listener: l})
	require.NoError(t, err)
	liar.Handle(protocol, p2p.Answer(1<<10, time.Minute, func(context.Context, envelope.Key, []byte) ([]byte, error) {
		return <-answers, nil
	}))
	n := &Node{wake: newBroadcast(), time: timings["lan"], docs: docs{t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	n.events, err = openEvents(t.TempDir() + "/history")
	require.NoError(t, err)
	n.bulk, err = p2p.New(p2p.Config{Key: newKey(t), Resolve: func(envelope.Key) []string { return []string{l.Addr().String()} }})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, h := range []*p2p.Host{liar, n.bulk} {
		wg.Go(func() { _ = h.Run(ctx) }) // ends with ctx
	}
	defer func() { stop(); wg.Wait() }()
	want := []string{"", "sent something else than the release", "answered with more than a release may have", "sent a release that does not unpack"}
	for i, answer := range slices.Insert(wrong, 0, nil) { // at first it has none
		answers <- answer
		_, err := n.askDocument(ctx, liar.Key(), join.ReleaseDocument, manifest.Sum([]byte("1.0")), []byte("q"))
		require.Error(t, err)
		all := n.faults.list()
		if want[i] == "" {
			require.Empty(t, all)
			continue
		}
		require.Len(t, all, 1)
		require.Contains(t, all[0].Text, want[i])
		require.Equal(t, "wrong-bytes", all[0].Kind)
	}
	require.EqualValues(t, len(wrong), n.faults.list()[0].Count)
	require.Len(t, n.events.since(0), 1, "told once a minute")
	require.NoError(t, n.events.close())
}
