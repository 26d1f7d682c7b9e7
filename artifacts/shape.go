package artifacts

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-swarm/starling/artifacts/pace"
)

// lookEvery is how often the shaper is told how the members fare.
const lookEvery = time.Second

// Limits are what an Exchange keeps to, in bytes per second; zero is no limit. See Config.
type Limits struct {
	Up, Down int64 // what is sent, and what is taken in
	Peer     int64 // what is sent to any one member
	Control  int64 // what is sent beside images and documents; see pace.Limits
}

// SetLimits makes other limits count from now on, for what is under way too. None may
// be negative.
func (x *Exchange) SetLimits(l Limits) {
	x.shape.setLimits(l)
	x.down.setLimits(Limits{Up: l.Down})
}

// shaper is a pace.Shaper for all streams, with a clock.
type shaper struct {
	look func() pace.Look
	free atomic.Bool // nothing is limited, unless setLimits comes

	mu      sync.Mutex // guards the fields below; not held while anybody waits or looks
	s       *pace.Shaper
	limits  Limits
	looked  time.Time
	changed chan struct{} // closed when there are other limits
}

func newShaper(look func() pace.Look, l Limits) *shaper {
	p := &shaper{look: look, s: pace.NewShaper(pace.Limits{}), changed: make(chan struct{})}
	p.setLimits(l)
	return p
}

// setLimits lets whoever waits ask again.
func (p *shaper) setLimits(l Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free.Store(p.look == nil && l == Limits{Down: l.Down})
	p.limits = l
	p.s.SetLimits(pace.Limits{Node: l.Up, Peer: l.Peer, Control: l.Control})
	close(p.changed)
	p.changed = make(chan struct{})
}

// step is how many of n bytes to write at a time.
func (p *shaper) step(n int) int {
	if p.free.Load() {
		return n
	}
	p.refresh()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s.Step(n)
}

// refresh looks at the members if that was long ago.
func (p *shaper) refresh() {
	if p.look == nil {
		return
	}
	now := time.Now()
	p.mu.Lock()
	due := now.Sub(p.looked) >= lookEvery
	if due {
		p.looked = now
	}
	p.mu.Unlock()
	if !due {
		return
	}
	l := p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Look(now, l)
}

// wait returns when n bytes of a class may go to a peer, or ctx's error: at once if they
// may not go before ctx's deadline. What does not go costs nothing, or members that ask
// again and again for what comes too late would keep everybody waiting for ever.
func (p *shaper) wait(ctx context.Context, c pace.Class, peer string, n int) error {
	for !p.free.Load() {
		d, changed := p.take(c, peer, n)
		if d <= 0 {
			return ctx.Err()
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
			p.give(c, peer, n)
			return context.DeadlineExceeded
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
			return nil
		case <-changed:
			t.Stop()
			p.give(c, peer, n)
		case <-ctx.Done():
			t.Stop()
			p.give(c, peer, n)
			return ctx.Err()
		}
	}
	return nil
}

// take takes bytes, and returns how long to wait before they go, unless changed is
// closed before.
func (p *shaper) take(c pace.Class, peer string, n int) (wait time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s.Take(time.Now(), c, peer, n), p.changed
}

func (p *shaper) give(c pace.Class, peer string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Give(c, peer, n)
}

func (p *shaper) forget(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Forget(peer)
}

// Wait returns when n bytes that this node sends beside images may go, or ctx's error.
// Control never waits, but images and talk make room for it; talk waits for the control
// before it, documents for those before them. Without limits nothing waits.
func (x *Exchange) Wait(ctx context.Context, c pace.Class, n int) error {
	if c == pace.Talk && x.shape.limitsControl() {
		x.shape.refresh() // what gossip has sent counts
	}
	return x.shape.wait(ctx, c, "", n)
}

func (p *shaper) limitsControl() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits.Control > 0
}

// Pace is what images may use of the link now, in bytes per second; zero is no limit.
// slowed says that it is less than was configured because members' probes suffer,
// floored because the robot spares itself.
func (x *Exchange) Pace() (bytesPerSec int64, slowed, floored bool) {
	x.shape.refresh()
	x.shape.mu.Lock()
	defer x.shape.mu.Unlock()
	return x.shape.s.Rate()
}
