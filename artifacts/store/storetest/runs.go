package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// runOf is the bytes of the chunks first to end-1.
func (s *Sample) runOf(first, end int) (data []byte) {
	for n := first; n < end; n++ {
		data = append(data, s.Chunk(n)...)
	}
	return data
}

// runs writes all chunks, in runs of every length, some of them held already.
func runs(t *testing.T, sample *Sample, s Store) {
	count := len(sample.Manifest.Chunks)
	for n := 2; n < count; n += 5 {
		require.NoError(t, s.WriteChunk(n, sample.Chunk(n)))
	}
	for first, length := 0, 1; first < count; first, length = first+length, length+1 {
		end := min(first+length, count)
		data := sample.runOf(first, end)
		held, err := s.WriteRun(first, data)
		require.NoError(t, err)
		require.Equal(t, end-first, held)
		clear(data) // the store does not keep it
	}
	require.True(t, s.Complete())
	RequireChunks(t, sample, s)
}

// wrongInRun writes a run of which the third chunk is wrong, one that is cut off, and
// ones beyond the end.
func wrongInRun(t *testing.T, sample *Sample, s Store) {
	data := sample.runOf(1, 5)
	at := len(sample.runOf(1, 3))
	data[at] ^= 1
	held, err := s.WriteRun(1, data)
	require.ErrorIs(t, err, manifest.ErrDigest)
	require.Equal(t, 2, held)
	data[at] ^= 1
	held, err = s.WriteRun(1, data[:len(data)-1])
	require.ErrorIs(t, err, manifest.ErrDigest)
	require.Equal(t, 3, held)
	for n := range sample.Manifest.Chunks {
		require.Equal(t, n >= 1 && n < 4, s.HasChunk(n), "chunk %d", n)
	}
	RequireChunks(t, sample, s)
	last := len(sample.Manifest.Chunks) - 1
	for first, data := range map[int][]byte{-1: data, last + 1: data, last: append(sample.runOf(last, last+1), 0)} {
		_, err = s.WriteRun(first, data)
		require.Error(t, err, "from chunk %d", first)
	}
	_, err = s.WriteRun(0, nil)
	require.ErrorIs(t, err, manifest.ErrDigest)
}

// readsRuns reads runs of every length, one that is not all there, and one with damage.
func readsRuns(t *testing.T, sample *Sample, s Store) {
	count := len(sample.Manifest.Chunks)
	_, err := s.WriteRun(0, sample.runOf(0, count-1))
	require.NoError(t, err)
	var buf []byte
	for first, length := 0, 0; first < count-1; first, length = first+length, length+1 {
		end := min(first+length, count-1)
		buf, err = s.ReadRun(first, end, buf)
		require.NoError(t, err)
		require.True(t, string(buf) == string(sample.runOf(first, end)), "chunks %d to %d have other bytes", first, end-1)
	}
	_, err = s.ReadRun(count-2, count, buf)
	require.Error(t, err, "the last is not held")
	d, ok := s.(Damager)
	if !ok {
		return
	}
	require.NoError(t, d.Damage(2))
	_, err = s.ReadRun(1, 4, buf)
	require.Error(t, err)
	for n := range count - 1 {
		require.Equal(t, n != 2, s.HasChunk(n), "chunk %d", n)
	}
}
