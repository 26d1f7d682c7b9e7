package manifest

import "math/bits"

// A Bitmap is a set of small numbers: bit i of byte i/8, lowest bit first, is set
// if i is in it. Bytes beyond the slice read as zero. Sets of pieces and of
// members travel in this form.
type Bitmap []byte

// NewBitmap returns an empty set with room for the numbers below n.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+7)/8) }

// Has reports whether i is in the set.
func (b Bitmap) Has(i int) bool { return i >= 0 && i/8 < len(b) && b[i/8]&(1<<(i%8)) != 0 }

// With returns the set with i in it, in place if there is room.
func (b Bitmap) With(i int) Bitmap {
	for i/8 >= len(b) {
		b = append(b, 0)
	}
	b[i/8] |= 1 << (i % 8)
	return b
}

// Without returns the set without i, in place.
func (b Bitmap) Without(i int) Bitmap {
	if i/8 < len(b) {
		b[i/8] &^= 1 << (i % 8)
	}
	return b
}

// Count returns how many numbers are in the set.
func (b Bitmap) Count() int {
	n := 0
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}

// Trim returns the set without trailing zero bytes: its one canonical form.
func (b Bitmap) Trim() Bitmap {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// Clone returns a copy.
func (b Bitmap) Clone() Bitmap { return append(Bitmap(nil), b...) }

// All returns the numbers in the set, ascending.
func (b Bitmap) All() []int {
	var out []int
	for i, x := range b {
		for ; x != 0; x &= x - 1 {
			out = append(out, i*8+bits.TrailingZeros8(x))
		}
	}
	return out
}

// Union returns a new set with the numbers of both.
func (b Bitmap) Union(c Bitmap) Bitmap {
	if len(b) < len(c) {
		b, c = c, b
	}
	out := b.Clone()
	for i, x := range c {
		out[i] |= x
	}
	return out
}

// Minus returns a new set with the numbers of b that are not in c.
func (b Bitmap) Minus(c Bitmap) Bitmap {
	out := b.Clone()
	for i := range out {
		if i < len(c) {
			out[i] &^= c[i]
		}
	}
	return out
}
