package node

import (
	"sync"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// lent counts who reads an image beside the slots by itself: for as long nobody removes
// it. Its zero value is ready, and it is safe for concurrent use.
type lent struct {
	mu sync.Mutex // guards of
	of map[manifest.Digest]int
}

// lend keeps an image until done is called, which may be once.
func (l *lent) lend(d manifest.Digest) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[manifest.Digest]int{}
	}
	l.of[d]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.of[d]--; l.of[d] == 0 {
			delete(l.of, d)
		}
	}
}

// unless calls remove if nobody reads an image, and lets nobody begin to before that
// returns. ok says that it was called.
func (l *lent) unless(d manifest.Digest, remove func() error) (ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[d] > 0 {
		return false, nil
	}
	return true, remove()
}

// has reports whether anybody reads an image.
func (l *lent) has(d manifest.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[d] > 0
}
