package delta

import (
	"encoding/binary"
	"math/bits"
)

const (
	// keyBytes is how many equal bytes it takes to look further at a place of the old
	// image: fewer are found everywhere in machine code.
	keyBytes = 16
	// stride is how far apart the places of the old image are that are looked up: a match
	// is then found up to three bytes late, and grows back to its start.
	stride = 4
	// maxTries bounds the places that are looked at for one position: runs of zeros
	// would have millions.
	maxTries = 24
	// sureBytes is how many equal bytes at the place that is expected end the search.
	sureBytes = 64
	// better is how many more equal bytes another place must have than the one that
	// is being followed; see bsdiff.
	better = 8
)

// A matcher finds the bytes of a new image in an old one. It is the algorithm of
// bsdiff 4 (Percival, "Naive differences of executable code", 2003): matches may
// have wrong bytes in them, as long as they are fewer than half. In place of a
// suffix array it has a hash of each keyBytes, which is a quarter of the memory and
// finds what is long enough to matter.
type matcher struct {
	old  []byte
	head []int32 // by hash: 1 + the first place in old, in strides, or 0
	prev []int32 // by place in strides: 1 + the next place with its hash, or 0
	bits uint    // of a hash
}

func newMatcher(old []byte) *matcher {
	m := &matcher{old: old, bits: uint(max(10, bits.Len(uint(len(old)/stride))))}
	m.head, m.prev = make([]int32, 1<<m.bits), make([]int32, len(old)/stride+1)
	for i := (len(old) - keyBytes) / stride; i >= 0 && len(old) >= keyBytes; i-- {
		h := m.hash(old[i*stride:])
		m.prev[i], m.head[h] = m.head[h], int32(i+1)
	}
	return m
}

func (m *matcher) hash(b []byte) uint64 {
	x := binary.LittleEndian.Uint64(b)*0x9E3779B185EBCA87 ^ binary.LittleEndian.Uint64(b[8:])*0xC2B2AE3D27D4EB4F
	return (x ^ x>>29) * 0x9E3779B185EBCA87 >> (64 - m.bits)
}

// common is how many bytes a and b begin with alike.
func common(a, b []byte) int {
	n, i := min(len(a), len(b)), 0
	for ; i+8 <= n; i += 8 {
		if d := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); d != 0 {
			return i + bits.TrailingZeros64(d)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// find returns where the longest match of the start of s is, and how long it is:
// near the place that is expected, or wherever the hash leads. No match is length 0.
func (m *matcher) find(s []byte, near int) (pos, n int) {
	if near >= 0 && near < len(m.old) {
		if pos, n = near, common(m.old[near:], s); n >= sureBytes {
			return pos, n
		}
	}
	if len(s) < keyBytes {
		return pos, n
	}
	c := m.head[m.hash(s)]
	for t := 0; c != 0 && t < maxTries; t++ {
		p := int(c-1) * stride
		if n < len(s) && p+n < len(m.old) && m.old[p+n] == s[n] {
			if l := common(m.old[p:], s); l > n && l >= keyBytes {
				pos, n = p, l
			}
		}
		c = m.prev[c-1]
	}
	return pos, n
}

// diff returns ops that make fresh of the old bytes. The first is expected at the
// place at.
func (m *matcher) diff(fresh []byte, at int) []op {
	var out []op
	var pos, n int         // of the match that is looked at
	scan, last := 0, 0     // where in fresh: looking, and done up to
	lastPos, off := at, at // what is followed: old bytes of last; off = place - position in fresh
	same := func(i int) bool { p := i + off; return p >= 0 && p < len(m.old) && m.old[p] == fresh[i] }
	for scan < len(fresh) {
		score := 0 // bytes of the match that what is followed has right too
		scan += n
		for counted := scan; scan < len(fresh); scan++ {
			pos, n = m.find(fresh[scan:], scan+off)
			for ; counted < scan+n; counted++ {
				if same(counted) {
					score++
				}
			}
			if (n == score && n != 0) || n > score+better {
				break
			}
			if same(scan) {
				score--
			}
		}
		if n == score && scan < len(fresh) {
			continue // still what is followed
		}
		ahead, back := m.forward(fresh[last:scan], lastPos), 0
		if scan < len(fresh) {
			back = m.backward(fresh[last:scan], pos)
		}
		if over := ahead + back - (scan - last); over > 0 {
			keep := m.divide(fresh[last+ahead-over:last+ahead], lastPos+ahead-over, pos-back)
			ahead, back = ahead-over+keep, back-keep
		}
		if end := scan - back; end > last {
			out = append(out, op{pos: lastPos, add: ahead, insert: end - last - ahead})
		}
		last, lastPos, off = scan-back, pos-back, pos-scan
	}
	return out
}

// forward is how far fresh should follow old from pos on: to where the most is right
// and the least wrong.
func (m *matcher) forward(fresh []byte, pos int) int {
	right, best, n := 0, 0, 0
	for i := 0; i < len(fresh) && pos+i < len(m.old); {
		if m.old[pos+i] == fresh[i] {
			right++
		}
		if i++; right*2-i > best*2-n {
			best, n = right, i
		}
	}
	return n
}

// backward is the same from the end of fresh on, which lies before pos.
func (m *matcher) backward(fresh []byte, pos int) int {
	right, best, n := 0, 0, 0
	for i := 1; i <= len(fresh) && i <= pos; i++ {
		if m.old[pos-i] == fresh[len(fresh)-i] {
			right++
		}
		if right*2-i > best*2-n {
			best, n = right, i
		}
	}
	return n
}

// divide says how many bytes of both, which two matches claim, go to the first.
func (m *matcher) divide(both []byte, first, second int) int {
	lead, best, keep := 0, 0, 0
	for i, b := range both {
		if m.old[first+i] == b {
			lead++
		}
		if m.old[second+i] == b {
			lead--
		}
		if lead > best {
			best, keep = lead, i+1
		}
	}
	return keep
}
