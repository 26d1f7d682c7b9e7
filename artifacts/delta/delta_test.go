package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
)

// cut makes an image of some files, in chunks of varying length.
func cut(names []string, contents [][]byte, average int) *inMemory {
	m := &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.MinPieceBytes}
	i := &inMemory{m: m, lacks: map[int]bool{}}
	for k, data := range contents {
		m.Entries = append(m.Entries, manifest.Entry{Path: names[k], Kind: manifest.File, Mode: 0o644, Bytes: uint64(len(data))})
		i.stream = append(i.stream, data...)
	}
	for rest := i.stream; len(rest) > 0; {
		n := boundary(rest, average)
		m.Chunks = append(m.Chunks, manifest.Chunk{Digest: manifest.Sum(rest[:n]), Bytes: uint32(n)})
		rest = rest[n:]
	}
	i.layout = manifest.NewLayout(m)
	return i
}

// boundary is where content cuts the first chunk off: after a byte pair that stands
// every average bytes or so.
func boundary(b []byte, average int) int {
	for n := average / 4; n < min(len(b), 4*average); n++ {
		if (int(b[n-1])*251+int(b[n])*13)%(average/2) == 0 {
			return n
		}
	}
	return min(len(b), 4*average)
}

// noise is n random bytes.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// edited is b with some runs changed, taken out, put in and moved.
func edited(r *rand.Rand, b []byte, edits int) []byte {
	b = bytes.Clone(b)
	for range edits {
		if len(b) < 100 {
			return b
		}
		at, n := r.IntN(len(b)-50), 1+r.IntN(40)
		switch r.IntN(5) {
		case 0:
			b = append(b[:at:at], append(noise(r, n), b[at:]...)...)
		case 1:
			b = append(b[:at:at], b[at+n:]...)
		case 2:
			from := r.IntN(len(b) - 50)
			b = append(b[:at:at], append(bytes.Clone(b[from:from+n]), b[at:]...)...)
		default:
			b[at] += byte(1 + r.IntN(255))
		}
	}
	return b
}

// pack builds a pack in memory.
func pack(t testing.TB, old, fresh Image) ([]byte, Stats) {
	var b bytes.Buffer
	s, err := Build(context.Background(), old, fresh, &b, nil)
	require.NoError(t, err)
	require.Equal(t, int64(b.Len()), s.Pack)
	return b.Bytes(), s
}

func mustOpen(t testing.TB, data []byte) *Pack {
	p, err := Open(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	return p
}

// copied is a slot for fresh with the chunks that old has, as a robot begins.
func copied(t testing.TB, old, fresh *inMemory) *store.Mem {
	into := store.NewMem(fresh.m)
	has := map[manifest.Digest]int{}
	for k, c := range old.m.Chunks {
		has[c.Digest] = k
	}
	for n, c := range fresh.m.Chunks {
		if k, ok := has[c.Digest]; ok {
			data, err := old.ReadChunk(k, nil)
			require.NoError(t, err)
			require.NoError(t, into.WriteChunk(n, data))
		}
	}
	return into
}

// Whatever two images are: what a pack makes is right, and what the pack leaves out
// is what its stats say. Building twice gives equal bytes.
func TestAPackMakesWhatIsMissing(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var names []string
			var before, after [][]byte
			for i := range 1 + r.IntN(5) {
				names = append(names, fmt.Sprintf("f%d", i))
				b := noise(r, r.IntN(200<<10))
				before, after = append(before, b), append(after, edited(r, b, r.IntN(300)))
			}
			if r.IntN(2) == 0 { // a file that is new
				after[0] = noise(r, 50<<10)
			}
			old, fresh := cut(names, before, 8<<10), cut(names, after, 8<<10)
			if old.m.Digest() == fresh.m.Digest() {
				return
			}
			data, s := pack(t, old, fresh)
			again, _ := pack(t, old, fresh)
			require.Equal(t, data, again)
			into := copied(t, old, fresh)
			a, err := mustOpen(t, data).Apply(context.Background(), old, into, nil)
			require.NoError(t, err)
			require.Equal(t, s.Covered, a.Bytes)
			_, left := into.Missing()
			require.Equal(t, s.Missing-s.Covered, left)
			require.LessOrEqual(t, s.Covered, s.Missing)
		})
	}
}

// relinked is a program of the given length before and after all addresses moved.
func relinked(bytes int) (old, fresh *inMemory) {
	r := rand.New(rand.NewPCG(3, 4))
	a := noise(r, bytes)
	b := append([]byte(nil), a...)
	for i := 0; i+4 < len(b); i += 60 + r.IntN(60) {
		b[i] += 0x40
		b[i+1] += 0x1a
	}
	return cut([]string{"nav"}, [][]byte{a}, 64<<10), cut([]string{"nav"}, [][]byte{b}, 64<<10)
}

func TestAProgramWhoseAddressesMovedIsPatched(t *testing.T) {
	old, fresh := relinked(6 << 20)
	data, s := pack(t, old, fresh)
	require.Equal(t, fresh.m.Bytes(), s.Covered, "not one chunk is equal, and all of them are made")
	require.Less(t, s.Pack, s.Wire/20)
	p := mustOpen(t, data)
	require.GreaterOrEqual(t, len(p.Index().Segments), 5)

	// A robot that was cut off goes on where it was, and is told of progress.
	into := store.NewMem(fresh.m)
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("power is gone")
	a, err := p.Apply(ctx, old, into, func(done, total int64) {
		if done > total/2 {
			cancel(stop)
		}
	})
	require.ErrorIs(t, err, stop)
	require.Less(t, a.Bytes, s.Covered*3/4)
	rest, err := p.Apply(context.Background(), old, into, nil)
	require.NoError(t, err)
	require.Equal(t, s.Covered, a.Bytes+rest.Bytes)
	require.True(t, into.Complete())
}

func TestWhatTheOldImageLacksIsLeftToChunks(t *testing.T) {
	old, fresh := relinked(4 << 20)
	data, s := pack(t, old, fresh)
	old.lacks[len(old.m.Chunks)/2] = true
	into := store.NewMem(fresh.m)
	a, err := mustOpen(t, data).Apply(context.Background(), old, into, nil)
	require.NoError(t, err)
	require.Positive(t, a.Skipped)
	require.Positive(t, a.Bytes)
	require.Less(t, a.Bytes, s.Covered)
}

func TestAPackIsForTwoImagesOnly(t *testing.T) {
	old, fresh := relinked(300 << 10)
	data, _ := pack(t, old, fresh)
	p := mustOpen(t, data)
	_, err := p.Apply(context.Background(), fresh, store.NewMem(old.m), nil)
	require.ErrorIs(t, err, ErrOther)
	_, err = Build(context.Background(), old, old, &bytes.Buffer{}, nil)
	require.ErrorIs(t, err, ErrOther)
}

// A large old image is looked at through a window that moves along.
func TestTheWindowMovesAlong(t *testing.T) {
	if testing.Short() {
		t.Skip("50 MB")
	}
	old, fresh := relinked(windowBytes + windowBytes/2)
	data, s := pack(t, old, fresh)
	require.Equal(t, fresh.m.Bytes(), s.Covered)
	require.Less(t, s.Pack, s.Wire/20)
	into := store.NewMem(fresh.m)
	_, err := mustOpen(t, data).Apply(context.Background(), old, into, nil)
	require.NoError(t, err)
	require.True(t, into.Complete())
}

func TestCompareNamesWhatChanged(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	a, b := noise(r, 300<<10), noise(r, 200<<10)
	old := cut([]string{"a", "b"}, [][]byte{a, b}, 16<<10)
	b2 := append(noise(r, 5), b...)
	fresh := cut([]string{"a", "b", "c"}, [][]byte{a, b2, noise(r, 100<<10)}, 16<<10)
	c := Compare(old.m, fresh.m)
	require.Equal(t, fresh.m.Bytes(), c.Bytes)
	require.Equal(t, "c", c.Files[0].Path)
	require.True(t, c.Files[0].New)
	require.Equal(t, "b", c.Files[1].Path)
	require.False(t, c.Files[1].New)
	require.Less(t, c.Files[1].Missing, int64(100<<10), "only the start of b changed")
	require.Less(t, c.Missing, int64(250<<10))
	require.Empty(t, Compare(old.m, old.m).Files)
}

// A chunk that is new and stands at several places is made once.
func TestEqualChunksAreMadeOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	a, b := noise(r, 100<<10), noise(r, 4)
	old := cut([]string{"a"}, [][]byte{a}, 16<<10)
	changed := append(bytes.Clone(b), a...)
	twice := append(bytes.Clone(changed), changed...)
	fresh := cut([]string{"a", "b"}, [][]byte{changed, twice}, 16<<10)
	data, s := pack(t, old, fresh)
	require.Less(t, s.Missing, int64(130<<10))
	into := copied(t, old, fresh)
	_, err := mustOpen(t, data).Apply(context.Background(), old, into, nil)
	require.NoError(t, err)
	made := map[manifest.Digest]bool{}
	for n, c := range fresh.m.Chunks {
		made[c.Digest] = made[c.Digest] || into.HasChunk(n)
	}
	for d, ok := range made {
		require.True(t, ok, "chunk %s is nowhere", d.Short())
	}
	require.Equal(t, Compare(old.m, fresh.m).Missing, s.Missing)
}
