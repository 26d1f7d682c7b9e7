package artifacts_test

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/pace"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// TestFalseHave: a peer claims all pieces again and again and refuses each. It is named
// and, when it does not mend, left out; what it cost is time only.
func TestFalseHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 3, func(_ int, c *artifacts.Config) { c.UploadBytesPerSec = 100 << 10 })
		im := newImage(60)
		w.nodes[0].x.Hold(im.full(t))
		bad := w.nodes[2]
		act(bad, im, func(v *villain, a wire.Ask) bool {
			return v.send(wire.Refuse{Piece: a.Piece}) && v.send(wire.Have{Pieces: []uint32{a.Piece}})
		})
		_, wait := w.fetch(im, 1)
		wait()
		require.True(t, w.nodes[1].faults(bad, artifacts.FalseHave).Out)
		require.Less(t, bad.sent(), int64(4<<10))
	})
}

// TestStalledIsNamed: a peer takes what it is asked and says nothing more. After a
// minute it is named, and tried less and less often; it is not left out, for a robot
// that drove away looks the same.
func TestStalledIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 3, nil)
		im := newImage(10)
		bad := w.nodes[2]
		act(bad, im, func(*villain, wire.Ask) bool { return true })
		w.nodes[0].x.Hold(im.with(t, func(piece int) bool { return piece > 0 }))
		_, wait := w.fetch(im, 1)
		time.Sleep(10 * time.Minute)
		f := w.nodes[1].faults(bad, artifacts.Stalled)
		require.Equal(t, bad.key, f.From)
		require.False(t, f.Out)
		require.LessOrEqual(t, bad.opens(), 10)
		w.nodes[0].x.Hold(im.full(t)) // else it would wait for ever
		wait()
	})
}

// TestFloodIsNamed: streams above a member's share are refused and told.
func TestFloodIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 2, nil)
		w.nodes[0].x.Hold(newImage(10).full(t))
		for range artifacts.MaxServedPerPeer + 1 {
			w.dial(t, 1, w.nodes[0])
			synctest.Wait()
		}
		require.Equal(t, w.nodes[1].key, w.nodes[0].faults(w.nodes[1], artifacts.Flooded).From)
	})
}

// TestRudeFetcherIsLeftOut: who breaks the protocol three times is not served for ten
// minutes, and then it is again.
func TestRudeFetcherIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 3, nil)
		im := newImage(10)
		w.nodes[0].x.Hold(im.full(t))
		rude := func() (answers bool) {
			s, r := w.dial(t, 2, w.nodes[0])
			_ = wire.Write(s, wire.Hello{Format: wire.Format, Manifest: im.m.Digest()}) // fails if it is refused
			_, err := r.Read()
			if err == nil {
				_ = wire.Write(s, wire.Ask{Piece: 1 << 20})
			}
			for err == nil {
				_, err = r.Read()
			}
			synctest.Wait()
			return !w.nodes[0].faults(w.nodes[2], artifacts.BrokeProtocol).Out || errors.Is(err, os.ErrDeadlineExceeded)
		}
		require.True(t, rude())
		require.True(t, rude())
		require.False(t, rude(), "the third time is told")
		opened := func() bool {
			s, r := w.dial(t, 2, w.nodes[0])
			defer s.Close()
			if wire.Write(s, wire.Hello{Format: wire.Format, Manifest: im.m.Digest()}) != nil {
				return false
			}
			_, err := r.Read()
			return err == nil
		}
		require.False(t, opened())
		_, wait := w.fetch(im, 1)
		wait() // others are served
		time.Sleep(11 * time.Minute)
		require.True(t, opened(), "it is forgiven")
	})
}

// TestIdleTakersGiveWay: members that hold every place and ask for nothing lose them to
// one that wants something.
func TestIdleTakersGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = artifacts.MaxServed / artifacts.MaxServedPerPeer
		w := newSwarm(t, crowd+2, nil)
		ims := []*image{newImage(8), newImage(9), newImage(10), newImage(11)} // one stream each: a second one for an image takes the first one's place
		for _, im := range ims {
			w.nodes[0].x.Hold(im.full(t))
		}
		for i := range crowd {
			for _, im := range ims {
				s, r := w.dial(t, i+2, w.nodes[0])
				require.NoError(t, wire.Write(s, wire.Hello{Format: wire.Format, Manifest: im.m.Digest()}))
				go func() {
					for {
						if _, err := r.Read(); err != nil {
							return
						}
					}
				}()
			}
		}
		start := time.Now()
		_, wait := w.fetch(ims[0], 1)
		wait()
		require.Less(t, time.Since(start), 2*time.Minute)
	})
}

// TestMemoryOfManyLiars: what ten hostile senders keep of a fetcher's memory is bounded,
// whatever they announce and send.
func TestMemoryOfManyLiars(t *testing.T) {
	im := newImage(60)
	var before, after runtime.MemStats
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, artifacts.MaxSessions+1, func(_ int, c *artifacts.Config) { c.Seed = false })
		for _, bad := range w.nodes[:artifacts.MaxSessions] {
			act(bad, im, func(v *villain, a wire.Ask) bool {
				n := firstOf(im, a)
				v.send(wire.Data{Chunk: uint32(n), Encoding: wire.Zstd, Bytes: make([]byte, manifest.MaxChunkBytes)})
				return true
			})
		}
		runtime.GC()
		runtime.ReadMemStats(&before)
		w.fetch(im, artifacts.MaxSessions)
		time.Sleep(500 * time.Millisecond)
		runtime.GC()
		runtime.ReadMemStats(&after)
		require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(artifacts.MaxSessions*1<<20), "bytes for ten peers")
		w.cancel()
	})
}

// TestLookSlowsTheSeed: while probes are late a seed sends at half its rate and less,
// and when they are well again it recovers.
func TestLookSlowsTheSeed(t *testing.T) {
	took := func(look func() pace.Look) time.Duration {
		var d time.Duration
		synctest.Test(t, func(t *testing.T) {
			w := newSwarm(t, 2, func(i int, c *artifacts.Config) {
				c.UploadBytesPerSec = 200 << 10
				if i == 0 {
					c.Look = look
				}
			})
			im := newImage(60)
			w.nodes[0].x.Hold(im.full(t))
			start := time.Now()
			_, wait := w.fetch(im, 1)
			wait()
			d = time.Since(start)
		})
		return d
	}
	n := uint64(0)
	late := func() pace.Look {
		n++
		return pace.Look{Strain: pace.Strain{Probes: n, Trip: time.Second, Least: 10 * time.Millisecond}}
	}
	well := took(func() pace.Look { return pace.Look{} })
	require.InDelta(t, took(nil).Seconds(), well.Seconds(), 4, "looking costs nothing")
	require.Greater(t, took(late), 2*well)
	require.Greater(t, took(func() pace.Look { return pace.Look{Floor: true} }), 5*well)
}

// TestPeerRate: one member takes no more than its share, though the node could send more;
// and both ends have measured what went.
func TestPeerRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 2, func(_ int, c *artifacts.Config) { c.PeerBytesPerSec = 200 << 10 })
		im := newImage(60)
		w.nodes[0].x.Hold(im.full(t))
		start := time.Now()
		_, wait := w.fetch(im, 1)
		wait()
		require.InDelta(t, float64(w.nodes[0].sent())/(200<<10), time.Since(start).Seconds(), 1)
		up := w.nodes[0].x.Rates()
		require.Len(t, up, 1)
		require.Equal(t, w.nodes[1].key, up[0].Peer)
		require.InDelta(t, 200<<10, up[0].Up, 60<<10)
		down := w.nodes[1].x.Rates()
		require.Len(t, down, 1)
		require.InDelta(t, 250<<10, down[0].Down, 150<<10, "of the image, which compresses a little")
	})
}

// TestWords: what members say beside chunks stays small however narrow the link: nine
// robots and a seed on 25 kB/s each.
func TestWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 10, func(_ int, c *artifacts.Config) {
			c.UploadBytesPerSec, c.Retry = 25<<10, 5*time.Second
		})
		im := newImage(100)
		w.nodes[0].x.Hold(im.full(t))
		_, wait := w.fetch(im, upTo(9)...)
		wait()
		var all, chunks int64
		for i, m := range w.nodes {
			all += m.sent()
			chunks += w.stats(i, im).WireBytes
		}
		words := all - chunks
		t.Logf("%d bytes of chunks, %d bytes of words: %.2f %%", chunks, words, 100*float64(words)/float64(chunks))
		require.Less(t, float64(words), 0.01*float64(chunks))
	})
}

// TestHonestMembersAreNotBlamed: pieces are handed over from slow members to quick ones,
// and nobody is at fault.
func TestHonestMembersAreNotBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 9, func(i int, c *artifacts.Config) {
			c.UploadBytesPerSec = 20 << 10
			if i%3 == 0 {
				c.UploadBytesPerSec = 2 << 20
			}
		})
		im := newImage(150)
		w.nodes[0].x.Hold(im.full(t))
		_, wait := w.fetch(im, upTo(8)...)
		wait()
		for i, m := range w.nodes {
			require.Zero(t, count[artifacts.PeerFault](m), "node %d", i)
		}
	})
}
