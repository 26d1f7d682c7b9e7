package fabric

// A fifo is a queue. It keeps its memory while it is in use.
type fifo[T any] struct {
	all  []T
	head int
}

func (f *fifo[T]) len() int   { return len(f.all) - f.head }
func (f *fifo[T]) first() *T  { return &f.all[f.head] }
func (f *fifo[T]) items() []T { return f.all[f.head:] }

func (f *fifo[T]) push(v T) {
	if f.head > len(f.all)/2 && len(f.all) == cap(f.all) {
		n := copy(f.all, f.all[f.head:])
		clear(f.all[n:])
		f.all, f.head = f.all[:n], 0
	}
	f.all = append(f.all, v)
}

func (f *fifo[T]) pop() T {
	var zero T
	v := f.all[f.head]
	f.all[f.head] = zero
	if f.head++; f.head == len(f.all) {
		f.all, f.head = f.all[:0], 0
	}
	return v
}

// buffers keeps memory that is free again: a simulator collects garbage seldom.
type buffers struct{ free [4][][]byte }

// classes are the sizes of buffers: a message, a packet, a burst, a whole segment.
var classes = [4]int{256, 2 << 10, 16 << 10, maxSegment}

// keep bounds the free buffers of each class, in bytes.
const keep = 16 << 20

// get returns an empty buffer with room for size bytes, which are at most maxSegment.
func (b *buffers) get(size int) []byte {
	for i, c := range classes {
		if size > c {
			continue
		}
		if last := len(b.free[i]) - 1; last >= 0 {
			buf := b.free[i][last]
			b.free[i] = b.free[i][:last]
			return buf
		}
		return make([]byte, 0, c)
	}
	return make([]byte, 0, size)
}

// put takes a buffer back; nobody may use it any more.
func (b *buffers) put(buf []byte) {
	for i, c := range classes {
		if cap(buf) == c && (len(b.free[i])+1)*c <= keep {
			b.free[i] = append(b.free[i], buf[:0])
			return
		}
	}
}
