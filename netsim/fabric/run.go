package fabric

import (
	"context"
	"math"
	"time"
)

// never is later than anything.
const never = time.Duration(math.MaxInt64)

// A task is what an event does when its time has come.
type task interface {
	run(n *Net, now time.Duration)
}

// An event is a task with its time; seq orders events of one time.
type event struct {
	at   time.Duration
	seq  uint64
	task task
}

// events is a heap with four children to a node: half as deep as a binary one, and
// without the interface calls of container/heap.
type events struct {
	heap []event
	seq  uint64
}

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (e *events) push(at time.Duration, t task) {
	e.seq++
	e.heap = append(e.heap, event{})
	h := e.heap
	x := event{at, e.seq, t}
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !before(&x, &h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = x
}

func (e *events) pop() event {
	h := e.heap
	top := h[0]
	last := len(h) - 1
	x := h[last]
	h[last] = event{}
	h = h[:last]
	e.heap = h
	if last == 0 {
		return top
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= last {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, last); c++ {
			if before(&h[c], &h[least]) {
				least = c
			}
		}
		if !before(&h[least], &x) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = x
	return top
}

// plan makes t happen at a time, and sees to it that Run is awake then. The lock is held.
func (n *Net) plan(at time.Duration, t task) {
	n.events.push(at, t)
	if at < n.next {
		n.next = at
		select {
		case n.wake <- struct{}{}:
		default: // Run is about to look anyway
		}
	}
}

// Run moves the network until ctx ends, and returns nil. It is called once. After
// it every socket fails, so that whoever waits for one goes on.
func (n *Net) Run(ctx context.Context) error {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		if wait, timed := n.advance(); timed {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			n.end()
			return nil
		case <-n.wake:
		case <-timer.C:
		}
	}
}

// advance runs what is due and returns how long there is nothing to do; timed is
// false if nothing is planned.
func (n *Net) advance() (wait time.Duration, timed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = -1 // nobody needs to wake Run: it is awake
	now := n.now()
	for len(n.events.heap) > 0 && n.events.heap[0].at <= now {
		e := n.events.pop()
		e.task.run(n, now)
	}
	if n.next = never; len(n.events.heap) == 0 {
		return 0, false
	}
	n.next = n.events.heap[0].at
	return n.next - now, true
}

// end fails all sockets.
func (n *Net) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	for _, h := range n.hosts {
		h.fail(errEnded)
	}
	n.events = events{}
	n.next = -1 // nobody is there to be woken
}

// A gate lets goroutines wait for a change. Its fields are guarded by the
// network's lock.
type gate struct{ ch chan struct{} } // closed at the next change; nil while nobody waits

// open wakes everybody who waits.
func (g *gate) open() {
	if g.ch != nil {
		close(g.ch)
		g.ch = nil
	}
}

// wait blocks until g opens or the deadline passes; the zero deadline never does.
// The lock is held before and after, not while it waits.
func (n *Net) wait(g *gate, deadline time.Time) {
	if g.ch == nil {
		g.ch = make(chan struct{})
	}
	ch := g.ch
	n.mu.Unlock()
	defer n.mu.Lock()
	if deadline.IsZero() {
		<-ch
		return
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-ch:
	case <-t.C:
	}
}

// expired reports whether a deadline has passed.
func expired(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}
