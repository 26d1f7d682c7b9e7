package delta

import "slices"

// A draft is a segment that is being made: new bytes, and ops on a window.
type draft struct {
	fresh []byte
	ops   []op
	win   *window
}

// span is a part of a window that ops need.
type span struct{ from, to int }

// needs returns the parts of the window that ops take bytes of, rising, with gaps of
// less than gap filled in.
func needs(ops []op, gap int) []span {
	var all []span
	for _, o := range ops {
		if o.add > 0 {
			all = append(all, span{o.pos, o.pos + o.add})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.from - b.from })
	var out []span
	for _, s := range all {
		if k := len(out) - 1; k >= 0 && s.from <= out[k].to+gap {
			out[k].to = max(out[k].to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// base chooses the ranges of the old image that the draft needs, and moves its ops
// from the window onto them. ok is false if they are too many or too large.
func (d *draft) base() (ranges []Range, data []byte, ops []op, ok bool) {
	var spans []span
	for gap := 256; ; gap *= 4 {
		ranges, spans = nil, needs(d.ops, gap)
		for _, s := range spans {
			ranges = d.win.ranges(ranges, s.from, s.to)
		}
		if len(ranges) <= MaxRanges {
			break
		}
		if gap > MaxBaseBytes { // the ground itself is in too many parts
			return nil, nil, nil, false
		}
	}
	starts := make([]int, len(spans)) // by spans: where it lies in data
	for i, s := range spans {
		starts[i] = len(data)
		if len(data)+s.to-s.from > MaxBaseBytes {
			return nil, nil, nil, false
		}
		data = append(data, d.win.old[s.from:s.to]...)
	}
	at := 0
	for _, o := range d.ops {
		if o.add == 0 {
			o.pos = at
		} else {
			i, found := slices.BinarySearchFunc(spans, o.pos, func(s span, pos int) int { return s.from - pos })
			if !found {
				i--
			}
			o.pos += starts[i] - spans[i].from
		}
		at = o.pos + o.add
		ops = append(ops, o)
	}
	return ranges, data, ops, true
}
