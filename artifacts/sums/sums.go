// Package sums hashes many chunks in less time than one after the other would take.
//
// A robot hashes every byte that it takes in, and again when it passes it on: on a fast
// link that is what it does most. SHA-256 leaves a processor half idle, for each step
// needs the one before. So, where the processor has instructions for SHA, two parts are
// hashed side by side, which takes about 0.6 x the time. Elsewhere it is the standard
// library, part by part.
package sums

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
)

// Of returns the SHA-256 of each part.
func Of(parts [][]byte) [][sha256.Size]byte {
	w := work{parts: parts, out: make([][sha256.Size]byte, len(parts))}
	if !paired || len(parts) < 2 {
		for i, p := range parts {
			w.out[i] = sha256.Sum256(p)
		}
		return w.out
	}
	var a, b lane
	for w.fill(&a) && w.fill(&b) {
		n := min(len(a.rest), len(b.rest)) / sha256.BlockSize
		blocks(&a.state, &b.state, &a.rest[0], &b.rest[0], n)
		a.rest, b.rest = a.rest[n*sha256.BlockSize:], b.rest[n*sha256.BlockSize:]
	}
	w.finish(&a)
	w.finish(&b)
	return w.out
}

// work is what one call does.
type work struct {
	parts [][]byte
	out   [][sha256.Size]byte // indexed as parts
	next  int                 // the first part that is in no lane yet
}

// A lane is a part that is being hashed.
type lane struct {
	busy  bool
	part  int
	state [8]uint32 // of what is gone of rest
	rest  []byte
}

// start is the state before the first block, FIPS 180-4 §5.3.3.
var start = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

// fill makes sure that l has a whole block, and reports false if no part is left.
func (w *work) fill(l *lane) bool {
	for len(l.rest) < sha256.BlockSize {
		w.finish(l)
		if w.next == len(w.parts) {
			return false
		}
		*l = lane{busy: true, part: w.next, state: start, rest: w.parts[w.next]}
		w.next++
	}
	return true
}

// finish hashes the rest of what is in l, and empties it.
func (w *work) finish(l *lane) {
	if !l.busy {
		return
	}
	h := resume(l.state, len(w.parts[l.part])-len(l.rest))
	h.Write(l.rest)
	h.Sum(w.out[l.part][:0])
	*l = lane{}
}

// resume is the standard library's hash after so many bytes, whole blocks, that led to
// a state. The form is that of its MarshalBinary.
func resume(state [8]uint32, bytes int) hash.Hash {
	var b [4 + sha256.Size + sha256.BlockSize + 8]byte
	copy(b[:], "sha\x03")
	for i, word := range state {
		binary.BigEndian.PutUint32(b[4+4*i:], word)
	}
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(bytes))
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b[:]); err != nil {
		panic(fmt.Sprintf("sums: the standard library does not take its own state: %v", err)) // a test sees it first
	}
	return h
}
