package artifacts_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// A villain is the serving end of a stream in hostile hands.
type villain struct {
	im *image
	s  artifacts.Stream
	r  *wire.Reader
}

// act makes m hostile: it claims to hold all of im, and answers each Ask with answer,
// which returns false to hang up.
func act(m *node, im *image, answer func(v *villain, a wire.Ask) bool) {
	m.handle = func(_ context.Context, s artifacts.Stream, _ envelope.Key) {
		defer s.Close()
		v := &villain{im, s, wire.NewReader(bufio.NewReader(s))}
		if _, err := v.r.Read(); err != nil {
			return
		}
		all := manifest.NewBitmap(len(im.m.Pieces()))
		for i := range im.m.Pieces() {
			all = all.With(i)
		}
		if !v.send(wire.Hello{Format: wire.Format, Manifest: im.m.Digest(), Have: all}) {
			return
		}
		for {
			f, err := v.r.Read()
			if err != nil {
				return
			}
			if a, ok := f.(wire.Ask); ok && !answer(v, a) {
				return
			}
		}
	}
}

func (v *villain) send(f wire.Frame) bool { return wire.Write(v.s, f) == nil }

// chunks sends what was asked for, as bend makes it, and Sent.
func (v *villain) chunks(a wire.Ask, bend func(n int, b []byte) wire.Data) bool {
	for _, k := range a.Chunks.All() {
		n := v.im.m.Pieces()[a.Piece].First + k
		if !v.send(bend(n, v.im.chunks[n])) {
			return false
		}
	}
	return v.send(wire.Sent{Piece: a.Piece})
}

func good(n int, b []byte) wire.Data { return wire.Data{Chunk: uint32(n), Bytes: b} }

func flipped(n int, b []byte) wire.Data {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return good(n, b)
}

// bomb is a small zstd frame of 64 MiB of zeros.
func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	enc, err := zstd.NewWriter(&b, zstd.WithWindowSize(128<<10))
	require.NoError(t, err)
	_, err = io.CopyN(enc, zeros{}, 64<<20)
	require.NoError(t, err)
	require.NoError(t, enc.Close())
	require.Less(t, b.Len(), 64<<10)
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestHostile lets two robots fetch from a seed and a peer that misbehaves. They finish
// in good time, hold the right bytes, and the peer cost them little.
func TestHostile(t *testing.T) {
	im := newImage(60)
	explosive := bomb(t)
	last := uint32(len(im.chunks) - 1)
	for name, c := range map[string]struct {
		answer func(v *villain, a wire.Ask) bool
		out    bool // it is left out
		named  bool // and named, for wrong bytes
		chunks int  // worth of bytes that it may cost each robot
	}{
		"wrong bytes": {func(v *villain, a wire.Ask) bool { return v.chunks(a, flipped) }, true, true, 4},
		"short chunk": {func(v *villain, a wire.Ask) bool {
			return v.chunks(a, func(n int, b []byte) wire.Data { return good(n, b[1:]) })
		}, true, true, 4},
		"oversized chunk": {func(v *villain, a wire.Ask) bool {
			return v.chunks(a, func(n int, b []byte) wire.Data { return good(n, append(bytes.Clone(b), 0)) })
		}, true, true, 4},
		"oversized frame": {func(v *villain, a wire.Ask) bool {
			return v.send(wire.Data{Chunk: 0, Bytes: make([]byte, 2*manifest.MaxChunkBytes)})
		}, true, false, 4},
		"bomb": {func(v *villain, a wire.Ask) bool {
			return v.chunks(a, func(n int, _ []byte) wire.Data {
				return wire.Data{Chunk: uint32(n), Encoding: wire.Zstd, Bytes: explosive}
			})
		}, true, true, 4},
		"not zstd": {func(v *villain, a wire.Ask) bool {
			return v.chunks(a, func(n int, b []byte) wire.Data {
				return wire.Data{Chunk: uint32(n), Encoding: wire.Zstd, Bytes: b}
			})
		}, true, true, 4},
		"chunk that nobody asked for": {func(v *villain, a wire.Ask) bool {
			other := (a.Piece + 1) % uint32(len(im.m.Pieces()))
			n := im.m.Pieces()[other].First
			return v.send(good(n, im.chunks[n]))
		}, true, false, 4},
		"chunk that there is not": {func(v *villain, a wire.Ask) bool {
			return v.send(wire.Data{Chunk: last + 1, Bytes: []byte("x")}) && v.send(wire.Data{Chunk: 1 << 31, Bytes: []byte("x")})
		}, true, false, 4},
		"the same chunk without end": {func(v *villain, a wire.Ask) bool {
			n := im.m.Pieces()[a.Piece].First
			for v.send(good(n, im.chunks[n])) {
			}
			return false
		}, true, false, 6},
		"sent without sending": {func(v *villain, a wire.Ask) bool { return v.send(wire.Sent{Piece: a.Piece}) }, true, false, 1},
		"sent what was not asked": {func(v *villain, a wire.Ask) bool {
			return v.send(wire.Sent{Piece: (a.Piece + 1) % uint32(len(im.m.Pieces()))})
		}, true, false, 1},
		"chatter without end": {func(v *villain, a wire.Ask) bool {
			for v.send(wire.Have{Pieces: []uint32{0}}) && v.send(wire.Lost{Pieces: []uint32{0}}) {
			}
			return false
		}, true, false, 1},
		"piece that there is not": {func(v *villain, a wire.Ask) bool { return v.send(wire.Have{Pieces: []uint32{1 << 20}}) }, true, false, 1},
		"asks a fetcher":          {func(v *villain, a wire.Ask) bool { return v.send(a) }, true, false, 1},
		"garbage": {func(v *villain, a wire.Ask) bool {
			_, err := v.s.Write(bytes.Repeat([]byte{0xff}, 1000))
			return err == nil
		}, true, false, 1},
		"refuses all":    {func(v *villain, a wire.Ask) bool { return v.send(wire.Refuse{Piece: a.Piece}) }, false, false, 1},
		"never answers":  {func(*villain, wire.Ask) bool { return true }, false, false, 1},
		"hangs up":       {func(*villain, wire.Ask) bool { return false }, false, false, 1},
		"stops half way": {func(v *villain, a wire.Ask) bool { return v.send(good(firstOf(im, a), im.chunks[firstOf(im, a)])) }, false, false, 60},
		"hangs up half way": {func(v *villain, a wire.Ask) bool {
			v.send(good(firstOf(im, a), im.chunks[firstOf(im, a)]))
			return false
		}, false, false, 60},
		"drips": {func(v *villain, a wire.Ask) bool {
			time.Sleep(100 * time.Millisecond)
			return v.chunks(a, func(n int, b []byte) wire.Data { time.Sleep(4 * time.Second); return good(n, b) })
		}, false, false, 60},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSwarm(t, 4, func(i int, c *artifacts.Config) { c.UploadBytesPerSec = 1 << 20 })
				w.nodes[0].x.Hold(im.full(t))
				bad := w.nodes[3]
				act(bad, im, c.answer)
				start := time.Now()
				_, wait := w.fetch(im, 1, 2)
				wait()
				require.Less(t, time.Since(start), 45*time.Second)
				require.LessOrEqual(t, bad.sent(), 2*(im.bytesOf(c.chunks)+20<<10), "bytes that it cost")
				for _, m := range w.nodes[1:3] {
					n, out := m.rejected(bad)
					require.Equal(t, c.named, n > 0, "named")
					require.Equal(t, c.named, out, "left out by name")
				}
				if c.out {
					require.LessOrEqual(t, bad.opened, 4, "nobody comes back to who is left out")
				}
				if c.out && !c.named {
					for _, m := range w.nodes[1:3] {
						require.True(t, m.faults(bad, artifacts.BrokeProtocol).Out, "left out by name")
					}
				}
			})
		})
	}
}

func firstOf(im *image, a wire.Ask) int {
	return im.m.Pieces()[a.Piece].First + a.Chunks.All()[0]
}

// TestHello: peers whose first word is wrong, or does not come.
func TestHello(t *testing.T) {
	im := newImage(10)
	for name, hello := range map[string]func(s artifacts.Stream){
		"silent":       func(s artifacts.Stream) { _, _ = io.Copy(io.Discard, s) },
		"gone at once": func(s artifacts.Stream) {},
		"another image": func(s artifacts.Stream) {
			_ = wire.Write(s, wire.Hello{Format: wire.Format, Manifest: manifest.Sum(nil)})
		},
		"not a hello": func(s artifacts.Stream) { _ = wire.Write(s, wire.Sent{}) },
		"claims more than there is": func(s artifacts.Stream) {
			_ = wire.Write(s, wire.Hello{Format: wire.Format, Manifest: im.m.Digest(), Have: bytes.Repeat([]byte{0xff}, wire.MaxBitmapBytes), Seed: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSwarm(t, 3, nil)
				w.nodes[0].x.Hold(im.full(t))
				w.nodes[2].handle = func(_ context.Context, s artifacts.Stream, _ envelope.Key) {
					go func() { _, _ = io.Copy(io.Discard, s) }()
					hello(s)
					_ = s.Close()
				}
				start := time.Now()
				_, wait := w.fetch(im, 1)
				wait()
				require.Less(t, time.Since(start), 10*time.Second)
			})
		})
	}
}

// TestOneLiarInTen: a tenth of the members sends wrong bytes. The rest takes no more than
// a fiftieth of extra bytes for it, and blames nobody else.
func TestOneLiarInTen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 11, func(i int, c *artifacts.Config) { c.UploadBytesPerSec = 1 << 20 })
		im := newImage(200)
		w.nodes[0].x.Hold(im.full(t))
		liar := w.nodes[10]
		act(liar, im, func(v *villain, a wire.Ask) bool { return v.chunks(a, flipped) })
		_, wait := w.fetch(im, upTo(9)...)
		wait()
		require.LessOrEqual(t, float64(liar.sent()), 0.02*float64(9*im.m.Bytes()), "bytes from the liar")
		var extra int64
		for _, m := range w.nodes[:10] {
			if s, ok := m.x.Stats(im.m.Digest()); ok {
				extra += s.SentBytes
			}
			for _, other := range w.nodes[:10] {
				n, _ := m.rejected(other)
				require.Zero(t, n, "an honest member is blamed")
			}
		}
		extra -= 9 * im.m.Bytes()
		t.Logf("with one liar in ten: %.2f %% extra bytes, %.2f %% from the liar", 100*float64(extra)/float64(9*im.m.Bytes()), 100*float64(liar.sent())/float64(9*im.m.Bytes()))
		require.LessOrEqual(t, float64(extra+liar.sent()), 0.02*float64(9*im.m.Bytes()))
	})
}

// dial opens a stream to m as if from member i.
func (w *swarm) dial(t *testing.T, i int, m *node) (artifacts.Stream, *wire.Reader) {
	s, err := w.nodes[i].Open(t.Context(), m.key)
	require.NoError(t, err)
	return s, wire.NewReader(bufio.NewReader(s))
}

// TestFloods: one member opens more streams than it may, many members open more than
// there may be; both are turned away, and those who leave make room.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, artifacts.MaxServed/artifacts.MaxServedPerPeer+3, nil)
		im := newImage(10)
		w.nodes[0].x.Hold(im.full(t))
		refused := func(i int) (artifacts.Stream, bool) {
			s, _ := w.dial(t, i, w.nodes[0])
			_ = s.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) // fails on a stream that is reset already
			_, err := s.Read(make([]byte, 1))
			require.Error(t, err)
			return s, !errors.Is(err, os.ErrDeadlineExceeded)
		}
		var open []artifacts.Stream
		for i := 2; i < len(w.nodes)-1; i++ {
			for k := range artifacts.MaxServedPerPeer + 2 {
				s, no := refused(i)
				require.Equal(t, k >= artifacts.MaxServedPerPeer, no, "member %d, stream %d", i, k)
				open = append(open, s)
			}
		}
		_, no := refused(1)
		require.True(t, no, "all places are taken")
		require.NoError(t, open[0].Close())
		synctest.Wait()
		_, wait := w.fetch(im, 1) // silent streams give their places up in time
		wait()
	})
}

// TestRudeFetchers: the serving side ends streams that break the protocol, and serves on.
func TestRudeFetchers(t *testing.T) {
	im := newImage(40)
	pieces := uint32(len(im.m.Pieces()))
	hello := wire.Hello{Format: wire.Format, Manifest: im.m.Digest()}
	ask := func(p uint32, chunks ...int) wire.Ask {
		var b manifest.Bitmap
		for _, k := range chunks {
			b = b.With(k)
		}
		return wire.Ask{Piece: p, Chunks: b}
	}
	for name, say := range map[string][]wire.Frame{
		"no hello":        {ask(0, 0)},
		"two hellos":      {hello, hello},
		"piece too high":  {hello, ask(pieces, 0)},
		"chunk too high":  {hello, ask(0, 200)},
		"too many asks":   {hello, ask(0, 0, 1), ask(1, 0, 1), ask(2, 0, 1), ask(3, 0, 1), ask(4, 0, 1), ask(5, 0, 1)},
		"asks twice":      {hello, ask(0, 0, 1), ask(1, 0, 1), ask(1, 0, 1)},
		"data":            {hello, wire.Data{Chunk: 1, Bytes: []byte("x")}},
		"offers":          {hello, wire.Offer{Piece: 1}},
		"has too high":    {hello, wire.Have{Pieces: []uint32{pieces}}},
		"lost too high":   {hello, wire.Lost{Pieces: []uint32{1 << 31}}},
		"cancel too high": {hello, wire.Cancel{Piece: pieces}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSwarm(t, 3, func(_ int, c *artifacts.Config) { c.UploadBytesPerSec = 100 << 10 })
				w.nodes[0].x.Hold(im.full(t))
				s, r := w.dial(t, 2, w.nodes[0])
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for {
						if _, err := r.Read(); err != nil {
							return
						}
					}
				}()
				for _, f := range say {
					_ = wire.Write(s, f) // fails once the server has had enough
				}
				<-ended
				_, wait := w.fetch(im, 1)
				wait()
			})
		})
	}
}

// TestFetcherThatDoesNotRead blocks one stream; the others are served meanwhile, and it
// is given up in time. So is a stream that its member has replaced.
func TestFetcherThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSwarm(t, 3, nil)
		im := newImage(40)
		w.nodes[0].x.Hold(im.full(t))
		hello := wire.Hello{Format: wire.Format, Manifest: im.m.Digest()}
		s, r := w.dial(t, 2, w.nodes[0])
		require.NoError(t, wire.Write(s, hello))
		_, err := r.Read()
		require.NoError(t, err)
		again, _ := w.dial(t, 2, w.nodes[0])
		r2 := wire.NewReader(again) // one frame at a time: the second offer finds nobody who reads
		require.NoError(t, wire.Write(again, hello))
		_, err = r2.Read()
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, 1, w.stats(0, im).Takers)
		offer, err := r2.Read()
		require.NoError(t, err)
		require.IsType(t, wire.Offer{}, offer, "the new stream is offered what the old one was")
		_, wait := w.fetch(im, 1) // two pieces are offered to the one who does not read
		wait()
		time.Sleep(2 * time.Minute)
		require.Zero(t, w.stats(0, im).Takers)
	})
}

// TestCancel stops a piece that is on its way and one that waits; one that is on its way
// is not stopped by a Cancel of what waits.
func TestCancel(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newSwarm(t, 2, func(_ int, c *artifacts.Config) { c.Seed, c.UploadBytesPerSec = false, 10<<10 })
			im := newImage(40)
			w.nodes[0].x.Hold(im.full(t))
			s, r := w.dial(t, 1, w.nodes[0])
			all := manifest.Bitmap{0b111}
			for _, f := range []wire.Frame{wire.Hello{Format: wire.Format, Manifest: im.m.Digest()}, wire.Ask{Piece: 1, Chunks: all}, wire.Ask{Piece: 2, Chunks: all}} {
				require.NoError(t, wire.Write(s, f))
			}
			var ends []wire.Frame
			chunks := 0
			for len(ends) < 2 {
				f, err := r.Read()
				require.NoError(t, err)
				switch f.(type) {
				case wire.Data:
					if chunks++; chunks > 1 {
						continue
					}
					for _, piece := range []uint32{1, 2, 3} { // 3 was never asked for
						require.NoError(t, wire.Write(s, wire.Cancel{Piece: piece, Waiting: waiting}))
					}
				case wire.Sent, wire.Refuse:
					ends = append(ends, f)
				}
			}
			if waiting {
				require.Equal(t, []wire.Frame{wire.Refuse{Piece: 2}, wire.Sent{Piece: 1}}, ends)
				require.Equal(t, 3, chunks)
			} else {
				require.ElementsMatch(t, []wire.Frame{wire.Refuse{Piece: 1}, wire.Refuse{Piece: 2}}, ends)
				require.Less(t, chunks, 3)
			}
			require.NoError(t, s.Close())
		})
	}
}

// TestLastWords: a fetch that is complete tells a seed that listens slowly so before it
// leaves.
func TestLastWords(t *testing.T) {
	im := newImage(30)
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			w := newSwarm(t, 2, nil)
			w.nodes[0].x.Hold(im.full(t))
			var told manifest.Bitmap
			answer := w.nodes[0].handle
			w.nodes[0].handle = func(ctx context.Context, s artifacts.Stream, peer envelope.Key) {
				answer(ctx, &listener{Stream: s, told: &told}, peer)
			}
			_, wait := w.fetch(im, 1)
			wait()
			synctest.Wait()
			require.Equal(t, len(im.m.Pieces()), told.Count())
		})
	}
}

// listener notes what Have frames tell, and takes its time to read each frame.
type listener struct {
	artifacts.Stream
	told *manifest.Bitmap
	rest bytes.Buffer
}

func (l *listener) Read(b []byte) (int, error) {
	time.Sleep(50 * time.Millisecond)
	n, err := l.Stream.Read(b)
	l.rest.Write(b[:n])
	for {
		raw := bytes.Clone(l.rest.Bytes())
		left := bytes.NewReader(raw)
		f, e := wire.NewReader(left).Read()
		if e != nil {
			return n, err
		}
		l.rest.Next(len(raw) - left.Len())
		if h, ok := f.(wire.Have); ok {
			for _, i := range h.Pieces {
				*l.told = l.told.With(int(i))
			}
		}
	}
}
