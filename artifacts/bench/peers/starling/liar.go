package main

import (
	"encoding/binary"
	"slices"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// A liar is a stream that bends what is written to it: one byte of each chunk of every
// tenth piece. It reads along where frames begin; see package wire.
type liar struct {
	*p2p.Stream
	m    *manifest.Manifest
	head []byte // of the frame that is being written, and of Data the chunk's number
	left int    // bytes of the frame that follow
}

const (
	frameHead = 5             // length and type
	dataHead  = frameHead + 5 // and the chunk's number and encoding
	dataType  = 5
)

// Write implements artifacts.Stream.
func (l *liar) Write(b []byte) (int, error) {
	b = slices.Clone(b) // what a store has read is not ours to bend
	for i := 0; i < len(b); {
		if l.left > 0 {
			n := min(l.left, len(b)-i)
			l.left -= n
			i += n
			continue
		}
		l.head = append(l.head, b[i])
		i++
		switch {
		case len(l.head) < frameHead || l.head[4] == dataType && len(l.head) < dataHead:
			continue
		case l.head[4] == dataType && l.wrong(int(binary.BigEndian.Uint32(l.head[frameHead:]))):
			b[i-1] = byte(wire.Zstd) // says that it is packed, which it is not
		}
		l.left = int(binary.BigEndian.Uint32(l.head)) + 4 - len(l.head)
		l.head = l.head[:0]
	}
	return l.Stream.Write(b)
}

// wrong reports whether a chunk is of a piece that is lied about.
func (l *liar) wrong(chunk int) bool {
	for i, p := range l.m.Pieces() {
		if chunk >= p.First && chunk < p.First+p.Count {
			return i%10 == 0
		}
	}
	return false
}
