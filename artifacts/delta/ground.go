package delta

import (
	"sort"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// windowBytes bounds the part of the old image that a builder looks at at a time; its
// memory is some four times as much.
const windowBytes = 32 << 20

// A ground is the part of an old image that a new one is likely to be made of: the
// chunks that the new one does not have, each with its neighbours. What has not
// changed is not looked at, so that a small change in a large image costs little.
type ground struct {
	old    Image
	m      *manifest.Manifest
	layout *manifest.Layout
	chunks []int         // of the old image, rising
	starts []int64       // by chunks: offset in the ground; one more for its end
	paths  map[string]at // files of the old image
	win    *window       // what is looked at now; nil at first
}

// at is where a file lies in an image's stream.
type at struct{ offset, bytes int64 }

// newGround lists what of old, which fresh is made of, may be needed.
func newGround(old Image, fresh *manifest.Manifest) *ground {
	m := old.Manifest()
	g := &ground{old: old, m: m, layout: manifest.NewLayout(m), paths: map[string]at{}, starts: []int64{0}}
	has := digests(fresh)
	near := func(k int) bool {
		return k >= 0 && k < len(m.Chunks) && old.HasChunk(k) && !has[m.Chunks[k].Digest]
	}
	for k := range m.Chunks {
		if old.HasChunk(k) && (near(k) || near(k-1) || near(k+1)) {
			g.chunks = append(g.chunks, k)
			g.starts = append(g.starts, g.starts[len(g.starts)-1]+int64(m.Chunks[k].Bytes))
		}
	}
	for path, f := range files(m) {
		g.paths[path] = f
	}
	return g
}

// files returns where each file of m lies.
func files(m *manifest.Manifest) map[string]at {
	out := map[string]at{}
	var offset int64
	for _, e := range m.Entries {
		if e.Kind == manifest.File {
			out[e.Path] = at{offset, int64(e.Bytes)}
			offset += int64(e.Bytes)
		}
	}
	return out
}

func digests(m *manifest.Manifest) map[manifest.Digest]bool {
	out := make(map[manifest.Digest]bool, len(m.Chunks))
	for _, c := range m.Chunks {
		out[c.Digest] = true
	}
	return out
}

// place is where in the ground the old image's byte at this offset lies, or would lie.
func (g *ground) place(offset int64) int64 {
	i := sort.Search(len(g.chunks), func(i int) bool { return g.layout.Offset(g.chunks[i]) > offset }) - 1
	if i < 0 {
		return 0
	}
	return min(g.starts[i]+offset-g.layout.Offset(g.chunks[i]), g.starts[i+1])
}

// A window is a part of the ground in memory, with its matcher.
type window struct {
	*matcher
	ground      *ground
	first, last int // indexes in ground.chunks: last is not in it
}

// around returns a window in which the place lies, with much on both sides.
func (g *ground) around(place int64) (*window, error) {
	n := len(g.chunks)
	total := g.starts[n]
	if w := g.win; w != nil {
		lo, hi := g.starts[w.first], g.starts[w.last]
		if (lo == 0 || place >= lo+windowBytes/4) && (hi == total || place <= hi-windowBytes/4) {
			return w, nil
		}
	}
	from := max(0, min(place-windowBytes/2, total-windowBytes))
	w := &window{ground: g, first: sort.Search(n, func(i int) bool { return g.starts[i+1] > from })}
	for w.last = w.first; w.last < n && g.starts[w.last+1]-g.starts[w.first] <= windowBytes; w.last++ {
	}
	g.win = nil // its memory is free before the next takes as much
	data := make([]byte, 0, g.starts[w.last]-g.starts[w.first])
	var buf []byte
	for _, k := range g.chunks[w.first:w.last] {
		var err error
		if buf, err = g.old.ReadChunk(k, buf); err != nil {
			return nil, err
		}
		data = append(data, buf...)
	}
	w.matcher = newMatcher(data)
	g.win = w
	return w, nil
}

// inside is the place of the ground as a place of the window, or outside of it.
func (w *window) inside(place int64) int { return int(place - w.ground.starts[w.first]) }

// ranges appends the ranges of the old image's stream that the window's bytes from
// to to are.
func (w *window) ranges(out []Range, from, to int) []Range {
	g := w.ground
	lo := g.starts[w.first] + int64(from)
	hi := g.starts[w.first] + int64(to)
	for i := sort.Search(len(g.chunks), func(i int) bool { return g.starts[i+1] > lo }); lo < hi; i++ {
		end := min(hi, g.starts[i+1])
		r := Range{Offset: uint64(g.layout.Offset(g.chunks[i]) + lo - g.starts[i]), Bytes: uint32(end - lo)}
		if k := len(out) - 1; k >= 0 && out[k].end() == r.Offset {
			out[k].Bytes += r.Bytes
		} else {
			out = append(out, r)
		}
		lo = end
	}
	return out
}
