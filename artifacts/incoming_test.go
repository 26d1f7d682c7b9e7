package artifacts

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/artifacts/store/storetest"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// noted is a store that notes what it is asked to write.
type noted struct {
	*store.Mem
	runs [][2]int // the first chunk, and how many bytes
}

func (n *noted) WriteRun(first int, data []byte) (int, error) {
	n.runs = append(n.runs, [2]int{first, len(data)})
	return n.Mem.WriteRun(first, data)
}

// nobody is a swarm without members.
type nobody struct{}

func (nobody) Candidates() []envelope.Key                         { return nil }
func (nobody) Open(context.Context, envelope.Key) (Stream, error) { return nil, context.Canceled }

// newIncoming is a session that was asked for every chunk of the sample.
func newIncoming(t *testing.T, sample *storetest.Sample) (*incoming, *noted) {
	x, err := New(Config{Peers: nobody{}})
	require.NoError(t, err)
	s := &noted{Mem: store.NewMem(sample.Manifest)}
	t.Cleanup(x.Hold(s))
	f := newFetch(x, x.image(s.Digest()), s)
	in := &incoming{s: newSession(f, envelope.Key{1}, time.Now(), func() {}), talk: talk{pieces: len(f.h.pieces)}}
	for i, p := range f.h.pieces {
		var all manifest.Bitmap
		for k := range p.Count {
			all = all.With(k)
		}
		in.s.expect(i, all)
	}
	return in, s
}

// TestSlowLinkDoesNotGather sends chunks as a radio would.
func TestSlowLinkDoesNotGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sample := storetest.NewSample(1)
		in, s := newIncoming(t, sample)
		for n := range sample.Manifest.Chunks {
			time.Sleep(runTime)
			require.NoError(t, in.data(t.Context(), wire.Data{Chunk: uint32(n), Bytes: sample.Chunk(n)}))
			require.True(t, s.HasChunk(n), "chunk %d waits", n)
		}
	})
}

// TestGathered sends chunks without a pause, out of order once, and with a pause once.
func TestGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sample := storetest.NewSample(1)
		in, s := newIncoming(t, sample)
		chunks := sample.Manifest.Chunks
		last := len(chunks) - 1
		send := func(n int) {
			require.NoError(t, in.data(t.Context(), wire.Data{Chunk: uint32(n), Bytes: bytes.Clone(sample.Chunk(n))}))
		}
		send(last) // the first to come is not known to be fast
		for n := range last {
			if n == last/2 {
				time.Sleep(2 * runTime) // what comes then ends the run
			}
			send(n)
		}
		require.NoError(t, in.flush(t.Context()))
		require.True(t, s.Complete())
		storetest.RequireChunks(t, sample, s.Mem)

		require.Equal(t, [2]int{last, int(chunks[last].Bytes)}, s.runs[0])
		next, most := 0, 0
		for _, r := range s.runs[1:] {
			require.Equal(t, next, r[0], "runs follow each other")
			for left := r[1]; left > 0; next++ {
				left -= int(chunks[next].Bytes)
			}
			most = max(most, r[1])
			require.LessOrEqual(t, r[1], runBytes)
		}
		require.Greater(t, most, runBytes/2)
		require.Less(t, len(s.runs), last/2)
	})
}

// TestWrongChunkInRun finds the liar's chunk among right ones, which are kept.
func TestWrongChunkInRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sample := storetest.NewSample(1)
		in, s := newIncoming(t, sample)
		const bad = 3
		for n := range 6 {
			b := bytes.Clone(sample.Chunk(n))
			if n == bad {
				b[0] ^= 1
			}
			require.NoError(t, in.data(t.Context(), wire.Data{Chunk: uint32(n), Bytes: b}))
		}
		var wrong *wrongChunk
		require.ErrorAs(t, in.frame(t.Context(), wire.Sent{Piece: 0}), &wrong)
		require.Equal(t, bad, wrong.chunk)
		for n := range 6 {
			require.Equal(t, n < bad, s.HasChunk(n), "chunk %d", n)
		}
		require.NoError(t, in.flush(t.Context()), "it is said once")
	})
}
