package delta

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
)

// The two images of the golden pack, of one chunk each.
const (
	oldText   = "turn left at 51.3397 12.3731; hold 4 m; then go home by the short way"
	freshText = "turn left at 51.3412 12.3808; hold 4 m; look around; then go home by the short way"
)

func one(text string) *inMemory {
	m := &manifest.Manifest{
		Format: manifest.Format, PieceBytes: manifest.MinPieceBytes,
		Entries: []manifest.Entry{{Path: "way", Kind: manifest.File, Mode: 0o644, Bytes: uint64(len(text))}},
		Chunks:  []manifest.Chunk{{Digest: manifest.Sum([]byte(text)), Bytes: uint32(len(text))}},
	}
	return &inMemory{m: m, layout: manifest.NewLayout(m), stream: []byte(text), lacks: map[int]bool{}}
}

// stored is a zstd frame of one raw block: what a library makes of bytes may change
// with its version.
func stored(b []byte) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0} // single segment, length in four bytes
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
	out = append(out, byte(len(b)<<3|1), byte(len(b)>>5), byte(len(b)>>13))
	return append(out, b...)
}

// assemble writes a pack of frames as format.go says.
func assemble(x *Index, frames ...[]byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte(magic), Format)
	for i, f := range frames {
		x.Segments[i].Stored = uint32(len(f))
		out = append(out, f...)
	}
	data := x.Encode()
	sum := manifest.Sum(data)
	return append(binary.BigEndian.AppendUint64(append(out, data...), uint64(len(data))), sum[:]...)
}

// golden is a pack from oldText to freshText, made by hand.
func golden() (old, fresh *inMemory, x *Index, payload []byte) {
	old, fresh = one(oldText), one(freshText)
	ops := []op{{pos: 0, add: 39, insert: 13}, {pos: 39, add: 30}}
	payload = appendPayload(nil, ops, []byte(oldText), []byte(freshText))
	x = &Index{Format: Format, From: old.m.Digest(), To: fresh.m.Digest(), Segments: []Segment{{
		Runs: []Run{{First: 0, Count: 1}}, Base: []Range{{Offset: 0, Bytes: 69}}, Raw: uint32(len(payload)),
	}}}
	return old, fresh, x, payload
}

func TestGoldenPack(t *testing.T) {
	old, fresh, x, payload := golden()
	data := vector.Check(t, "pack", fmt.Sprintf("a pack that makes %q of %q", freshText, oldText), assemble(x, stored(payload)))
	into := store.NewMem(fresh.m)
	a, err := mustOpen(t, data).Apply(context.Background(), old, into, nil)
	require.NoError(t, err)
	require.Equal(t, Applied{Chunks: 1, Bytes: int64(len(freshText))}, a)
	made, err := into.ReadChunk(0, nil)
	require.NoError(t, err)
	require.Equal(t, freshText, string(made))
}

func testKey(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func TestGoldenNotice(t *testing.T) {
	from, to, root := manifest.Sum([]byte("from")), manifest.Sum([]byte("to")), manifest.Sum([]byte("root"))
	n := &Notice{Format: NoticeFormat, From: from, To: to, Pack: manifest.Sum([]byte("pack")), Bytes: 700, Covers: 9000, Wire: 3000}
	data := vector.Check(t, "notice", "a notice of pack SHA-256(\"pack\"), 700 bytes for 9000 that take 3000 as chunks, for the trust root SHA-256(\"root\"), signed by the key of seed 01…01",
		n.Seal(root, testKey(1)).Encode())
	keys := envelope.Only(envelope.KeyOf(testKey(1)))
	got, err := OpenNotice(data, root, keys, from, to)
	require.NoError(t, err)
	require.Equal(t, n, got)
	name, err := NameOf(data)
	require.NoError(t, err)
	require.Equal(t, Name(from, to), name)
	require.NotEqual(t, Name(to, from), name)

	_, err = OpenNotice(data, to, keys, from, to)
	require.ErrorIs(t, err, envelope.ErrKind, "of another trust root")
	_, err = OpenNotice(data, root, envelope.Only(envelope.KeyOf(testKey(2))), from, to)
	require.ErrorIs(t, err, envelope.ErrUnsigned)
	_, err = OpenNotice(data, root, keys, to, from)
	require.ErrorIs(t, err, ErrOther)

	require.True(t, n.Worth(9000))
	require.True(t, n.Worth(20000))
	require.False(t, n.Worth(2900), "the chunks that are missing take 967 bytes")
	for name, bend := range map[string]func(*Notice){
		"same image":  func(n *Notice) { n.To = n.From },
		"no pack":     func(n *Notice) { n.Pack = manifest.Digest{} },
		"empty":       func(n *Notice) { n.Bytes = 0 },
		"no gain":     func(n *Notice) { n.Bytes = n.Wire },
		"wire > raw":  func(n *Notice) { n.Wire = n.Covers + 1 },
		"huge and no": func(n *Notice) { n.Bytes, n.Wire, n.Covers = 1<<63, 1<<62, 1<<62 },
	} {
		b := *n
		bend(&b)
		_, err := NameOf(b.Seal(root, testKey(1)).Encode())
		require.ErrorIs(t, err, ErrBad, name)
	}
}

func TestIndexRefuses(t *testing.T) {
	_, _, good, _ := golden()
	good.Segments[0].Stored = 10
	_, err := DecodeIndex(good.Encode())
	require.NoError(t, err)
	seg := func(how func(*Segment)) func(*Index) { return func(x *Index) { how(&x.Segments[0]) } }
	for name, bend := range map[string]func(*Index){
		"same image":        func(x *Index) { x.To = x.From },
		"no image":          func(x *Index) { x.From = manifest.Digest{} },
		"no runs":           seg(func(s *Segment) { s.Runs = nil }),
		"empty run":         seg(func(s *Segment) { s.Runs[0].Count = 0 }),
		"runs overlap":      seg(func(s *Segment) { s.Runs = []Run{{First: 0, Count: 2}, {First: 1, Count: 1}} }),
		"runs overflow":     seg(func(s *Segment) { s.Runs = []Run{{First: 1<<32 - 1, Count: 2}, {First: 0, Count: 1}} }),
		"too many runs":     seg(func(s *Segment) { s.Runs = make([]Run, MaxRuns+1) }),
		"too many ranges":   seg(func(s *Segment) { s.Base = make([]Range, MaxRanges+1) }),
		"empty range":       seg(func(s *Segment) { s.Base[0].Bytes = 0 }),
		"ranges overlap":    seg(func(s *Segment) { s.Base = []Range{{Offset: 0, Bytes: 2}, {Offset: 1, Bytes: 1}} }),
		"range overflows":   seg(func(s *Segment) { s.Base = []Range{{Offset: 1<<64 - 1, Bytes: 2}} }),
		"base too large":    seg(func(s *Segment) { s.Base = []Range{{Offset: 0, Bytes: MaxBaseBytes + 1}} }),
		"no frame":          seg(func(s *Segment) { s.Stored = 0 }),
		"frame too large":   seg(func(s *Segment) { s.Stored = MaxRawBytes + 1 }),
		"unpacks to much":   seg(func(s *Segment) { s.Raw = MaxRawBytes + 1 }),
		"unpacks to none":   seg(func(s *Segment) { s.Raw = 0 }),
		"segments overlap":  func(x *Index) { x.Segments = append(x.Segments, x.Segments[0]) },
		"too many segments": func(x *Index) { x.Segments = make([]Segment, MaxSegments+1) },
	} {
		x := *good
		s := good.Segments[0]
		s.Runs, s.Base = append([]Run(nil), s.Runs...), append([]Range(nil), s.Base...)
		x.Segments = []Segment{s}
		bend(&x)
		_, err := DecodeIndex(x.Encode())
		require.ErrorIs(t, err, ErrBad, name)
	}
	future := *good
	future.Format = Format + 1
	_, err = DecodeIndex(future.Encode())
	require.ErrorIs(t, err, canonical.ErrFuture)
}

// A pack that is signed and wrong costs time and nothing else: no wrong byte is
// written, and the error says that it is the pack's fault.
func TestABadPackIsNamedAndWritesNothing(t *testing.T) {
	bomb := func(n int) []byte {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		require.NoError(t, err)
		defer e.Close()
		return e.EncodeAll(make([]byte, n), nil)
	}
	for name, c := range map[string]struct {
		bend    func(x *Index, payload []byte) []byte // returns the frame
		refused bool                                  // by Open
	}{
		"wrong bytes":       {bend: func(_ *Index, p []byte) []byte { p[len(p)-1] ^= 1; return stored(p) }},
		"not zstd":          {bend: func(_ *Index, p []byte) []byte { return p }},
		"unpacks to more":   {bend: func(x *Index, p []byte) []byte { x.Segments[0].Raw--; return stored(p) }},
		"unpacks to less":   {bend: func(x *Index, p []byte) []byte { x.Segments[0].Raw++; return stored(p) }},
		"a bomb":            {bend: func(_ *Index, _ []byte) []byte { return bomb(1 << 30) }},
		"a large bomb":      {bend: func(x *Index, _ []byte) []byte { x.Segments[0].Raw = MaxRawBytes; return bomb(1 << 30) }},
		"cut off":           {bend: func(x *Index, p []byte) []byte { x.Segments[0].Raw -= 3; return stored(p[:len(p)-3]) }},
		"something is left": {bend: func(x *Index, p []byte) []byte { x.Segments[0].Raw++; return stored(append(p, 0)) }},
		"beyond the base":   {bend: func(x *Index, p []byte) []byte { x.Segments[0].Base[0].Bytes = 60; return stored(p) }},
		"beyond the image":  {bend: func(x *Index, p []byte) []byte { x.Segments[0].Base[0].Bytes = 70; return stored(p) }},
		"chunk not there":   {bend: func(x *Index, p []byte) []byte { x.Segments[0].Runs[0].Count = 2; return stored(p) }},
		"index contradicts": {refused: true, bend: func(x *Index, p []byte) []byte { x.Segments[0].Runs[0].Count = 0; return stored(p) }},
	} {
		t.Run(name, func(t *testing.T) {
			old, fresh, x, payload := golden()
			data := assemble(x, c.bend(x, payload))
			p, err := Open(bytes.NewReader(data), int64(len(data)))
			if c.refused {
				require.ErrorIs(t, err, ErrBad)
				return
			}
			require.NoError(t, err)
			into := store.NewMem(fresh.m)
			a, err := p.Apply(context.Background(), old, into, nil)
			require.ErrorIs(t, err, ErrBad)
			require.Zero(t, a)
			require.False(t, into.HasChunk(0))
		})
	}
}

// A frame that unpacks to more than the index says takes no memory for it.
func TestABombTakesNoMemory(t *testing.T) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	defer e.Close()
	old, fresh, x, _ := golden()
	x.Segments[0].Raw = 100
	p := mustOpen(t, assemble(x, e.EncodeAll(make([]byte, MaxRawBytes), nil)))
	into := store.NewMem(fresh.m)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = p.Apply(context.Background(), old, into, nil)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrBad)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(MaxRawBytes/2))
}

func TestOpenRefuses(t *testing.T) {
	_, _, x, payload := golden()
	good := assemble(x, stored(payload))
	for name, c := range map[string]struct {
		bend func(b []byte) []byte
		want error
	}{
		"empty":           {func([]byte) []byte { return nil }, ErrNotPack},
		"other file":      {func(b []byte) []byte { b[0] = 'X'; return b }, ErrNotPack},
		"future":          {func(b []byte) []byte { b[7] = Format + 1; return b }, canonical.ErrFuture},
		"format 0":        {func(b []byte) []byte { b[7] = 0; return b }, ErrBad},
		"index damaged":   {func(b []byte) []byte { b[len(b)-tailBytes-1] ^= 1; return b }, ErrBad},
		"length damaged":  {func(b []byte) []byte { b[len(b)-tailBytes] = 1; return b }, ErrBad},
		"bytes between":   {func(b []byte) []byte { return append(b[:8:8], append([]byte{0}, b[8:]...)...) }, ErrBad},
		"bytes at end":    {func(b []byte) []byte { return append(b, 0) }, ErrBad},
		"shorter as said": {func(b []byte) []byte { return b[:20] }, ErrNotPack},
	} {
		data := c.bend(bytes.Clone(good))
		_, err := Open(bytes.NewReader(data), int64(len(data)))
		require.ErrorIs(t, err, c.want, name)
	}
	_, err := Open(bytes.NewReader(good[:50]), int64(len(good)))
	require.ErrorIs(t, err, ErrNotPack, "a reader that ends too soon")
}

func FuzzIndex(f *testing.F) {
	_, _, x, _ := golden()
	x.Segments[0].Stored = 9
	f.Add(x.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := DecodeIndex(data)
		if err != nil {
			require.Nil(t, x)
			return
		}
		require.Equal(t, data, x.Encode())
	})
}

// FuzzUnpack looks for payloads that make the robot read or write where it must not.
func FuzzUnpack(f *testing.F) {
	_, _, _, payload := golden()
	f.Add(payload, []byte(oldText), len(freshText))
	f.Fuzz(func(t *testing.T, payload, base []byte, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		dst := bytes.Repeat([]byte{0xaa}, n+1)
		err := unpack(payload, base, dst[:n:n])
		require.Equal(t, byte(0xaa), dst[n])
		if err != nil && !errors.Is(err, ErrBad) {
			t.Fatalf("%v does not blame the pack", err)
		}
	})
}

// FuzzPack opens and applies whatever it is given.
func FuzzPack(f *testing.F) {
	old, fresh, x, payload := golden()
	f.Add(assemble(x, stored(payload)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.Nil(t, p)
			return
		}
		into := store.NewMem(fresh.m)
		if _, err := p.Apply(context.Background(), old, into, nil); err == nil && len(p.index.Segments) > 0 {
			require.True(t, into.HasChunk(0))
		}
	})
}
