package join

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// halves are pseudo-digests and words around them, as in a manifest.
func halves(n int) []byte {
	var out []byte
	for len(out) < n {
		d := make([]byte, 32)
		_, _ = rand.Read(d) // never fails
		out = append(append(out, d...), "usr/lib/go/src/some/package/file_test.go  "...)
	}
	return out[:n]
}

func TestPackedDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		most int // bytes packed
	}{
		"none":          {nil, 0},
		"a few":         {[]byte("a"), 2},
		"a manifest":    {halves(500 << 10), 300 << 10},
		"noise":         {halves(32), 33},
		"nothing in it": {make([]byte, 10<<20), 1 + 10<<20}, // shrinks too much to be believed
	} {
		packed, err := new(Packer).Pack(c.data)
		require.NoError(t, err, name)
		require.LessOrEqual(t, len(packed), c.most, name)
		require.LessOrEqual(t, len(packed), MaxPackedBytes(len(c.data)), name)
		data, err := new(Packer).Unpack(packed, len(c.data))
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(c.data, data), name)
		if len(c.data) > 0 {
			_, err = new(Packer).Unpack(packed, len(c.data)-1)
			require.ErrorIs(t, err, ErrPacking, name)
		}
	}
}

func TestHostilePacking(t *testing.T) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	bomb := enc.EncodeAll(make([]byte, 50<<20), []byte{zstdDocument})
	var unsized bytes.Buffer
	unsized.WriteByte(zstdDocument)
	w, err := zstd.NewWriter(&unsized, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	for range 3 { // a stream does not say how long it is
		_, err = w.Write(halves(100 << 10))
		require.NoError(t, err)
		require.NoError(t, w.Flush())
	}
	require.NoError(t, w.Close())
	good, err := new(Packer).Pack(halves(64 << 10))
	require.NoError(t, err)
	for name, answer := range map[string][]byte{
		"unknown":     {7, 1, 2},
		"no frame":    {zstdDocument},
		"not zstd":    append([]byte{zstdDocument}, halves(100)...),
		"cut":         good[:len(good)/2],
		"bomb":        bomb,
		"no length":   unsized.Bytes(),
		"two of them": append(bytes.Clone(good), good[1:]...),
	} {
		_, err := new(Packer).Unpack(answer, 64<<20)
		require.ErrorIs(t, err, ErrPacking, name)
	}
}

func FuzzUnpackDocument(f *testing.F) {
	good, err := new(Packer).Pack(halves(8 << 10))
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte{rawDocument, 1})
	f.Fuzz(func(t *testing.T, answer []byte) {
		data, err := new(Packer).Unpack(answer, 1<<20)
		if err == nil {
			require.LessOrEqual(t, len(data), min(1<<20, maxRatio*len(answer)+ratioFree))
		}
	})
}
