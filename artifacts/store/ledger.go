package store

import "github.com/starling-swarm/starling/artifacts/manifest"

// A ledger says which chunks are held, and keeps the sums that follow from it.
// Its owner guards it.
type ledger struct {
	m       *manifest.Manifest
	pieceOf []int32         // indexed as m.Chunks: the piece of each chunk
	left    []int32         // indexed as m.Pieces(): chunks of the piece not held
	held    manifest.Bitmap // of m.Chunks
	have    manifest.Bitmap // of m.Pieces(): those with left == 0
	chunks  int             // not held
	bytes   int64           // not held
}

func newLedger(m *manifest.Manifest) *ledger {
	pieces := m.Pieces()
	l := &ledger{
		m:       m,
		pieceOf: make([]int32, len(m.Chunks)),
		left:    make([]int32, len(pieces)),
		held:    manifest.NewBitmap(len(m.Chunks)),
		have:    manifest.NewBitmap(len(pieces)),
		chunks:  len(m.Chunks),
		bytes:   m.Bytes(),
	}
	for p, piece := range pieces {
		l.left[p] = int32(piece.Count)
		for n := piece.First; n < piece.First+piece.Count; n++ {
			l.pieceOf[n] = int32(p)
		}
	}
	return l
}

func (l *ledger) has(n int) bool { return l.held.Has(n) }

// add notes that chunk n is held.
func (l *ledger) add(n int) {
	if l.held.Has(n) {
		return
	}
	l.held = l.held.With(n)
	l.chunks--
	l.bytes -= int64(l.m.Chunks[n].Bytes)
	p := int(l.pieceOf[n])
	if l.left[p]--; l.left[p] == 0 {
		l.have = l.have.With(p)
	}
}

// drop notes that chunk n is not held, and reports whether it was.
func (l *ledger) drop(n int) bool {
	if !l.held.Has(n) {
		return false
	}
	l.held = l.held.Without(n)
	l.chunks++
	l.bytes += int64(l.m.Chunks[n].Bytes)
	p := int(l.pieceOf[n])
	l.left[p]++
	l.have = l.have.Without(p)
	return true
}
