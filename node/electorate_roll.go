package node

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// rollShare is how often in the time after which a voter counts as dead each of the
// others asks it.
const rollShare = 10

// roll is what one voter has heard of the other seats, from their holders'
// own keys: gossip, which anybody in the swarm can fake, does not count. A node that
// answers while its replica does not run is as good as dead.
type roll struct {
	every time.Duration // between two calls

	mu    sync.Mutex // guards seats; never held across I/O
	seats map[envelope.Key]rollEntry
}

type rollEntry struct {
	server string
	heard  time.Time // when the seat last answered, or was first looked for
	missed int       // questions without an answer since
	lost   bool
}

func newRoll(every time.Duration) *roll {
	return &roll{every: every, seats: map[envelope.Key]rollEntry{}}
}

// reset forgets everything: what was heard by an earlier seat says nothing of the time since.
func (r *roll) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.seats)
}

// watch makes e the seats that are looked for; the time runs from now for those
// that are new.
func (r *roll) watch(e *order.Electorate, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := make(map[envelope.Key]rollEntry, len(e.Voters))
	for _, v := range e.Voters {
		old, ok := r.seats[v.Key]
		if !ok || old.server != v.Server {
			old = rollEntry{server: v.Server, heard: now}
		}
		next[v.Key] = old
	}
	r.seats = next
}

// note takes what the holder of a seat said of itself; the zero answer is silence.
func (r *roll) note(k envelope.Key, a seatAnswer, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.seats[k]
	if !ok {
		return
	}
	if e.lost = a.Lost == e.server; a.Server == e.server {
		e.heard, e.missed, e.lost = now, 0, false
	} else {
		e.missed++
	}
	r.seats[k] = e
}

// of is how a seat stands; zero for one that is not looked for. Time in which this
// voter did not ask, for it was itself asleep, is no silence: each question counts for
// one interval at most.
func (r *roll) of(k envelope.Key, now time.Time) (unheard time.Duration, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.seats[k]
	if !ok {
		return 0, false
	}
	return min(now.Sub(e.heard), time.Duration(e.missed)*r.every), e.lost
}

// callRoll asks every seat once, and waits for the answers.
func (w *voter) callRoll(ctx context.Context, e *order.Electorate) {
	w.roll.watch(e, time.Now())
	var g errgroup.Group
	for _, v := range e.Voters {
		g.Go(func() error {
			if _, err := w.inquire(ctx, v.Key); err != nil && ctx.Err() == nil {
				w.n.log.Debug("voter does not answer", "member", v.Member, "err", err)
			}
			return nil
		})
	}
	_ = g.Wait() // nil: whoever does not answer is not heard, and that is all
}

// inquire asks a member how it stands, and notes the answer. It takes half of the
// usual time, for others wait for this voter meanwhile.
func (w *voter) inquire(ctx context.Context, k envelope.Key) (seatAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, w.n.time.call/2)
	defer cancel()
	a, err := w.n.askSeat(ctx, k, seatRequest{Kind: seatInquiry, Generation: w.n.keeper.View().generation()})
	if err != nil {
		a = seatAnswer{}
	}
	w.roll.note(k, a, time.Now())
	return a, err
}

// generation is that of the newest genesis, zero before the first.
func (v *View) generation() uint32 {
	if v.Genesis == nil {
		return 0
	}
	return v.Genesis.Order.Generation
}
