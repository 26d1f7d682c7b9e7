package artifacts

import (
	"context"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/pace"
)

// lookEvery is how often the shaper is told how the members fare.
const lookEvery = time.Second

// shaper is a pace.Shaper for all streams, with a clock.
type shaper struct {
	free bool // nothing is limited, and nothing can come to be
	look func() pace.Look

	mu     sync.Mutex // guards the fields below; not held while anybody waits or looks
	s      *pace.Shaper
	looked time.Time
}

func newShaper(cfg Config) *shaper {
	return &shaper{
		free: cfg.Look == nil && cfg.UploadBytesPerSec == 0 && cfg.PeerBytesPerSec == 0, look: cfg.Look,
		s: pace.NewShaper(pace.Limits{Node: cfg.UploadBytesPerSec, Peer: cfg.PeerBytesPerSec}),
	}
}

// step is how many of n bytes to write at a time.
func (p *shaper) step(n int) int {
	if p.free {
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
	if p.free {
		return nil
	}
	p.mu.Lock()
	d := p.s.Take(time.Now(), c, peer, n)
	p.mu.Unlock()
	if d <= 0 {
		return ctx.Err()
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		p.give(c, peer, n)
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		p.give(c, peer, n)
		return ctx.Err()
	}
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
// Control never waits, but images make room for it; documents wait for each other
// only. Without an upload limit nothing waits.
func (x *Exchange) Wait(ctx context.Context, c pace.Class, n int) error {
	return x.shape.wait(ctx, c, "", n)
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
