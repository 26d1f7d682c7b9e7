package artifacts

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

// counted counts how often a store is read.
type counted struct {
	*store.Mem
	chunks, runs int
}

func (c *counted) ReadChunk(n int, buf []byte) ([]byte, error) {
	c.chunks++
	return c.Mem.ReadChunk(n, buf)
}

func (c *counted) ReadRun(first, end int, buf []byte) ([]byte, error) {
	c.runs++
	return c.Mem.ReadRun(first, end, buf)
}

// TestAhead reads what is asked for, with gaps, while a chunk is damaged and another has
// just come.
func TestAhead(t *testing.T) {
	sample := storetest.NewSample(1)
	s := &counted{Mem: store.NewMem(sample.Manifest)}
	storetest.Fill(t, sample, s.Mem)
	x, err := New(Config{Peers: nobody{}})
	require.NoError(t, err)
	t.Cleanup(x.Hold(s))
	h := x.image(s.Digest())
	const damaged, fresh, gap = 5, 8, 11
	require.NoError(t, s.Damage(damaged))
	h.keep(newRecent(1 << 20))
	h.recent.put(fresh, sample.Chunk(fresh))
	var asked []int
	for n := range sample.Manifest.Chunks {
		if n != gap {
			asked = append(asked, n)
		}
	}
	var a ahead
	for i, n := range asked {
		data, err := a.next(h, n, n+following(asked[i:]))
		if n == damaged {
			require.ErrorIs(t, err, errNotHeld)
			continue
		}
		require.NoError(t, err, "chunk %d", n)
		require.True(t, string(sample.Chunk(n)) == string(data), "chunk %d has other bytes", n)
		require.LessOrEqual(t, len(a.buf), manifest.MaxChunkBytes)
	}
	require.Positive(t, s.runs)
	require.Less(t, s.runs+s.chunks, len(asked)/2, "reads for %d chunks", len(asked))
}
