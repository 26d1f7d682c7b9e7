// Package storetest is the contract of a store: what every implementation must
// do that holds one image chunk by chunk, whatever it is made of. An
// implementation calls Run from one of its tests:
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T, m *manifest.Manifest) storetest.Store {
//			return store.NewMem(m)
//		})
//	}
package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Store holds one image. store.Image documents each method.
type Store interface {
	Manifest() *manifest.Manifest
	Digest() manifest.Digest
	HasChunk(n int) bool
	Have() manifest.Bitmap
	Missing() (chunks int, bytes int64)
	Complete() bool
	WriteChunk(n int, data []byte) error
	WriteRun(first int, data []byte) (held int, err error)
	ReadChunk(n int, buf []byte) ([]byte, error)
	ReadRun(first, end int, buf []byte) ([]byte, error)
	Flush() error
	Seal(ctx context.Context) error
	Sealed() bool
	Close() error
}

// A Damager is a Store that can be damaged. Run tests what follows.
type Damager interface {
	// Damage changes a byte of chunk n behind the store's back.
	Damage(n int) error
}

// Run tests the stores that open makes, each empty, for the manifest given.
func Run(t *testing.T, open func(t *testing.T, m *manifest.Manifest) Store) {
	tests := []struct {
		name string
		test func(t *testing.T, sample *Sample, s Store)
	}{
		{"holds nothing at first", holdsNothing},
		{"returns what was written", returnsWritten},
		{"refuses wrong bytes", refusesWrong},
		{"refuses chunks that do not exist", refusesUnknown},
		{"takes chunks in runs", runs},
		{"takes the right start of a run", wrongInRun},
		{"returns chunks in runs", readsRuns},
		{"counts pieces and bytes", counts},
		{"takes a chunk twice", twice},
		{"does not keep the caller's memory", copies},
		{"seals only what is complete", seals},
		{"notices damage on read", damageOnRead},
		{"notices damage in seal", damageInSeal},
		{"breaks the seal on damage", damageAfterSeal},
		{"obeys the context of seal", sealCancelled},
		{"serves many at once", concurrent},
		{"refuses work after close", closes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sample := NewSample(7)
			s := open(t, sample.Manifest)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			tt.test(t, sample, s)
		})
	}
}

// Fill writes every chunk of sample that s does not hold.
func Fill(t testing.TB, sample *Sample, s Store) {
	t.Helper()
	for n := range sample.Manifest.Chunks {
		if !s.HasChunk(n) {
			require.NoError(t, s.WriteChunk(n, sample.Chunk(n)), "chunk %d", n)
		}
	}
}

// RequireChunks reads every chunk that s says it holds and compares it.
func RequireChunks(t testing.TB, sample *Sample, s Store) {
	t.Helper()
	buf := make([]byte, manifest.MaxChunkBytes)
	for n := range sample.Manifest.Chunks {
		if s.HasChunk(n) {
			got, err := s.ReadChunk(n, buf)
			require.NoError(t, err, "chunk %d", n)
			require.True(t, string(got) == string(sample.Chunk(n)), "chunk %d has other bytes", n)
		}
	}
}

func holdsNothing(t *testing.T, sample *Sample, s Store) {
	require.Equal(t, sample.Manifest.Digest(), s.Digest())
	require.Equal(t, sample.Manifest, s.Manifest())
	require.Zero(t, s.Have().Count())
	require.False(t, s.Complete())
	require.False(t, s.Sealed())
	chunks, bytes := s.Missing()
	require.Equal(t, len(sample.Manifest.Chunks), chunks)
	require.Equal(t, sample.Manifest.Bytes(), bytes)
	for n := range sample.Manifest.Chunks {
		require.False(t, s.HasChunk(n))
		data, err := s.ReadChunk(n, nil)
		require.Error(t, err)
		require.Nil(t, data)
	}
}

func returnsWritten(t *testing.T, sample *Sample, s Store) {
	for k := range sample.Manifest.Chunks {
		n := (k*7 + 3) % len(sample.Manifest.Chunks) // out of order
		require.NoError(t, s.WriteChunk(n, sample.Chunk(n)))
		require.True(t, s.HasChunk(n))
		RequireChunks(t, sample, s)
	}
	Fill(t, sample, s)
	require.True(t, s.Complete())
	require.NoError(t, s.Flush())
	RequireChunks(t, sample, s)
	data, err := s.ReadChunk(0, make([]byte, 1))
	require.NoError(t, err, "a buffer that is too small is replaced")
	require.Equal(t, sample.Chunk(0), data)
	buf := make([]byte, manifest.MaxChunkBytes)
	data, err = s.ReadChunk(0, buf)
	require.NoError(t, err)
	require.Same(t, &buf[0], &data[0], "a buffer that is large enough is used")
}

func refusesWrong(t *testing.T, sample *Sample, s Store) {
	right := sample.Chunk(1)
	flipped := append([]byte(nil), right...)
	flipped[100] ^= 1
	for _, wrong := range [][]byte{flipped, right[:len(right)-1], append(flipped[:0:0], append(right[:len(right):len(right)], 0)...), nil, sample.Chunk(2)} {
		require.ErrorIs(t, s.WriteChunk(1, wrong), manifest.ErrDigest)
		require.False(t, s.HasChunk(1))
	}
	require.NoError(t, s.WriteChunk(1, right))
	require.Error(t, s.WriteChunk(1, flipped), "also when the chunk is held")
	RequireChunks(t, sample, s)
}

func refusesUnknown(t *testing.T, sample *Sample, s Store) {
	for _, n := range []int{-1, len(sample.Manifest.Chunks), 1 << 30} {
		require.False(t, s.HasChunk(n))
		require.Error(t, s.WriteChunk(n, sample.Chunk(0)))
		_, err := s.ReadChunk(n, nil)
		require.Error(t, err)
	}
}

func counts(t *testing.T, sample *Sample, s Store) {
	left := sample.Manifest.Bytes()
	for p, piece := range sample.Manifest.Pieces() {
		for n := piece.First; n < piece.First+piece.Count; n++ {
			require.False(t, s.Have().Has(p), "a piece counts when it is whole")
			require.NoError(t, s.WriteChunk(n, sample.Chunk(n)))
			left -= int64(sample.Manifest.Chunks[n].Bytes)
			_, bytes := s.Missing()
			require.Equal(t, left, bytes)
		}
		require.True(t, s.Have().Has(p))
		require.Equal(t, p+1, s.Have().Count())
	}
	chunks, bytes := s.Missing()
	require.Zero(t, chunks)
	require.Zero(t, bytes)
	have := s.Have()
	have.Without(0)
	require.True(t, s.Have().Has(0), "the caller owns the bitmap")
}

func twice(t *testing.T, sample *Sample, s Store) {
	for range 2 {
		require.NoError(t, s.WriteChunk(3, sample.Chunk(3)))
	}
	chunks, _ := s.Missing()
	require.Equal(t, len(sample.Manifest.Chunks)-1, chunks)
}

func copies(t *testing.T, sample *Sample, s Store) {
	data := append([]byte(nil), sample.Chunk(0)...)
	require.NoError(t, s.WriteChunk(0, data))
	clear(data)
	got, err := s.ReadChunk(0, nil)
	require.NoError(t, err)
	clear(got)
	RequireChunks(t, sample, s)
}

func seals(t *testing.T, sample *Sample, s Store) {
	last := len(sample.Manifest.Chunks) - 1
	for n := range last {
		require.NoError(t, s.WriteChunk(n, sample.Chunk(n)))
	}
	require.Error(t, s.Seal(t.Context()))
	require.False(t, s.Sealed())
	Fill(t, sample, s)
	require.False(t, s.Sealed(), "complete is not sealed")
	for range 2 {
		require.NoError(t, s.Seal(t.Context()))
		require.True(t, s.Sealed())
	}
	RequireChunks(t, sample, s)
	require.NoError(t, s.WriteChunk(last, sample.Chunk(last)), "what is held may be offered again")
	require.True(t, s.Sealed())
}

// damage damages chunk n, or skips the test.
func damage(t *testing.T, s Store, n int) {
	d, ok := s.(Damager)
	if !ok {
		t.Skip("this store cannot be damaged")
	}
	require.NoError(t, d.Damage(n))
}

func damageOnRead(t *testing.T, sample *Sample, s Store) {
	Fill(t, sample, s)
	damage(t, s, 5)
	for range 2 {
		data, err := s.ReadChunk(5, nil)
		require.Error(t, err)
		require.Nil(t, data, "damaged bytes are never returned")
		require.False(t, s.HasChunk(5))
	}
	require.False(t, s.Complete())
	RequireChunks(t, sample, s)
	Fill(t, sample, s)
	RequireChunks(t, sample, s)
	require.NoError(t, s.Seal(t.Context()))
}

func damageInSeal(t *testing.T, sample *Sample, s Store) {
	Fill(t, sample, s)
	damage(t, s, 2)
	damage(t, s, 9)
	require.Error(t, s.Seal(t.Context()))
	require.False(t, s.Sealed())
	chunks, _ := s.Missing()
	require.Equal(t, 2, chunks)
	require.False(t, s.HasChunk(2))
	require.False(t, s.HasChunk(9))
	Fill(t, sample, s)
	require.NoError(t, s.Seal(t.Context()))
	RequireChunks(t, sample, s)
}

func damageAfterSeal(t *testing.T, sample *Sample, s Store) {
	Fill(t, sample, s)
	require.NoError(t, s.Seal(t.Context()))
	damage(t, s, 4)
	_, err := s.ReadChunk(4, nil)
	require.Error(t, err)
	require.False(t, s.Sealed())
	Fill(t, sample, s)
	require.NoError(t, s.Seal(t.Context()))
	require.True(t, s.Sealed())
	RequireChunks(t, sample, s)
}

func sealCancelled(t *testing.T, sample *Sample, s Store) {
	Fill(t, sample, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Seal(ctx), context.Canceled)
	require.False(t, s.Sealed())
	require.True(t, s.Complete())
	require.NoError(t, s.Seal(t.Context()))
}

func concurrent(t *testing.T, sample *Sample, s Store) {
	var writers, readers sync.WaitGroup
	errs := make(chan error, 8)    // one place for each goroutine below
	written := make(chan struct{}) // closed when the writers have ended
	for w := range 4 {
		writers.Go(func() {
			for k := range sample.Manifest.Chunks {
				n := (k + w*11) % len(sample.Manifest.Chunks)
				if err := s.WriteChunk(n, sample.Chunk(n)); err != nil {
					errs <- err
					return
				}
			}
		})
		readers.Go(func() {
			var buf []byte
			for round := 0; ; round++ {
				select {
				case <-written:
					if round > 0 {
						return
					}
				default:
				}
				for n := range sample.Manifest.Chunks {
					if !s.HasChunk(n) {
						continue
					}
					data, err := s.ReadChunk(n, buf)
					if err == nil && string(data) != string(sample.Chunk(n)) {
						err = errors.New("a chunk was read with other bytes")
					}
					if err != nil {
						errs <- err
						return
					}
					buf = data
				}
				if err := s.Flush(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	writers.Wait()
	close(written)
	readers.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, s.Seal(t.Context()))
	RequireChunks(t, sample, s)
}

func closes(t *testing.T, sample *Sample, s Store) {
	require.NoError(t, s.WriteChunk(0, sample.Chunk(0)))
	for range 2 {
		require.NoError(t, s.Close())
	}
	require.Error(t, s.WriteChunk(1, sample.Chunk(1)))
	_, err := s.ReadChunk(0, nil)
	require.Error(t, err)
	require.Error(t, s.Flush())
	require.Error(t, s.Seal(t.Context()))
}
