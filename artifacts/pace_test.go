package artifacts

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// TestUnpackIsBounded: whatever comes, unpacking makes no more bytes than the chunk has.
func TestUnpackIsBounded(t *testing.T) {
	c, err := newCodec()
	require.NoError(t, err)
	pack := func(n int, o ...zstd.EOption) []byte {
		enc, err := zstd.NewWriter(nil, o...)
		require.NoError(t, err)
		return enc.EncodeAll(make([]byte, n), nil)
	}
	const length = 100_000
	right := pack(length)
	huge := pack(64<<20, zstd.WithWindowSize(128<<10))
	for name, data := range map[string][]byte{
		"one byte too many":  pack(length + 1),
		"one byte too few":   pack(length - 1),
		"64 MiB":             huge,
		"64 MiB in one go":   pack(64<<20, zstd.WithSingleSegment(true)),
		"a thousand chunks":  bytes.Repeat(right, 1000),
		"two halves and one": append(append(bytes.Clone(pack(length/2)), pack(length/2)...), pack(1)...),
		"cut":                right[:len(right)-3],
		"empty":              {},
		"not zstd":           []byte("not zstd at all"),
	} {
		var buf []byte
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.unpack(wire.Data{Encoding: wire.Zstd, Bytes: data}, length, &buf)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, errEncoding, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(3<<20), "%s: bytes allocated", name)
		require.LessOrEqual(t, cap(buf), length, name)
	}
	var buf []byte
	got, err := c.unpack(wire.Data{Encoding: wire.Zstd, Bytes: right}, length, &buf)
	require.NoError(t, err)
	require.Equal(t, make([]byte, length), got)
	_, err = c.unpack(wire.Data{Encoding: wire.Raw, Bytes: right}, length, &buf)
	require.ErrorIs(t, err, errEncoding)
}

func FuzzUnpack(f *testing.F) {
	c, err := newCodec()
	require.NoError(f, err)
	f.Add(c.enc.EncodeAll(make([]byte, 1000), nil), uint32(1000))
	f.Add([]byte("raw"), uint32(3))
	f.Fuzz(func(t *testing.T, data []byte, length uint32) {
		length = min(length, manifest.MaxChunkBytes)
		var buf []byte
		got, err := c.unpack(wire.Data{Encoding: wire.Zstd, Bytes: data}, int(length), &buf)
		if err != nil {
			require.Nil(t, got)
			return
		}
		require.Len(t, got, int(length))
	})
}

// TestPackerLeavesPackedAlone: what does not shrink is tried less and less often, and
// what shrinks again is packed again.
func TestPackerLeavesPackedAlone(t *testing.T) {
	c, err := newCodec()
	require.NoError(t, err)
	noise := make([]byte, 64<<10)
	_, err = rand.NewChaCha8([32]byte{}).Read(noise)
	require.NoError(t, err)
	text := bytes.Repeat([]byte("all work and no play "), 3000)
	p := packer{c: c}
	tries := 0
	for range 1000 {
		if p.skip == 0 {
			tries++
		}
		e, out := p.pack(noise)
		require.Equal(t, wire.Raw, e)
		require.Equal(t, &noise[0], &out[0], "no copy")
	}
	require.Less(t, tries, 50)
	left := 0
	for ; ; left++ {
		if e, _ := p.pack(text); e == wire.Zstd {
			break
		}
	}
	require.LessOrEqual(t, left, maxSkip)
	for range 10 {
		e, out := p.pack(text)
		require.Equal(t, wire.Zstd, e)
		require.Less(t, len(out), len(text)/10)
	}
}
