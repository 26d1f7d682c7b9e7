package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

// These cases have no rival: they ask what becomes of Starling's own exchange when
// things go wrong. Uplinks are limited, so that there is time for it.

// ours is what the cases below start from: so many MiB, robots, and uplink.
func (b *bench) ours(sizeMiB, fetchers int, uplink int64) (setup, error) {
	if !b.own {
		if err := canWire(); err != nil {
			return setup{}, fmt.Errorf("%w: %w; -own does without", errSkip, err)
		}
	}
	im, err := b.image(max(1, sizeMiB/b.scale))
	if err != nil {
		return setup{}, err
	}
	s, err := find("starling")
	return setup{system: s, image: im, fetchers: fetchers, uplink: uplink, own: b.own}, err
}

// story starts a swarm, lets everybody go and tells what happens then.
func (b *bench) story(ctx context.Context, s setup, tell func(ctx context.Context, w *swarm) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	w, err := b.newSwarm(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.begin(); err != nil {
		return err
	}
	return tell(ctx, w)
}

// liar: one of ten robots passes every tenth piece on with wrong bytes.
func (b *bench) liar(ctx context.Context) error {
	s, err := b.ours(64, 10, 8*mib)
	if err != nil {
		return err
	}
	const who = 3
	s.options = func(member int) map[string]string {
		if member == who {
			return map[string]string{"lie": "1"}
		}
		return nil
	}
	return b.story(ctx, s, func(ctx context.Context, w *swarm) error {
		took, err := w.finish(ctx)
		if err != nil {
			return err
		}
		stats, err := w.stats(ctx)
		if err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return err
		}
		named, wrong := map[int]bool{}, 0
		for i, c := range w.children {
			for _, n := range c.seen {
				switch {
				case n.At != "rejected":
				case n.Peer != who:
					return fmt.Errorf("member %d blames %d, who is honest", i, n.Peer)
				default:
					wrong++
					named[i] = true
				}
			}
		}
		if wrong == 0 {
			return errors.New("the liar was never asked, or nobody noticed")
		}
		r, err := w.result(took, stats)
		if err != nil {
			return err
		}
		b.say("all %d finished in %.2f s (%.3f x bound), %.2f %% more sent than wanted (reach: 2)", s.fetchers, r.seconds, r.ratio, r.duplicates)
		b.say("%d wrong chunks were refused, all from the liar, named by %d members", wrong, len(named))
		return nil
	})
}

// leave: the seed goes as soon as it says that it may.
func (b *bench) leave(ctx context.Context) error {
	s, err := b.ours(64, 6, 8*mib)
	if err != nil {
		return err
	}
	return b.story(ctx, s, func(ctx context.Context, w *swarm) error {
		if _, err := w.children[0].await(ctx, "safe"); err != nil {
			return err
		}
		safe := time.Since(w.began)
		w.children[0].kill()
		took, err := w.finish(ctx)
		if err != nil {
			return err
		}
		b.say("safe to leave after %.2f s, seed killed; all %d finished after %.2f s (%.3f x the bound with a seed)",
			safe.Seconds(), s.fetchers, took.Seconds(), took.Seconds()/w.bound().Seconds())
		return w.check()
	})
}

// killed: the power fails at 50 %, everywhere at once, and comes back.
func (b *bench) killed(ctx context.Context) error {
	s, err := b.ours(64, 4, 8*mib)
	if err != nil {
		return err
	}
	return b.story(ctx, s, func(ctx context.Context, w *swarm) error {
		before, err := w.progress(ctx, 500)
		if err != nil {
			return err
		}
		for _, c := range w.children {
			c.kill()
		}
		for i := range w.children {
			if err := w.start(ctx, i); err != nil {
				return err
			}
		}
		if err := errors.Join(w.connect(ctx), w.begin()); err != nil {
			return err
		}
		lost, held := 0, make([]int, len(w.children))
		for i, c := range w.children[1:] {
			n, err := c.await(ctx, "progress")
			if err != nil {
				return err
			}
			held[i+1] = n.Permille
			lost += max(0, before[i+1]-n.Permille)
		}
		if _, err := w.finish(ctx); err != nil {
			return err
		}
		stats, err := w.stats(ctx)
		if err != nil {
			return err
		}
		var sent, missing int64
		for i, st := range stats {
			sent += st.SentBytes
			if i > 0 {
				missing += w.image.size * int64(1000-held[i]) / 1000
			}
		}
		b.say("killed at %v per mille, found %v after the start", before[1:], held[1:])
		b.say("lost: %.2f %% of the file a robot; sent after the start: %.2f %% of what was missing (reach, both together: 2 %% of the file again)",
			float64(lost)/10/float64(s.fetchers), 100*float64(sent)/float64(missing))
		return w.check()
	})
}

// progress waits until the mean progress of the fetchers is so many per mille, and
// returns each one's.
func (w *swarm) progress(ctx context.Context, permille int) ([]int, error) {
	at := make([]int, len(w.children))
	for {
		sum := 0
		for i, c := range w.children[1:] {
			for n, ok := c.heard(); ok; n, ok = c.heard() {
				if n.At == "progress" {
					at[i+1] = n.Permille
				}
			}
			sum += at[i+1]
		}
		if sum >= permille*w.fetchers {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// split: after 40 % of seeding the swarm falls into two halves, of which one has the
// seed; after a while it heals.
func (b *bench) split(ctx context.Context) error {
	s, err := b.ours(64, 8, 8*mib)
	if err != nil {
		return err
	}
	const half = 4 // members 0 to 4 keep the seed
	return b.story(ctx, s, func(ctx context.Context, w *swarm) error {
		if _, err := w.progress(ctx, 400); err != nil {
			return err
		}
		var left, right []peer.Address
		for i, c := range w.children {
			if i <= half {
				left = append(left, c.addr)
			} else {
				right = append(right, c.addr)
			}
		}
		err := w.each(func(i int, c *child) error {
			lose := right
			if i > half {
				lose = left
			}
			_, err := c.ask(ctx, "cut", "ready", lose...)
			return err
		})
		if err != nil {
			return err
		}
		cut := time.Since(w.began)
		for _, c := range w.children[1 : half+1] {
			if _, err := c.await(ctx, "done"); err != nil {
				return err
			}
		}
		seeded := time.Since(w.began)
		joint, err := w.settle(ctx, w.children[half+1:])
		if err != nil {
			return err
		}
		crossed, err := w.crossed(ctx, half)
		if err != nil {
			return err
		}
		healed := time.Now()
		if err := w.each(func(_ int, c *child) error { _, err := c.ask(ctx, "heal", "ready"); return err }); err != nil {
			return err
		}
		for _, c := range w.children[half+1:] {
			if _, err := c.await(ctx, "done"); err != nil {
				return err
			}
		}
		took := time.Since(healed)
		after, err := w.crossed(ctx, half)
		if err != nil {
			return err
		}
		missing := float64(w.image.size) * float64(1000-joint[0]) / 1000
		b.say("cut after %.2f s; the half with the seed finished after %.2f s; the other reached %v per mille each", cut.Seconds(), seeded.Seconds(), joint)
		b.say("healed: finished %.2f s later; over the cut went %.2f x what that half lacked (reach: 1 x)", took.Seconds(), float64(after-crossed)/missing)
		return w.check()
	})
}

// settle waits until these members make no more progress, and returns how far each
// has come.
func (w *swarm) settle(ctx context.Context, members []*child) ([]int, error) {
	const still = 4 * time.Second // longer than the exchange takes to look for others
	at, last := make([]int, len(members)), time.Now()
	for time.Since(last) < still {
		for i, c := range members {
			for n, ok := c.heard(); ok; n, ok = c.heard() {
				if n.At == "progress" {
					at[i], last = n.Permille, n.at
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return at, nil
}

// crossed is how many bytes members above half have read from those below, so far.
func (w *swarm) crossed(ctx context.Context, half int) (sum int64, err error) {
	stats, err := w.stats(ctx)
	for i, s := range stats {
		for from, n := range s.From {
			if i > half && from <= half {
				sum += n
			}
		}
	}
	return sum, err
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, "  "+format+"\n", args...) }
