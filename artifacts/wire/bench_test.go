package wire

import (
	"bytes"
	"testing"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// sample is what a stream says for one piece of two chunks: it is asked for, comes, and
// is announced.
func sample() []Frame {
	chunk := bytes.Repeat([]byte("bytes of an image"), manifest.AverageChunkBytes/17)
	return []Frame{
		Ask{Piece: 300, Chunks: manifest.Bitmap{3}},
		Data{Chunk: 600, Bytes: chunk}, Data{Chunk: 601, Bytes: chunk},
		Sent{Piece: 300}, Have{Pieces: []uint32{300}},
	}
}

// BenchmarkWrite encodes all that is said for one piece.
func BenchmarkWrite(b *testing.B) {
	frames := sample()
	var out bytes.Buffer
	write := func() {
		out.Reset()
		for _, f := range frames {
			if err := Write(&out, f); err != nil {
				b.Fatal(err)
			}
		}
	}
	write()
	b.SetBytes(int64(out.Len()))
	b.ReportAllocs()
	for b.Loop() {
		write()
	}
}

// BenchmarkRead decodes it.
func BenchmarkRead(b *testing.B) {
	var all bytes.Buffer
	frames := sample()
	for _, f := range frames {
		if err := Write(&all, f); err != nil {
			b.Fatal(err)
		}
	}
	in := bytes.NewReader(all.Bytes())
	r := NewReader(in)
	b.SetBytes(int64(all.Len()))
	b.ReportAllocs()
	for b.Loop() {
		in.Reset(all.Bytes())
		for range frames {
			if _, err := r.Read(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
