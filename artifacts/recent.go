package artifacts

import "sync"

// recentBytes bounds what a fetch keeps in memory of what came last.
const recentBytes = 8 << 20

// recent keeps the chunks that came last, verified, for a moment: what has just come is
// what others ask for next, and reading it back would cost a read and a hash of every
// byte passed on. It is a ring of bytes in which the newest chunk overwrites the
// oldest. It is safe for concurrent use.
type recent struct {
	bytes int64 // of the ring

	mu    sync.Mutex // guards the fields below
	ring  []byte
	next  int          // where the next chunk goes in ring
	old   []kept       // what is in ring, oldest first; no two share bytes
	place map[int]kept // the same by chunk
}

// kept is a chunk's place in the ring.
type kept struct{ chunk, from, to int }

// newRecent is for an image of so many bytes. It takes memory when something is put in.
func newRecent(bytes int64) *recent {
	return &recent{bytes: min(bytes, recentBytes), place: map[int]kept{}}
}

// put keeps a copy of a chunk. One that is longer than the ring is not kept.
func (r *recent) put(chunk int, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring == nil {
		r.ring = make([]byte, r.bytes)
	}
	if _, twice := r.place[chunk]; twice || len(data) > len(r.ring) {
		return
	}
	if r.next+len(data) > len(r.ring) {
		r.forget(r.next, len(r.ring))
		r.next = 0
	}
	k := kept{chunk, r.next, r.next + len(data)}
	r.forget(k.from, k.to)
	copy(r.ring[k.from:k.to], data)
	r.next = k.to
	r.old = append(r.old, k)
	r.place[chunk] = k
}

// forget drops the oldest chunks for as long as they have bytes in this part of the
// ring.
func (r *recent) forget(from, to int) {
	for len(r.old) > 0 && r.old[0].from < to && r.old[0].to > from {
		delete(r.place, r.old[0].chunk)
		r.old = r.old[1:]
	}
}

// get returns a copy of a chunk, in buf if it is large enough.
func (r *recent) get(chunk int, buf []byte) (data []byte, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.place[chunk]
	if !ok {
		return nil, false
	}
	return append(buf[:0], r.ring[k.from:k.to]...), true
}
