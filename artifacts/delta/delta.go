// Package delta makes the way from one image to the next as short as a patch.
//
// Chunks that two images share are copied on the robot and need no help. What is
// left is often nearly there too: a program that was linked anew has moved all of
// its addresses, so that hardly a chunk is equal, yet most of its bytes stand
// somewhere in the old program. A Pack holds, for the chunks that the old image
// lacks, how to make them of bytes that it has:
//
//	stats, err := delta.Build(ctx, old, fresh, file, nil)   // on the operator's machine
//	p, err := delta.Open(file, size)                        // on the robot
//	done, err := p.Apply(ctx, installed, slot, nil)
//
// A pack is cut into segments of about SegmentBytes. Each stands alone: it names
// the ranges of the old image that it needs and the chunks that it makes, so that
// a robot applies one after the other in bounded memory, goes on after a restart
// where it was, and leaves out those it does not need. All sizes are known before
// a byte is unpacked, and are enforced.
//
// A pack is only ever a short cut. Every chunk it yields is verified against the
// signed manifest before it counts; without a pack, or with a bad one, the chunks
// are fetched as they are. Which pack leads where is said by a signed Notice, so
// that nobody can make a robot fetch for nothing. The pack itself travels as an
// image of one file, whose manifest the notice names.
package delta

import (
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// Format is the newest pack format this build reads and writes.
	Format = 1

	// SegmentBytes is how much of the new image a builder puts into a segment: larger
	// ones save next to nothing (a program linked anew took 2.63 % of itself at 512 KiB,
	// 2.60 % at 1 MiB, 2.56 % at 4 MiB) and need more memory.
	SegmentBytes = 1 << 20
	// MaxSegmentBytes, MaxBaseBytes and MaxRawBytes bound what a segment makes, what
	// it reads of the old image and what its frame unpacks to. Together with the
	// frame itself they are what applying needs: below 32 MiB.
	MaxSegmentBytes = 4 << 20
	MaxBaseBytes    = 8 << 20
	MaxRawBytes     = 8 << 20
	// MaxRanges bounds the ranges of the old image that a segment names, and MaxRuns
	// the runs of chunks that it makes.
	MaxRanges = 1024
	MaxRuns   = 256
	// MaxSegments bounds the segments of a pack: as many as MaxSegmentBytes of 64 GiB.
	MaxSegments = 1 << 14
	// MaxIndexBytes bounds an encoded Index.
	MaxIndexBytes = 4 << 20
)

var (
	// ErrNotPack is returned by Open for bytes that are no pack at all.
	ErrNotPack = errors.New("delta: not a pack")
	// ErrBad says that a pack contradicts itself, or does not make what it promises.
	// Whoever signed it made a mistake: drop it, and fetch the chunks.
	ErrBad = errors.New("delta: the pack is of no use")
	// ErrOther is returned for a pack between two other images. Look for another.
	ErrOther = errors.New("delta: the pack is for other images")
)

// An Image can be read chunk by chunk. Images of package store and of package
// bundle can.
type Image interface {
	Manifest() *manifest.Manifest
	HasChunk(n int) bool
	// ReadChunk returns verified bytes, in buf if it is large enough.
	ReadChunk(n int, buf []byte) ([]byte, error)
}

// A Slot takes chunks. Images of package store do.
type Slot interface {
	Manifest() *manifest.Manifest
	HasChunk(n int) bool
	// WriteChunk verifies and writes; wrong bytes are an error wrapping
	// manifest.ErrDigest and are not written.
	WriteChunk(n int, data []byte) error
}

// bad makes an error that wraps ErrBad.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBad}, args...)...)
}
