package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// bigImage is one file of chunks of the average size.
func bigImage(chunks int) (*manifest.Manifest, [][]byte) {
	m := &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.MinPieceBytes}
	data := make([][]byte, chunks)
	for n := range data {
		data[n] = make([]byte, manifest.AverageChunkBytes)
		data[n][0], data[n][1], data[n][2] = byte(n), byte(n>>8), 1
		m.Chunks = append(m.Chunks, manifest.Chunk{Digest: manifest.Sum(data[n]), Bytes: manifest.AverageChunkBytes})
	}
	m.Entries = []manifest.Entry{
		{Path: "bin", Kind: manifest.Dir, Mode: 0o755},
		{Path: "bin/app", Kind: manifest.File, Mode: 0o755, Bytes: uint64(chunks * manifest.AverageChunkBytes)},
	}
	return m, data
}

const benchChunks = 512 // 32 MiB

func BenchmarkWriteChunk(b *testing.B) {
	m, data := bigImage(benchChunks)
	img := openSlot(b, memorySlot(b), m)
	b.SetBytes(manifest.AverageChunkBytes)
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		n := k % benchChunks
		img.mu.Lock()
		img.ledger.drop(n) // so that it is written again
		img.mu.Unlock()
		if err := img.WriteChunk(n, data[n]); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, img.Close())
}

func BenchmarkReadChunk(b *testing.B) {
	m, data := bigImage(benchChunks)
	img := openSlot(b, memorySlot(b), m)
	for n := range data {
		require.NoError(b, img.WriteChunk(n, data[n]))
	}
	buf := make([]byte, manifest.MaxChunkBytes)
	b.SetBytes(manifest.AverageChunkBytes)
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		if _, err := img.ReadChunk(k%benchChunks, buf); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, img.Close())
}

func BenchmarkSeal(b *testing.B) {
	m, data := bigImage(benchChunks)
	img := openSlot(b, memorySlot(b), m)
	for n := range data {
		require.NoError(b, img.WriteChunk(n, data[n]))
	}
	b.SetBytes(m.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		if err := img.Seal(b.Context()); err != nil {
			b.Fatal(err)
		}
		img.mu.Lock()
		img.sealed = false
		img.mu.Unlock()
	}
	require.NoError(b, img.Close())
}
