package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Sample is an image with its bytes, as a test needs it.
type Sample struct {
	Manifest *manifest.Manifest
	Stream   []byte // the contents of the files, in the order of the entries
	layout   *manifest.Layout
}

// NewSample returns an image of about 1.4 MB that has one of everything: nested
// directories, modes, links, empty files, chunks that span many small
// files, files of many chunks, equal chunks at two places, a file of zeros.
// Equal seeds give equal samples, other seeds share the library and nothing else.
func NewSample(seed uint64) *Sample {
	r := rand.New(rand.NewPCG(seed, 1))
	library := random(rand.New(rand.NewPCG(1, 2)), 200<<10)
	files := map[string][]byte{
		"bin/app":       random(r, 700<<10),
		"bin/helper":    random(r, 3000),
		"etc/conf":      []byte(fmt.Sprintf("seed: %d\n", seed)),
		"etc/none":      {},
		"lib/a.so":      library,
		"lib/b.so":      library,
		"lib/deep/x/y":  random(r, 40<<10),
		"lib/deep/zero": make([]byte, 160<<10),
	}
	for k := range 60 {
		files[fmt.Sprintf("etc/conf.d/%02d", k)] = random(r, r.IntN(900))
	}
	entries := []manifest.Entry{
		{Path: "bin", Kind: manifest.Dir, Mode: 0o755},
		{Path: "bin/run", Kind: manifest.Link, Target: "app"},
		{Path: "empty", Kind: manifest.Dir, Mode: 0o700},
		{Path: "etc", Kind: manifest.Dir, Mode: 0o750},
		{Path: "etc/conf.d", Kind: manifest.Dir, Mode: 0o755},
		{Path: "lib", Kind: manifest.Dir, Mode: 0o755},
		{Path: "lib/deep", Kind: manifest.Dir, Mode: 0o755},
		{Path: "lib/deep/up", Kind: manifest.Link, Target: "../a.so"},
		{Path: "lib/deep/x", Kind: manifest.Dir, Mode: 0o711},
	}
	for p, b := range files {
		mode := uint16(0o644)
		if strings.HasPrefix(p, "bin/") {
			mode = 0o755
		}
		entries = append(entries, manifest.Entry{Path: p, Kind: manifest.File, Mode: mode, Bytes: uint64(len(b))})
	}
	slices.SortFunc(entries, func(a, b manifest.Entry) int { return strings.Compare(a.Path, b.Path) })
	return cut(entries, files)
}

// cut lays the files out as a stream and cuts it: small files share chunks, and
// each file of the library starts a new chunk.
func cut(entries []manifest.Entry, files map[string][]byte) *Sample {
	s := &Sample{Manifest: &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.MinPieceBytes, Entries: entries}}
	var chunk []byte
	end := func() {
		if len(chunk) > 0 {
			s.Manifest.Chunks = append(s.Manifest.Chunks, manifest.Chunk{Digest: manifest.Sum(chunk), Bytes: uint32(len(chunk))})
			chunk = nil
		}
	}
	for _, e := range entries {
		library := strings.HasSuffix(e.Path, ".so")
		if library {
			end()
		}
		b := files[e.Path]
		s.Stream = append(s.Stream, b...)
		for len(b) > 0 {
			n := min(len(b), 24<<10-len(chunk))
			chunk = append(chunk, b[:n]...)
			b = b[n:]
			if len(chunk) == 24<<10 {
				end()
			}
		}
		if library {
			end()
		}
	}
	end()
	if err := s.Manifest.Check(); err != nil {
		panic("storetest: the sample is not a valid image: " + err.Error())
	}
	s.layout = manifest.NewLayout(s.Manifest)
	return s
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Chunk returns the bytes of chunk n. The caller must not change them.
func (s *Sample) Chunk(n int) []byte {
	from := s.layout.Offset(n)
	return s.Stream[from : from+int64(s.Manifest.Chunks[n].Bytes)]
}

// Extents returns where chunk n lies in the tree.
func (s *Sample) Extents(n int) []manifest.Extent { return s.layout.Extents(n) }

// Path returns the path of the file that holds the first byte of chunk n, and
// where in it the chunk starts.
func (s *Sample) Path(n int) (path string, offset int64) {
	x := s.layout.Extents(n)[0]
	return s.Manifest.Entries[x.Entry].Path, x.Offset
}
