package delta

import (
	"cmp"
	"slices"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Comparison says what a robot that has one image lacks of another, by their
// manifests alone.
type Comparison struct {
	Bytes   int64 // of the newer image
	Missing int64 // of the chunks that the older one has nowhere, each counted once
	Chunks  int   // how many those are
	// Files are those with bytes in missing chunks, the most first.
	Files []FileChange
}

// A FileChange is a file of the newer image that is not all in the older one.
type FileChange struct {
	Path    string
	Entry   int   // index in the newer manifest's entries
	Bytes   int64 // its length
	Missing int64 // of them, in chunks that are missing
	New     bool  // the older image has no file of this name
}

// Compare lists what fresh has and old lacks.
func Compare(old, fresh *manifest.Manifest) *Comparison {
	c := &Comparison{Bytes: fresh.Bytes()}
	has, before, layout := digests(old), files(old), manifest.NewLayout(fresh)
	missing := map[int]int64{} // by entry
	for n, chunk := range fresh.Chunks {
		if has[chunk.Digest] {
			continue
		}
		has[chunk.Digest] = true
		c.Chunks++
		c.Missing += int64(chunk.Bytes)
		for _, x := range layout.Extents(n) {
			missing[x.Entry] += x.Bytes
		}
	}
	for e, n := range missing {
		entry := &fresh.Entries[e]
		_, known := before[entry.Path]
		c.Files = append(c.Files, FileChange{Path: entry.Path, Entry: e, Bytes: int64(entry.Bytes), Missing: n, New: !known})
	}
	slices.SortFunc(c.Files, func(a, b FileChange) int {
		return cmp.Or(cmp.Compare(b.Missing, a.Missing), cmp.Compare(a.Entry, b.Entry))
	})
	return c
}
