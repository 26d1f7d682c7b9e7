package node

import "sync"

// broadcast wakes everybody who waits, any number of times.
type broadcast struct {
	mu sync.Mutex // guards c
	c  chan struct{}
}

func newBroadcast() *broadcast { return &broadcast{c: make(chan struct{})} }

// next is closed at the next wake.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.c
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.c)
	b.c = make(chan struct{})
}

// changed tells those who look at the node that there is something to see.
func (n *Node) changed() { n.wake.wake() }

// Changed is closed when something in Status has changed since it was called.
func (n *Node) Changed() <-chan struct{} { return n.wake.next() }
