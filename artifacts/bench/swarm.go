package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

// A setup is what one swarm is to do.
type setup struct {
	system   system
	image    *image
	fetchers int
	// uplink is what each member can send, in bytes per second; zero is no limit. It is
	// the kernel's to keep; with own set, the system's.
	uplink int64
	own    bool
	wired  bool // a name space for each member, though its uplink has no limit
	// options are those of one member, added to the system's. Nil is none.
	options func(member int) map[string]string
}

// bound is the least time that the distribution can take, Kumar and Ross (2006):
// max(F/u, N F/((N+1) u)); zero without limits.
func (s setup) bound() time.Duration {
	if s.uplink == 0 {
		return 0
	}
	n := float64(s.fetchers)
	return time.Duration(float64(s.image.size) / float64(s.uplink) * max(1, n/(n+1)) * float64(time.Second))
}

// delivered is how many bytes all fetchers want, together.
func (s setup) delivered() float64 { return float64(s.fetchers) * float64(s.image.size) }

// A swarm is a seed and fetchers, each a process.
type swarm struct {
	setup
	dir      string
	argv     []string
	wires    *wires // nil on loopback
	profiles string // see bench
	children []*child
	began    time.Time
}

// newSwarm starts all members, and tells each of all others.
func (b *bench) newSwarm(ctx context.Context, s setup) (*swarm, error) {
	argv, err := b.argv(ctx, s.system)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "swarm-")
	if err != nil {
		return nil, err
	}
	w := &swarm{setup: s, dir: dir, argv: argv, profiles: b.profiles, children: make([]*child, s.fetchers+1)}
	if err := w.open(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *swarm) open(ctx context.Context) (err error) {
	if w.uplink > 0 && !w.own || w.wired {
		if w.wires, err = newWires(w.fetchers+1, w.uplink); err != nil {
			return err
		}
	}
	for i := range w.children {
		if err := w.start(ctx, i); err != nil {
			return err
		}
	}
	return w.connect(ctx)
}

// start starts the process of member i, anew if it was killed.
func (w *swarm) start(ctx context.Context, i int) error {
	spec := peer.Spec{
		Index: i, Seed: i == 0, Dir: filepath.Join(w.dir, fmt.Sprint(i)), Source: w.image.path, Meta: w.image.meta,
		Listen: "127.0.0.1:0", Options: maps.Clone(w.system.options),
	}
	if spec.Options == nil {
		spec.Options = map[string]string{}
	}
	if w.options != nil {
		maps.Copy(spec.Options, w.options(i))
	}
	if w.profiles != "" {
		spec.Options["profile"] = filepath.Join(w.profiles, fmt.Sprintf("%s-%d.pprof", w.system.name, i))
	}
	var prefix []string
	switch {
	case w.wires != nil:
		spec.Listen, prefix = w.wires.addr(i)+":0", w.wires.prefix(i)
	case w.own:
		spec.UploadBytesPerSec = w.uplink
	}
	if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
		return err
	}
	c, err := startChild(ctx, prefix, w.argv, spec)
	if err != nil {
		return err
	}
	w.children[i] = c
	return nil
}

// others lists the addresses of all members but i.
func (w *swarm) others(i int) []peer.Address {
	var out []peer.Address
	for k, c := range w.children {
		if k != i {
			out = append(out, c.addr)
		}
	}
	return out
}

func (w *swarm) connect(ctx context.Context) error {
	return w.each(func(i int, c *child) error {
		_, err := c.ask(ctx, "connect", "ready", w.others(i)...)
		return err
	})
}

// each runs f for all members at once.
func (w *swarm) each(f func(i int, c *child) error) error {
	errs := make([]error, len(w.children))
	var wg sync.WaitGroup
	for i, c := range w.children {
		wg.Go(func() { errs[i] = f(i, c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// begin lets everybody go, once the disk has what the round before left in memory: it
// would be this one's to wait for.
func (w *swarm) begin() error {
	syscall.Sync()
	w.began = time.Now()
	return w.each(func(_ int, c *child) error { return c.tell("go") })
}

// finish waits until every fetcher has the file, and returns when the last one had.
func (w *swarm) finish(ctx context.Context) (time.Duration, error) {
	ends := make([]time.Time, len(w.children))
	err := w.each(func(i int, c *child) error {
		if i == 0 {
			return nil
		}
		n, err := c.await(ctx, "done")
		ends[i] = n.at
		return err
	})
	var last time.Duration
	for _, at := range ends[1:] {
		last = max(last, at.Sub(w.began))
	}
	return last, err
}

// stats asks all members that live.
func (w *swarm) stats(ctx context.Context) ([]peer.Stats, error) {
	out := make([]peer.Stats, len(w.children))
	err := w.each(func(i int, c *child) error {
		if c.ended {
			return nil
		}
		n, err := c.ask(ctx, "stats", "stats")
		if err == nil {
			out[i] = *n.Stats
		}
		return err
	})
	return out, err
}

// check compares the fetchers' files with the seed's.
func (w *swarm) check() error {
	var errs []error
	for _, c := range w.children[1:] {
		errs = append(errs, w.image.check(c.spec.Dir))
	}
	return errors.Join(errs...)
}

// close ends all processes and removes what they made.
func (w *swarm) close() error {
	err := w.each(func(_ int, c *child) error {
		if c != nil {
			c.leave()
		}
		return nil
	})
	if w.wires != nil {
		err = errors.Join(err, w.wires.close())
	}
	return errors.Join(err, removeAll(w.dir))
}

// A result is what one run of a swarm took.
type result struct {
	seconds    float64
	ratio      float64 // to the bound; NaN without one
	seedTimes  float64 // the file, sent by the seed; NaN if the system does not say
	duplicates float64 // of what was wanted, in percent; NaN likewise
	wire       float64 // what the seed put on its wire, headers included, by the file; NaN on loopback
	cpuPerGiB  float64 // seconds of all members by GiB delivered
	peakRSS    float64 // MiB, of the largest fetcher
}

// measure distributes the file once.
func (b *bench) measure(ctx context.Context, s setup) (r result, err error) {
	w, err := b.newSwarm(ctx, s)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.begin(); err != nil {
		return result{}, err
	}
	took, err := w.finish(ctx)
	if err != nil {
		return result{}, err
	}
	stats, err := w.stats(ctx)
	if err != nil {
		return result{}, err
	}
	if err := w.check(); err != nil {
		return result{}, err
	}
	return w.result(took, stats)
}

func (w *swarm) result(took time.Duration, stats []peer.Stats) (result, error) {
	r := result{seconds: took.Seconds(), ratio: math.NaN(), wire: math.NaN()}
	if bound := w.bound(); bound > 0 {
		r.ratio = took.Seconds() / bound.Seconds()
	}
	var sent float64
	for i, s := range stats {
		r.cpuPerGiB += s.CPUSeconds / (w.delivered() / (1 << 30))
		if i > 0 {
			r.peakRSS = max(r.peakRSS, float64(s.PeakRSSBytes)/(1<<20))
		}
		if s.SentBytes < 0 {
			sent = math.NaN()
		}
		sent += float64(s.SentBytes)
	}
	r.seedTimes = float64(stats[0].SentBytes) / float64(w.image.size)
	if stats[0].SentBytes < 0 {
		r.seedTimes = math.NaN()
	}
	r.duplicates = 100 * (sent/w.delivered() - 1)
	if w.wires != nil {
		n, err := w.wires.sent(0)
		if err != nil {
			return r, err
		}
		r.wire = float64(n) / float64(w.image.size)
	}
	return r, nil
}

// removeAll also removes what a sealed image has made read-only.
func removeAll(dir string) error {
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(p, 0o755)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
