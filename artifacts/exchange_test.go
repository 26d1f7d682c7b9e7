package artifacts_test

import (
	"context"
	"math/bits"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/store"
)

// TestTimeAndSeedShare measures whole exchanges with equal uplinks in virtual time
// against the least possible time: the file once out of the seed, and the last piece
// doubled until all have it.
func TestTimeAndSeedShare(t *testing.T) {
	chunks, most := 800, 1.10
	if slow {
		chunks, most = 200, 1.30 // the fewer pieces, the more the last ones weigh
	}
	for _, fetchers := range []int{4, 12} {
		synctest.Test(t, func(t *testing.T) {
			const uplink = 1 << 20
			w := newSwarm(t, fetchers+1, func(_ int, c *artifacts.Config) { c.UploadBytesPerSec = uplink })
			im := newImage(chunks)
			w.nodes[0].x.Hold(im.full(t))
			start := time.Now()
			_, wait := w.fetch(im, upTo(fetchers)...)
			wait()
			took := time.Since(start).Seconds()
			var wire int64 // compressed, with all frames
			for _, m := range w.nodes {
				wire += m.sent()
			}
			pieces := float64(len(im.m.Pieces()))
			bound := float64(wire) / float64(fetchers) / uplink * (1 + float64(bits.Len(uint(fetchers))-1)/pieces)
			s := w.stats(0, im)
			t.Logf("1+%d, %.0f pieces: %.2f s, %.3f of the bound; the seed sent the file %.3f times", fetchers, pieces, took, took/bound, float64(s.SentBytes)/float64(s.Bytes))
			require.LessOrEqual(t, took, most*bound)
			require.LessOrEqual(t, float64(s.SentBytes), 1.1*float64(s.Bytes))
		})
	}
}

// TestSeedLeavesWhenSafe takes the seed away the moment it may leave.
func TestSeedLeavesWhenSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		safe := make(chan struct{}, 1)
		w := newSwarm(t, 6, func(i int, c *artifacts.Config) {
			c.UploadBytesPerSec = 1 << 20
			if i == 5 {
				c.DownloadBytesPerSec = 1 << 18 // the last to be done
			}
			if i == 0 {
				c.Events = func(e artifacts.Event) {
					if _, ok := e.(artifacts.SafeToLeave); ok {
						safe <- struct{}{}
					}
				}
			}
		})
		im := newImage(150)
		w.nodes[0].x.Hold(im.full(t))
		stores, wait := w.fetch(im, upTo(5)...)
		<-safe
		require.False(t, stores[4].Complete(), "it is safe before all have everything")
		require.True(t, w.stats(0, im).Safe)
		w.partition(func(a, b int) bool { return a == 0 || b == 0 })
		wait()
	})
}

// TestSafeWithOneTaker: the last pieces of a fetch are announced though it is over.
func TestSafeWithOneTaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 2, nil)
		im := newImage(20)
		w.nodes[0].x.Hold(im.full(t))
		_, wait := w.fetch(im, 1)
		wait()
		synctest.Wait()
		require.Equal(t, 1, count[artifacts.SafeToLeave](w.nodes[0]))
		require.True(t, w.stats(0, im).Safe)
		require.Zero(t, w.stats(0, im).Takers)
	})
}

// TestPartition cuts a swarm in two and the seed off: each half finishes what it holds
// jointly, and after the cut heals, all.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 7, nil)
		im := newImage(90)
		pieces := len(im.m.Pieces())
		var stores []*store.Mem
		for i := range 6 { // 0 1 2 hold all but the last piece jointly, 3 4 5 all but the first
			stores = append(stores, im.with(t, func(p int) bool {
				return p%3 == i%3 && p != pieces-1 && i < 3 || p%3 == i%3 && p != 0 && i >= 3
			}))
		}
		w.partition(func(a, b int) bool { return a == 0 || b == 0 || (a <= 3) != (b <= 3) })
		wait := w.fetchInto(stores, upTo(6)...)
		time.Sleep(30 * time.Second)
		for i, s := range stores {
			require.Equal(t, pieces-1, s.Have().Count(), "node %d", i+1)
		}
		w.partition(func(a, b int) bool { return a == 0 || b == 0 })
		wait()
	})
}

// TestResume ends a fetch half way, and another exchange takes up the same store.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		im := newImage(100)
		s := im.empty()
		fetched := 0
		fetch := func(stop int) error {
			w := newSwarm(t, 2, nil)
			w.nodes[0].x.Hold(im.full(t))
			ctx, cancel := context.WithCancel(w.ctx)
			defer cancel()
			before, _ := s.Missing()
			err := w.nodes[1].x.Fetch(ctx, s, func(permille int) {
				if permille >= stop {
					cancel()
				}
			})
			after, _ := s.Missing()
			fetched += before - after
			require.LessOrEqual(t, w.stats(0, im).SentBytes, im.bytesOf(before-after)+2*im.pieceBytes(), "what is sent is fetched, but for what was on its way")
			return err
		}
		require.ErrorIs(t, fetch(500), context.Canceled)
		missing, _ := s.Missing()
		require.Positive(t, missing)
		require.Less(t, missing, 60)
		require.NoError(t, fetch(1001))
		require.Equal(t, 100, fetched, "no chunk is fetched twice")
	})
}

// TestResumeInsidePieces: chunks that are here are not asked for, though their piece
// is not whole.
func TestResumeInsidePieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		im := newImage(60)
		s := im.empty()
		for n := range im.chunks {
			if n%3 != 0 {
				require.NoError(t, s.WriteChunk(n, im.chunks[n]))
			}
		}
		_, missing := s.Missing()
		w := newSwarm(t, 2, nil)
		w.nodes[0].x.Hold(im.full(t))
		w.fetchInto([]*store.Mem{s}, 1)()
		require.Equal(t, missing, w.stats(0, im).SentBytes)
	})
}

// TestDamageIsNotServed flips bits on a server's disk. The server says that it has not
// got the piece, nobody is blamed, and what others hold is fetched from them.
func TestDamageIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 4, func(i int, c *artifacts.Config) { c.Seed, c.UploadBytesPerSec = false, 1<<20 })
		im := newImage(60)
		for i := range 2 {
			s := im.full(t)
			for p, piece := range im.m.Pieces() {
				if p%4 == 2*i {
					require.NoError(t, s.Damage(piece.First))
				}
			}
			w.nodes[i].x.Hold(s)
		}
		_, wait := w.fetch(im, 2, 3)
		wait()
		for _, m := range w.nodes {
			require.Zero(t, count[artifacts.ChunkRejected](m))
		}
	})
}

// TestSeedHealsItsDamage: a seed that finds damage stops offering the piece, and
// when it has fetched it again, offers it.
func TestSeedHealsItsDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 3, nil)
		im := newImage(40)
		damaged := im.full(t)
		w.nodes[0].x.Hold(damaged)
		require.NoError(t, damaged.Damage(7))
		stores, wait := w.fetch(im, 1)
		time.Sleep(time.Minute)
		chunks, _ := stores[0].Missing()
		require.Positive(t, chunks)
		require.LessOrEqual(t, chunks, im.m.Pieces()[0].Count+2)
		require.False(t, w.stats(0, im).Safe)
		// A third member holds the image: the seed fetches from it, while it seeds.
		w.nodes[2].x.Hold(im.full(t))
		healed := w.fetchInto([]*store.Mem{damaged}, 0)
		wait()
		healed()
	})
}

// TestDamageDuringFetch: what a fetch has written is damaged before it ends. The
// fetch is not done before it has the piece again.
func TestDamageDuringFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 3, func(i int, c *artifacts.Config) { c.Seed, c.UploadBytesPerSec = false, 1<<20 })
		im := newImage(60)
		w.nodes[0].x.Hold(im.full(t))
		s := im.with(t, func(p int) bool { return p == 0 })
		require.NoError(t, s.Damage(0))
		// Node 2 lacks only the first piece, and makes node 1 read it. Node 1 fetches from
		// node 0 alone.
		w.partition(func(a, b int) bool { return a+b == 2 && a != b || a == 1 && b == 2 })
		wait := w.fetchInto([]*store.Mem{s, im.with(t, func(p int) bool { return p != 0 })}, 1, 2)
		wait()
		again := im.m.Bytes() - im.m.Pieces()[0].Bytes + int64(im.m.Chunks[0].Bytes)
		require.Equal(t, again, w.stats(0, im).SentBytes, "of the first piece only the damaged chunk is fetched again")
	})
}

// TestTwoStoresOfOneImage: a slot is filled while the other slot, which may not be
// written, holds part of the same image and is served.
func TestTwoStoresOfOneImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 3, nil)
		im := newImage(50)
		w.nodes[0].x.Hold(im.full(t))
		other := im.with(t, func(p int) bool { return p%2 == 0 })
		held, _ := other.Missing()
		release := w.nodes[1].x.Hold(other)
		stores, wait := w.fetch(im, 1)
		wait()
		require.True(t, stores[0].Complete())
		left, _ := other.Missing()
		require.Equal(t, held, left, "the other store is not written")
		release()
		release()
		w.partition(func(a, b int) bool { return a == 0 || b == 0 })
		_, wait = w.fetch(im, 2)
		wait()
	})
}

// TestReleaseEndsStreams: what is no longer held is no longer served.
func TestReleaseEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 2, func(i int, c *artifacts.Config) { c.UploadBytesPerSec = 100 << 10 })
		im := newImage(50)
		release := w.nodes[0].x.Hold(im.full(t))
		stores, wait := w.fetch(im, 1)
		time.Sleep(5 * time.Second)
		release()
		_, held := w.nodes[0].x.Stats(im.m.Digest())
		require.False(t, held)
		time.Sleep(5 * time.Second)
		before, _ := stores[0].Missing()
		time.Sleep(time.Minute)
		after, _ := stores[0].Missing()
		require.Positive(t, after)
		require.Equal(t, before, after)
		w.nodes[0].x.Hold(im.full(t))
		wait()
	})
}

// TestRotation: the ten members listed first have nothing. The eleventh gets its turn.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, artifacts.MaxSessions+4, func(i int, c *artifacts.Config) { c.Seed = false })
		im := newImage(20)
		for _, m := range w.nodes[2:] {
			m.x.Hold(im.empty())
		}
		_, wait := w.fetch(im, 1)
		time.Sleep(20 * time.Second) // sessions with those who have nothing stand
		w.nodes[0].x.Hold(im.full(t))
		start := time.Now()
		wait()
		require.Less(t, time.Since(start), time.Minute)
	})
}

// TestWaitingIsCheap: with nobody to ask, a fetch looks round once per Retry.
func TestWaitingIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		x, err := artifacts.New(artifacts.Config{Peers: lonely{&looks}, Retry: time.Second})
		require.NoError(t, err)
		var told []int
		require.ErrorIs(t, x.Fetch(ctx, newImage(3).empty(), func(p int) { told = append(told, p) }), context.DeadlineExceeded)
		require.LessOrEqual(t, looks, 101)
		require.Equal(t, []int{0}, told)
	})
}

type lonely struct{ looks *int }

func (l lonely) Candidates() []envelope.Key { *l.looks++; return nil }
func (l lonely) Open(context.Context, envelope.Key) (artifacts.Stream, error) {
	return nil, errCut
}

// TestRates: no more is sent, and no more is taken in, than the limits say.
func TestRates(t *testing.T) {
	for name, limit := range map[string]func(i int, c *artifacts.Config){
		"upload":        func(i int, c *artifacts.Config) { c.UploadBytesPerSec = 100 << 10 },
		"download":      func(i int, c *artifacts.Config) { c.DownloadBytesPerSec = 100 << 10 },
		"slow download": func(i int, c *artifacts.Config) { c.DownloadBytesPerSec = 5 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c artifacts.Config
				limit(1, &c)
				rate := max(c.UploadBytesPerSec, c.DownloadBytesPerSec)
				w := newSwarm(t, 2, limit)
				im := newImage(30)
				w.nodes[0].x.Hold(im.full(t))
				start := time.Now()
				_, wait := w.fetch(im, 1)
				wait()
				took := time.Since(start).Seconds()
				want := float64(w.nodes[0].sent()) / float64(rate)
				require.InEpsilon(t, want, took, 0.1, "at %d bytes per second", rate)
				require.Equal(t, im.m.Bytes(), w.stats(0, im).SentBytes, "nothing is sent twice")
			})
		})
	}
}

// TestLimitsChange: limits that are set while an image is fetched count for the rest of
// it, on either side, down and up; and whoever waits for a rate that is no more waits no
// longer.
func TestLimitsChange(t *testing.T) {
	const slow, fast, after = 50 << 10, 200 << 10, 10 * time.Second
	for name, c := range map[string]struct {
		node     int
		from, to artifacts.Limits
		left     float64 // bytes per second after the change
	}{
		"less is sent":      {0, artifacts.Limits{Up: fast}, artifacts.Limits{Up: slow}, slow},
		"more is sent":      {0, artifacts.Limits{Up: slow}, artifacts.Limits{Up: fast}, fast},
		"less to one":       {0, artifacts.Limits{Peer: fast}, artifacts.Limits{Peer: slow}, slow},
		"less is taken in":  {1, artifacts.Limits{Down: fast}, artifacts.Limits{Down: slow}, slow},
		"more is taken in":  {1, artifacts.Limits{Down: slow}, artifacts.Limits{Down: fast}, fast},
		"as much as can be": {0, artifacts.Limits{Up: slow}, artifacts.Limits{}, 1 << 40},
		"next to nothing":   {0, artifacts.Limits{Up: 100}, artifacts.Limits{Up: fast}, fast},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSwarm(t, 2, nil)
				im := newImage(150)
				w.nodes[0].x.Hold(im.full(t))
				x := w.nodes[c.node].x
				x.SetLimits(c.from)
				var before int64
				time.AfterFunc(after, func() {
					before = w.nodes[0].sent()
					x.SetLimits(c.to)
				})
				start := time.Now()
				_, wait := w.fetch(im, 1)
				wait()
				require.Less(t, before, im.m.Bytes()/2, "the change came in time")
				took := (time.Since(start) - after).Seconds()
				want := float64(w.nodes[0].sent()-before) / c.left
				require.InDelta(t, want, took, want/10+1)
			})
		})
	}
}

// TestManyAtOnce runs fetches, holds, releases and cuts side by side, for the race
// detector.
func TestManyAtOnce(t *testing.T) {
	w := newSwarm(t, 5, nil)
	a, b := newImage(30), newImage(31)
	w.nodes[0].x.Hold(a.full(t))
	w.nodes[0].x.Hold(b.full(t))
	var wg sync.WaitGroup
	for _, im := range []*image{a, b} {
		_, wait := w.fetch(im, 1, 2, 3, 4)
		wg.Go(wait)
	}
	for i := range 20 {
		w.nodes[i%5].x.Hold(a.empty())()
		w.nodes[i%5].x.Gone(w.nodes[(i+1)%5].key)
		w.nodes[i%5].x.SetLimits(artifacts.Limits{Up: int64(i%3) << 24, Down: int64(i%2) << 24, Peer: int64(i%4) << 24})
		w.partition(func(x, y int) bool { return x == i%5 })
		w.partition(nil)
	}
	wg.Wait()
}

func TestConfig(t *testing.T) {
	_, err := artifacts.New(artifacts.Config{UploadBytesPerSec: -1})
	require.ErrorContains(t, err, "needs Peers")
	require.ErrorContains(t, err, "negative")
}
