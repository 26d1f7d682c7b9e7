package artifacts

import (
	"slices"
	"sync"
	"time"
)

// Pieces that are sent one after the other arrive sooner, on average, than pieces sent
// side by side, and can be passed on sooner. So the streams take turns: maxTurns
// pieces are on their way at a time. More than one, because word that a piece has
// arrived takes a while, and a receiver that others send to as well leaves a part of
// our link free. A turn lasts until the receiver has the piece: that it was written says
// little, for the buffers on the way hold several. It lasts for longTurn at most, and
// less if many wait: whoever receives slowly does not hold up the others. The last of
// MaxServed streams waits for allTurns at most, less than schedule.MinPatience.
const (
	maxTurns  = 4
	longTurn  = time.Second
	shortTurn = 125 * time.Millisecond
	allTurns  = 4 * time.Second
)

// turns hands turns out in the order in which they were asked for.
type turns struct {
	mu    sync.Mutex // guards the fields below
	taken int        // <= maxTurns
	queue []*turn    // those who wait; <= MaxServed
}

// A turn is one stream's.
type turn struct {
	come  chan struct{} // closed when the turn has come
	asked time.Time     // set once
	timer *time.Timer   // set then; turns.mu guards it
	over  bool          // turns.mu guards it
}

// ask queues for a turn. end must be called, whether it comes or not.
func (t *turns) ask() (come <-chan struct{}, end func()) {
	my := &turn{come: make(chan struct{}), asked: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, my)
	t.next()
	return my.come, func() { t.end(my) }
}

// end gives a turn back, or up.
func (t *turns) end(my *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if my.over {
		return
	}
	my.over = true
	if my.timer != nil {
		my.timer.Stop()
		t.taken--
	} else {
		t.queue = slices.DeleteFunc(t.queue, func(q *turn) bool { return q == my })
	}
	t.next()
}

// next lets whoever waits the longest have a turn that is free.
func (t *turns) next() {
	for t.taken < maxTurns && len(t.queue) > 0 {
		first := t.queue[0]
		t.queue = slices.Delete(t.queue, 0, 1)
		t.taken++
		first.timer = time.AfterFunc(t.lasts(), func() { t.end(first) })
		close(first.come)
	}
}

// lasts is how long a turn may last that begins now, so that none of those who wait does
// so for longer than allTurns.
func (t *turns) lasts() time.Duration {
	d := longTurn
	for i, q := range t.queue {
		d = min(d, (allTurns-time.Since(q.asked))/time.Duration(i/maxTurns+1))
	}
	return max(d, shortTurn)
}
