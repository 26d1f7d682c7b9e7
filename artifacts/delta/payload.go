package delta

import (
	"encoding/binary"
	"math"
)

// A payload is what a segment's frame unpacks to. It makes bytes of the base, which
// is the segment's ranges one after the other:
//
//	lengths   of ops, gaps and values, each a uvarint
//	ops       triples of varints: add, insert (unsigned), seek (signed). Take add
//	          bytes of the base from where the last op stopped plus seek, then insert
//	          bytes of the extra.
//	gaps      pairs of uvarints: of the bytes that ops took of the base, one after
//	          the other, pass over so many, then change so many.
//	values    what is added, modulo 256, to each byte that is changed
//	extra     what is inserted
//
// A linked program differs from the last one in addresses, a few bytes in every
// hundred: gaps and values are shorter than a difference that is mostly zero, and
// each of the four streams compresses better by itself.

// An op makes add bytes like those of the base at pos, and insert new ones.
type op struct{ pos, add, insert int }

// appendPayload appends the payload that makes fresh of base by ops, whose lengths
// sum to that of fresh.
func appendPayload(dst []byte, ops []op, base, fresh []byte) []byte {
	var list, gaps, values, extra []byte
	at, gap := 0, 0
	for _, o := range ops {
		list = binary.AppendUvarint(list, uint64(o.add))
		list = binary.AppendUvarint(list, uint64(o.insert))
		list = binary.AppendVarint(list, int64(o.pos-at))
		old, now := base[o.pos:o.pos+o.add], fresh[:o.add]
		for i := 0; i < o.add; {
			same := common(old[i:], now[i:])
			gap += same
			i += same
			from := i
			for ; i < o.add && old[i] != now[i]; i++ {
				values = append(values, now[i]-old[i])
			}
			if i > from {
				gaps = binary.AppendUvarint(gaps, uint64(gap))
				gaps = binary.AppendUvarint(gaps, uint64(i-from))
				gap = 0
			}
		}
		extra = append(extra, fresh[o.add:o.add+o.insert]...)
		at, fresh = o.pos+o.add, fresh[o.add+o.insert:]
	}
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	dst = binary.AppendUvarint(dst, uint64(len(gaps)))
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, s := range [][]byte{list, gaps, values, extra} {
		dst = append(dst, s...)
	}
	return dst
}

// varints reads numbers off a stream.
type varints struct{ b []byte }

// next is the next number, which must fit into an int.
func (v *varints) next() (int, error) {
	u, n := binary.Uvarint(v.b)
	if n <= 0 || u > math.MaxInt32 {
		return 0, bad("a number is cut off or too large")
	}
	v.b = v.b[n:]
	return int(u), nil
}

// signed is the next number that may be negative.
func (v *varints) signed() (int, error) {
	i, n := binary.Varint(v.b)
	if n <= 0 || i > math.MaxInt32 || i < -math.MaxInt32 {
		return 0, bad("a number is cut off or too large")
	}
	v.b = v.b[n:]
	return int(i), nil
}

// take cuts n bytes off the front of b.
func take(b *[]byte, n int) ([]byte, error) {
	if n > len(*b) {
		return nil, bad("a stream is cut off")
	}
	head := (*b)[:n]
	*b = (*b)[n:]
	return head, nil
}

// changes is where bytes of the base are changed, and how.
type changes struct {
	gaps   varints
	values []byte
	pass   int // bytes to pass over before change
	change int // bytes to change
}

// apply changes the next len(b) bytes that were taken of the base.
func (c *changes) apply(b []byte) error {
	for len(b) > 0 {
		if c.change == 0 {
			if len(c.gaps.b) == 0 {
				return nil // the rest is as it was
			}
			var err error
			if c.pass, err = c.gaps.next(); err != nil {
				return err
			}
			if c.change, err = c.gaps.next(); err != nil {
				return err
			}
			if c.change == 0 || c.change > len(c.values) {
				return bad("it changes %d bytes and has %d", c.change, len(c.values))
			}
		}
		n := min(c.pass, len(b))
		c.pass, b = c.pass-n, b[n:]
		n = min(c.change, len(b))
		for i, v := range c.values[:n] {
			b[i] += v
		}
		c.change, c.values, b = c.change-n, c.values[n:], b[n:]
	}
	return nil
}

// unpack makes dst, all of it, of base as payload says. What is left over or missing
// is ErrBad.
func unpack(payload, base, dst []byte) error {
	head := varints{payload}
	var lengths [3]int
	for i := range lengths {
		var err error
		if lengths[i], err = head.next(); err != nil {
			return err
		}
	}
	rest := head.b
	var streams [3][]byte
	for i := range streams {
		var err error
		if streams[i], err = take(&rest, lengths[i]); err != nil {
			return err
		}
	}
	ops, c, extra := varints{streams[0]}, changes{gaps: varints{streams[1]}, values: streams[2]}, rest
	at := 0
	for len(ops.b) > 0 {
		o, err := readOp(&ops, at)
		if err != nil {
			return err
		}
		if o.add+o.insert == 0 || o.add+o.insert > len(dst) || o.pos < 0 || o.pos > len(base) || o.add > len(base)-o.pos {
			return bad("it takes %d bytes at %d of %d and %d more, where %d are to be made", o.add, o.pos, len(base), o.insert, len(dst))
		}
		copy(dst, base[o.pos:o.pos+o.add])
		if err := c.apply(dst[:o.add]); err != nil {
			return err
		}
		fresh, err := take(&extra, o.insert)
		if err != nil {
			return err
		}
		copy(dst[o.add:], fresh)
		at, dst = o.pos+o.add, dst[o.add+o.insert:]
	}
	if len(dst)+len(extra)+len(c.gaps.b)+len(c.values) > 0 || c.change > 0 {
		return bad("%d bytes are not made, or something is left over", len(dst))
	}
	return nil
}

// readOp reads one op; the last one stopped at this place of the base.
func readOp(v *varints, at int) (o op, err error) {
	if o.add, err = v.next(); err != nil {
		return o, err
	}
	if o.insert, err = v.next(); err != nil {
		return o, err
	}
	seek, err := v.signed()
	o.pos = at + seek
	return o, err
}
