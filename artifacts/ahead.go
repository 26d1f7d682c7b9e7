package artifacts

// ahead is what a server has read of the piece that it sends: a few chunks at a time, as
// many as the largest chunk has bytes, for it costs less to read and hash them together.
// They are proven when they are read, and sent soon.
type ahead struct {
	first, end int    // the chunks that are in data
	data       []byte // what is left of buf
	buf        []byte
}

// next returns chunk n, valid until the next call. The chunks from there to end-1 are
// wanted.
func (a *ahead) next(h *shared, n, end int) ([]byte, error) {
	if n != a.first || a.first == a.end {
		a.first, a.end = 0, 0
		data, last, err := h.read(n, end, a.buf)
		if err != nil {
			return nil, err
		}
		a.first, a.end, a.data, a.buf = n, last, data, data
	}
	chunk := a.data[:h.chunks[n].Bytes]
	a.first, a.data = n+1, a.data[len(chunk):]
	return chunk, nil
}

// following is how many of these numbers, of which there are some, follow each other.
func following(numbers []int) int {
	n := 1
	for n < len(numbers) && numbers[n] == numbers[n-1]+1 {
		n++
	}
	return n
}
