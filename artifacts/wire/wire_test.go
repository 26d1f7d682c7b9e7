package wire

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

var frames = []Frame{
	Hello{Format: Format, Manifest: manifest.Sum([]byte("m")), Have: manifest.Bitmap{5}, Seed: true},
	Have{Pieces: []uint32{1, 2, 300}},
	Offer{Piece: 7},
	Ask{Piece: 7, Chunks: manifest.Bitmap{0xff, 1}},
	Data{Chunk: 9, Encoding: Zstd, Bytes: []byte("bytes")},
	Sent{Piece: 7},
	Refuse{Piece: 8},
	Lost{Pieces: []uint32{1, 300}},
	Cancel{Piece: 9, Waiting: true},
	Soon{Pieces: []uint32{4, 300}},
}

func TestFramesRoundTrip(t *testing.T) {
	var b bytes.Buffer
	for _, f := range frames {
		require.NoError(t, Write(&b, f))
	}
	r := NewReader(&b)
	for _, want := range frames {
		got, err := r.Read()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := r.Read()
	require.Equal(t, io.EOF, err)
}

// TestVectors pins the bytes: members of other versions must read them.
func TestVectors(t *testing.T) {
	for _, f := range frames {
		var b bytes.Buffer
		require.NoError(t, Write(&b, f))
		name := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", f), "wire."))
		data := vector.Check(t, name, strings.ReplaceAll(fmt.Sprintf("%+v", f), "_:{} ", ""), b.Bytes())
		got, err := NewReader(bytes.NewReader(data)).Read()
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
}

// TestBounds: the largest of everything passes, and one more does not.
func TestBounds(t *testing.T) {
	full := func(n int) manifest.Bitmap { return manifest.Bitmap(bytes.Repeat([]byte{0xff}, n)) }
	many := func(n int) (out []uint32) {
		for i := range n {
			out = append(out, 1<<32-1-uint32(i))
		}
		return out
	}
	for name, c := range map[string]struct {
		f  Frame
		ok bool
	}{
		"hello of the largest image": {Hello{Format: Format, Have: full(manifest.MaxPieces / 8), Seed: true}, true},
		"hello of a larger one":      {Hello{Format: Format, Have: full(MaxBitmapBytes + 1)}, false},
		"ask for the largest piece":  {Ask{Piece: 1<<32 - 1, Chunks: full(manifest.MaxPieceChunks / 8)}, true},
		"ask for a larger one":       {Ask{Chunks: full(MaxBitmapBytes + 1)}, false},
		"most in one have":           {Have{Pieces: many(MaxHave)}, true},
		"too many in one have":       {Have{Pieces: many(MaxHave + 1)}, false},
		"most in one lost":           {Lost{Pieces: many(MaxHave)}, true},
		"too many in one lost":       {Lost{Pieces: many(MaxHave + 1)}, false},
		"most in one soon":           {Soon{Pieces: many(MaxHave)}, true},
		"too many in one soon":       {Soon{Pieces: many(MaxHave + 1)}, false},
		"largest chunk":              {Data{Bytes: make([]byte, manifest.MaxChunkBytes)}, true},
		"larger chunk":               {Data{Bytes: make([]byte, manifest.MaxChunkBytes+1)}, false},
	} {
		var b bytes.Buffer
		require.NoError(t, Write(&b, c.f), name)
		got, err := NewReader(&b).Read()
		if c.ok {
			require.NoError(t, err, name)
			require.Equal(t, c.f, got, name)
		} else {
			require.ErrorIs(t, err, ErrFrame, name)
			require.Nil(t, got, name)
		}
	}
}

func TestBadFrames(t *testing.T) {
	for name, raw := range map[string]string{
		"empty frame":         "\x00\x00\x00\x00\x03",
		"unknown type":        "\x00\x00\x00\x02\x0b\x00",
		"huge small frame":    "\x00\x10\x00\x00\x03",
		"huge data":           "\x7f\xff\xff\xff\x05",
		"data without bytes":  "\x00\x00\x00\x06\x05\x00\x00\x00\x01\x00",
		"unknown encoding":    "\x00\x00\x00\x07\x05\x00\x00\x00\x01\x02x",
		"not canonical cbor":  "\x00\x00\x00\x04\x03\x81\x18\x07",
		"hello of the future": "\x00\x00\x00\x04\x01\xa1\x00\x09",
	} {
		_, err := NewReader(bytes.NewReader([]byte(raw))).Read()
		require.ErrorIs(t, err, ErrFrame, name)
	}
	_, err := NewReader(bytes.NewReader([]byte("\x00\x00\x00\x04\x03\x81"))).Read()
	require.Equal(t, io.ErrUnexpectedEOF, err)
}

func FuzzRead(f *testing.F) {
	var all bytes.Buffer
	for _, fr := range frames {
		var b bytes.Buffer
		require.NoError(f, Write(&b, fr))
		f.Add(b.Bytes())
		all.Write(b.Bytes())
	}
	f.Add(all.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		r := NewReader(in)
		var out bytes.Buffer
		read := 0
		for {
			fr, err := r.Read()
			if err != nil {
				break
			}
			require.NoError(t, Write(&out, fr))
			read = len(data) - in.Len()
		}
		require.True(t, bytes.Equal(data[:read], out.Bytes()), "what parses prints back to the same bytes: %x is now %x", data[:read], out.Bytes())
	})
}
