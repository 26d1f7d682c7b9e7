package manifest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

func sum(s string) manifest.Digest { return manifest.Sum([]byte(s)) }

// rich is a small tree with an entry of every kind.
func rich() *manifest.Manifest {
	return &manifest.Manifest{
		Format: manifest.Format, PieceBytes: manifest.MinPieceBytes,
		Entries: []manifest.Entry{
			{Path: "bin", Kind: manifest.Dir, Mode: 0o755},
			{Path: "bin/latest", Kind: manifest.Link, Target: "nav"},
			{Path: "bin/nav", Kind: manifest.File, Mode: 0o755, Bytes: 100_000},
			{Path: "etc", Kind: manifest.Dir, Mode: 0o700},
			{Path: "etc.txt", Kind: manifest.File, Mode: 0o644},
			{Path: "etc/map", Kind: manifest.Link, Target: "../übung"},
			{Path: "übung", Kind: manifest.File, Mode: 0o600, Bytes: 62_144},
		},
		Chunks: []manifest.Chunk{
			{Digest: sum("a"), Bytes: 80_000}, {Digest: sum("b"), Bytes: 65_536}, {Digest: sum("c"), Bytes: 16_608},
		},
	}
}

func TestManifestVector(t *testing.T) {
	m := rich()
	require.NoError(t, m.Check())
	data := vector.Check(t, "manifest", "a manifest of 162144 bytes in 3 chunks and 7 entries", m.Encode())
	got, err := manifest.Decode(data)
	require.NoError(t, err)
	require.Equal(t, m, got)
	require.Equal(t, int64(162_144), got.Bytes())
	require.Equal(t, manifest.Sum(data), got.Digest())
}

func TestManifestCheckRefuses(t *testing.T) {
	entry := func(i int, how func(*manifest.Entry)) func(*manifest.Manifest) {
		return func(m *manifest.Manifest) { how(&m.Entries[i]) }
	}
	path := func(p string) func(*manifest.Manifest) {
		return entry(6, func(e *manifest.Entry) { e.Path = p })
	}
	target := func(to string) func(*manifest.Manifest) {
		return entry(5, func(e *manifest.Entry) { e.Target = to })
	}
	for name, bend := range map[string]func(*manifest.Manifest){
		"format":               func(m *manifest.Manifest) { m.Format = 2 },
		"pieces too small":     func(m *manifest.Manifest) { m.PieceBytes = manifest.MinPieceBytes - 1 },
		"pieces too large":     func(m *manifest.Manifest) { m.PieceBytes = manifest.MaxPieceBytes + 1 },
		"no entries":           func(m *manifest.Manifest) { m.Entries, m.Chunks = nil, nil },
		"too many entries":     func(m *manifest.Manifest) { m.Entries = make([]manifest.Entry, manifest.MaxEntries+1) },
		"empty chunk":          func(m *manifest.Manifest) { m.Chunks[1].Bytes = 0 },
		"chunk too large":      func(m *manifest.Manifest) { m.Chunks[1].Bytes = manifest.MaxChunkBytes + 1 },
		"chunks short":         func(m *manifest.Manifest) { m.Chunks = m.Chunks[:2] },
		"chunks long":          func(m *manifest.Manifest) { m.Chunks = append(m.Chunks, manifest.Chunk{Bytes: 1}) },
		"length overflows":     entry(2, func(e *manifest.Entry) { e.Bytes = 1<<64 - 1 }),
		"path empty":           path(""),
		"path absolute":        path("/übung"),
		"path up":              path("../übung"),
		"path is up":           path(".."),
		"path is dot":          path("."),
		"path not clean":       path("z//z"),
		"path with dot":        path("z/./z"),
		"path ends in slash":   path("z/"),
		"path with backslash":  path(`z\z`),
		"path with zero":       path("z\x00z"),
		"path not UTF-8":       path("z\xff"),
		"path long":            path("z" + strings.Repeat("/zzz", manifest.MaxPathBytes/4)),
		"path part long":       path(strings.Repeat("z", manifest.MaxNameBytes+1)),
		"path in no directory": path("zz/file"),
		"path below a file":    path("etc.txt/x"),
		"path below a link":    path("etc/map/x"),
		"out of order":         path("a"),
		"path twice":           path("etc/map"),
		"file with target":     entry(6, func(e *manifest.Entry) { e.Target = "x" }),
		"dir with bytes":       entry(0, func(e *manifest.Entry) { e.Bytes = 1 }),
		"dir with target":      entry(0, func(e *manifest.Entry) { e.Target = "x" }),
		"link with bytes":      entry(5, func(e *manifest.Entry) { e.Bytes = 1 }),
		"link with mode":       entry(5, func(e *manifest.Entry) { e.Mode = 0o644 }),
		"set-uid":              entry(2, func(e *manifest.Entry) { e.Mode = 0o4755 }),
		"sticky":               entry(0, func(e *manifest.Entry) { e.Mode = 0o1755 }),
		"others may write":     entry(2, func(e *manifest.Entry) { e.Mode = 0o757 }),
		"group may write":      entry(2, func(e *manifest.Entry) { e.Mode = 0o775 }),
		"kind 0":               entry(4, func(e *manifest.Entry) { e.Kind = 0 }),
		"kind 4":               entry(4, func(e *manifest.Entry) { e.Kind = 4 }),
		"target empty":         target(""),
		"target absolute":      target("/etc/passwd"),
		"target up":            target("../.."),
		"target further up":    target("../../x"),
		"target through link":  target("map/../../x"),
		"target not clean":     target("./x"),
		"target with zero":     target("x\x00"),
		"target backslash":     target(`x\y`),
		"target not UTF-8":     target("x\xff"),
		"target long":          target(strings.Repeat("x", manifest.MaxPathBytes+1)),
	} {
		t.Run(name, func(t *testing.T) {
			m := rich()
			bend(m)
			require.ErrorIs(t, m.Check(), manifest.ErrInvalid)
			if m.Format == manifest.Format && len(m.Entries) <= manifest.MaxEntries {
				got, err := manifest.Decode(m.Encode())
				require.Error(t, err)
				require.Nil(t, got)
			}
		})
	}
}

func TestManifestCheckAccepts(t *testing.T) {
	for name, bend := range map[string]func(*manifest.Manifest){
		"empty file alone": func(m *manifest.Manifest) { m.Entries, m.Chunks = m.Entries[4:5], nil },
		"link to the root": func(m *manifest.Manifest) { m.Entries[5].Target = ".." },
		"dangling link":    func(m *manifest.Manifest) { m.Entries[5].Target = "nowhere/at/all" },
		"dots in a name":   func(m *manifest.Manifest) { m.Entries[4].Path = "etc...txt" },
		"longest name":     func(m *manifest.Manifest) { m.Entries[6].Path = strings.Repeat("z", manifest.MaxNameBytes) },
	} {
		m := rich()
		bend(m)
		require.NoError(t, m.Check(), name)
		_, err := manifest.Decode(m.Encode())
		require.NoError(t, err, name)
	}
}

func TestManifestFuture(t *testing.T) {
	m := rich()
	m.Format = 2
	_, err := manifest.Decode(m.Encode())
	require.ErrorIs(t, err, canonical.ErrFuture)
}

// random makes a manifest whose files and chunks have nothing to do with each other.
func random(r *rand.Rand) *manifest.Manifest {
	m := &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.MinPieceBytes}
	var total int
	for i := range 1 + r.IntN(20) {
		e := manifest.Entry{Path: fmt.Sprintf("%04d", i), Kind: manifest.Dir}
		if r.IntN(4) > 0 {
			e.Kind, e.Bytes = manifest.File, uint64(r.IntN(4)*r.IntN(300_000))
			if r.IntN(4) == 0 {
				e.Bytes = uint64(r.IntN(5))
			}
		}
		total += int(e.Bytes)
		m.Entries = append(m.Entries, e)
	}
	for total > 0 {
		n := min(total, 1+r.IntN(manifest.MaxChunkBytes))
		m.Chunks = append(m.Chunks, manifest.Chunk{Digest: sum(fmt.Sprint(len(m.Chunks))), Bytes: uint32(n)})
		total -= n
	}
	return m
}

// slowExtents walks the stream byte by byte.
func slowExtents(m *manifest.Manifest, chunk int) []manifest.Extent {
	var from, at int64
	for _, c := range m.Chunks[:chunk] {
		from += int64(c.Bytes)
	}
	to := from + int64(m.Chunks[chunk].Bytes)
	var out []manifest.Extent
	for i, e := range m.Entries {
		for in := range int64(e.Bytes) {
			if at >= from && at < to {
				if n := len(out); n > 0 && out[n-1].Entry == i {
					out[n-1].Bytes++
				} else {
					out = append(out, manifest.Extent{Entry: i, Offset: in, Bytes: 1})
				}
			}
			at++
		}
	}
	return out
}

func TestExtentsAgainstSlowTwin(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := random(r)
		require.NoError(t, m.Check(), "seed %d", seed)
		if len(m.Chunks) == 0 {
			continue
		}
		l := manifest.NewLayout(m)
		var at int64
		pick := map[int]bool{0: true, len(m.Chunks) - 1: true, r.IntN(len(m.Chunks)): true}
		for i, c := range m.Chunks {
			require.Equal(t, at, l.Offset(i), "seed %d chunk %d", seed, i)
			at += int64(c.Bytes)
			var n int64
			for _, e := range l.Extents(i) {
				n += e.Bytes
			}
			require.Equal(t, int64(c.Bytes), n, "seed %d chunk %d", seed, i)
			if pick[i] {
				require.Equal(t, slowExtents(m, i), l.Extents(i), "seed %d chunk %d", seed, i)
			}
		}
	}
}

func TestPieces(t *testing.T) {
	for seed := range uint64(200) {
		m := random(rand.New(rand.NewPCG(seed, 2)))
		m.PieceBytes = manifest.PieceBytesFor(m.Bytes())
		next, at := 0, int64(0)
		pieces := m.Pieces()
		for i, p := range pieces {
			require.Equal(t, next, p.First, "seed %d piece %d", seed, i)
			require.Equal(t, at, p.Offset, "seed %d piece %d", seed, i)
			require.Positive(t, p.Count)
			var n int64
			for _, c := range m.Chunks[p.First : p.First+p.Count] {
				n += int64(c.Bytes)
			}
			require.Equal(t, n, p.Bytes, "seed %d piece %d", seed, i)
			if i < len(pieces)-1 {
				last := int64(m.Chunks[p.First+p.Count-1].Bytes)
				require.GreaterOrEqual(t, n, int64(m.PieceBytes), "seed %d piece %d is short", seed, i)
				require.Less(t, n-last, int64(m.PieceBytes), "seed %d piece %d could end earlier", seed, i)
			}
			next, at = next+p.Count, at+n
		}
		require.Equal(t, len(m.Chunks), next, "seed %d", seed)
	}
}

func TestPieceBytesFor(t *testing.T) {
	for size, want := range map[int64]uint32{
		0: 128 << 10, 1: 128 << 10, 64 << 20: 128 << 10, 128 << 20: 256 << 10, 1 << 30: 2 << 20, 2 << 30: 4 << 20, 60 << 30: 4 << 20,
	} {
		require.Equal(t, want, manifest.PieceBytesFor(size), "%d bytes", size)
	}
	// Up to 2 GiB there are at most TargetPieces+1 pieces: a bitmap of 65 bytes.
	for _, size := range []int64{65 << 20, 100 << 20, 1<<30 + 511, 2<<30 - 1} {
		n := size / int64(manifest.PieceBytesFor(size))
		require.LessOrEqual(t, n, int64(manifest.TargetPieces)+1, "%d bytes", size)
	}
}

// sized makes a manifest of one file in n chunks of the given length.
func sized(n int, chunkBytes, pieceBytes uint32) *manifest.Manifest {
	m := &manifest.Manifest{Format: manifest.Format, PieceBytes: pieceBytes, Chunks: make([]manifest.Chunk, n)}
	for i := range m.Chunks {
		m.Chunks[i].Bytes = chunkBytes
	}
	m.Entries = []manifest.Entry{{Path: "image", Kind: manifest.File, Mode: 0o644, Bytes: uint64(m.Bytes())}}
	return m
}

func TestPiecesFitTheirBitmaps(t *testing.T) {
	for name, c := range map[string]struct {
		m  *manifest.Manifest
		ok bool
	}{
		"60 GiB":                       {sized(60<<14, 64<<10, manifest.PieceBytesFor(60<<30)), true},
		"64 GiB":                       {sized(64<<14, 64<<10, manifest.PieceBytesFor(64<<30)), true},
		"more than 64 GiB":             {sized(64<<14+1, 64<<10, manifest.MaxPieceBytes), false},
		"4 GiB in needlessly small":    {sized(4<<12, 256<<10, manifest.MinPieceBytes), true},
		"a piece too many":             {sized(manifest.MaxPieces+1, 128<<10, manifest.MinPieceBytes), false},
		"crumbs that fill a piece":     {sized(manifest.MaxPieceChunks, 256, manifest.MaxPieceBytes), true},
		"crumbs too small for a piece": {sized(manifest.MaxPieceChunks+1, 255, manifest.MaxPieceBytes), false},
	} {
		err := c.m.Check()
		if c.ok {
			require.NoError(t, err, name)
			require.LessOrEqual(t, len(c.m.Pieces()), manifest.MaxPieces, name)
		} else {
			require.ErrorIs(t, err, manifest.ErrInvalid, name)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(rich().Encode())
	f.Add((&manifest.Manifest{}).Encode())
	f.Add(random(rand.New(rand.NewPCG(1, 1))).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Decode(data)
		if err != nil {
			require.Nil(t, m)
			return
		}
		require.Equal(t, data, m.Encode())
		m.Pieces()
		l := manifest.NewLayout(m)
		for i := range m.Chunks {
			l.Extents(i)
		}
	})
}
