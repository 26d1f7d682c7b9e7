//go:build linux && (amd64 || arm64)

package disk

import (
	"math/rand/v2"
	"syscall"
)

// The ways in which a disk lies about a write.
const (
	Torn    = "torn"    // only its first sectors are written
	Lost    = "lost"    // nothing is
	Flipped = "flipped" // one bit is another
)

// A lie is what a disk does to some of its writes.
type lie struct {
	kind string
	rate float64
	seed uint64
	n    uint64 // writes so far
	told int
}

// Lie lets the disk spoil a part of its writes, from now on, in one of the three ways.
// Which ones is drawn from the seed and the number of the write.
func (d *Disk) Lie(kind string, rate float64, seed uint64) {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	d.lie = &lie{kind: kind, rate: rate, seed: seed}
}

// Honest ends Lie, and says how many writes of how many were spoilt.
func (d *Disk) Honest() (spoilt, writes int) {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	if d.lie != nil {
		spoilt, writes = d.lie.told, int(d.lie.n)
	}
	d.lie = nil
	return spoilt, writes
}

// write writes data, or says so. The file is as long afterwards as if it had.
func (l *lie) write(f *file, data []byte, off int64) syscall.Errno {
	l.n++
	r := rand.New(rand.NewPCG(l.seed, l.n))
	if r.Float64() >= l.rate {
		_, e := writeAt(f.fd, data, off)
		return e
	}
	l.told++
	end := off + int64(len(data))
	switch l.kind {
	case Flipped:
		data = append([]byte(nil), data...)
		bit := r.IntN(len(data) * 8)
		data[bit/8] ^= 1 << (bit % 8)
	case Torn:
		data = data[:r.IntN((len(data)+sector-1)/sector)*sector]
	case Lost:
		data = nil
	}
	if _, e := writeAt(f.fd, data, off); e != 0 {
		return e
	}
	if f.length() < end {
		return truncate(f.fd, end)
	}
	return 0
}
