package gossip

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
)

func newTestTransport(t *testing.T, h *memhost) (*transport, *counters) {
	count := &counters{}
	cfg := &Config{Packets: h, Streams: h.listener(), Dial: h.dial}
	return newTransport(t.Context(), cfg, h.addr, count), count
}

// A stranger who opens streams and says nothing holds maxStreams of them, until
// they end by themselves.
func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemnet()
		h, stranger := n.host("10.0.0.1:7946"), n.host("10.0.0.2:7946")
		tr, count := newTestTransport(t, h)
		done := make(chan error, 1)
		go func() { done <- tr.acceptStreams() }()
		var mine []net.Conn
		var theirs []net.Conn
		for range maxStreams + 10 {
			c, err := stranger.dial(t.Context(), "10.0.0.1:7946")
			require.NoError(t, err)
			mine = append(mine, c)
			synctest.Wait()
			select {
			case c := <-tr.StreamCh():
				theirs = append(theirs, c)
			default:
			}
		}
		require.Len(t, theirs, maxStreams)
		require.EqualValues(t, 10, count.streamsRefused.Load())
		time.Sleep(streamLife + time.Second)
		_, err := mine[0].Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "its life is over")
		synctest.Wait()
		tr.mu.Lock()
		require.Empty(t, tr.open)
		require.Zero(t, tr.theirs)
		tr.mu.Unlock()
		require.NoError(t, tr.Shutdown())
		require.NoError(t, tr.Shutdown())
		require.NoError(t, <-done)
	})
}

func TestStreamEndsAfterAMebibyte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemnet()
		h, stranger := n.host("10.0.0.1:7946"), n.host("10.0.0.2:7946")
		tr, _ := newTestTransport(t, h)
		go func() {
			c := <-stranger.streams
			_, _ = c.Write(make([]byte, 2*streamBytes)) // ends when the other side closes
		}()
		c, err := tr.DialTimeout("10.0.0.2:7946", time.Minute)
		require.NoError(t, err)
		got, err := io.Copy(io.Discard, c)
		require.ErrorIs(t, err, errTooMuch)
		require.EqualValues(t, streamBytes, got)
		require.NoError(t, tr.Shutdown())
	})
}

// Packets that memberlist does not take in time are dropped, and counted.
func TestPacketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemnet()
		h, stranger := n.host("10.0.0.1:7946"), n.host("10.0.0.2:7946")
		tr, count := newTestTransport(t, h)
		done := make(chan error, 1)
		go func() { done <- tr.readPackets() }()
		for range packetQueue + 5 {
			_, err := stranger.WriteTo([]byte("x"), h.LocalAddr())
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		require.EqualValues(t, 5, count.packetsDropped.Load())
		require.NoError(t, tr.Shutdown())
		require.NoError(t, <-done)
	})
}

// A dial into nowhere ends soon, whatever memberlist would wait.
func TestDialIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, _ := newTestTransport(t, newMemnet().host("10.0.0.1:7946"))
		began := time.Now()
		_, err := tr.DialTimeout("10.0.0.9:7946", time.Hour)
		require.Error(t, err)
		require.Equal(t, dialTimeout, time.Since(began))
	})
}

func TestLiteral(t *testing.T) {
	for _, bad := range []string{"", "robot:7946", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:x", ":7946"} {
		_, err := literal(bad)
		require.Error(t, err, bad)
	}
	a, err := literal("[::ffff:10.0.0.1]:7946")
	require.NoError(t, err)
	require.Equal(t, netip.MustParseAddrPort("10.0.0.1:7946"), a)
}

func TestParseLine(t *testing.T) {
	for line, want := range map[string]struct {
		level slog.Level
		text  string
	}{
		"[DEBUG] memberlist: Stream connection\n": {slog.LevelDebug, "Stream connection"},
		"[INFO] memberlist: Marking 3 as failed":  {slog.LevelInfo, "Marking 3 as failed"},
		"[WARN] memberlist: x] y":                 {slog.LevelWarn, "x] y"},
		"[ERR] memberlist: Push/Pull failed":      {slog.LevelWarn, "Push/Pull failed"},
		"[ERROR] memberlist: Encryption":          {slog.LevelWarn, "Encryption"},
		"Err: Could not set the deadline":         {slog.LevelInfo, "Err: Could not set the deadline"},
		"[odd] thing":                             {slog.LevelInfo, "[odd] thing"},
	} {
		level, text := parseLine(line)
		require.Equal(t, want.level, level, line)
		require.Equal(t, want.text, text, line)
	}
}

func TestBridgeIsBounded(t *testing.T) {
	var out strings.Builder
	count := &counters{}
	b := newBridge(slog.New(slog.NewTextHandler(&out, nil)), count, func(string) {})
	for range 100 {
		b.logger().Printf("[ERR] memberlist: Decrypt packet failed")
	}
	require.InDelta(t, logBurst, strings.Count(out.String(), "Decrypt"), 2)
	require.InDelta(t, 100-logBurst, count.linesSuppressed.Load(), 2)
}

func TestReplaceKeys(t *testing.T) {
	k := func(b byte) []byte { return []byte(strings.Repeat(string(b), KeyBytes)) }
	ring := &memberlist.Keyring{}
	for _, keys := range [][][]byte{
		{k('a')}, {k('a'), k('b')}, {k('b'), k('a')}, {k('c'), k('b')}, {k('d'), k('e'), k('f')}, {k('a')},
	} {
		require.NoError(t, replaceKeys(ring, keys))
		require.Equal(t, keys, ring.GetKeys())
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct{ candidates, alive, want int }{
		{0, 1, 0}, {1, 1, 1}, {10, 1, 7}, {999, 1, 502}, {50, 50, 3}, {1, 99, 1},
	} {
		require.Equal(t, c.want, share(c.candidates, c.alive), "%+v", c)
	}
}

// Whatever the order, every candidate is tried once in a turn.
func TestPickGoesRound(t *testing.T) {
	tried := map[string]bool{}
	times := map[string]int{}
	for range 10 {
		for _, addr := range pick([]string{"a", "b", "c", "d", "e"}, 3, tried) {
			times[addr]++
		}
	}
	for _, addr := range []string{"a", "b", "c", "d", "e"} {
		require.Equal(t, 6, times[addr], addr)
	}
}
