package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// The case "bulk" runs whole nodes: does a transfer at the full rate of every link
// disturb those who talk over the same link about who is there and who leads?

const (
	bulkRobots = 6
	bulkUplink = 2 * mib // bytes per second: a good mesh; 128 MiB take a minute
	passphrase = "bench-only"
)

func (b *bench) bulk(ctx context.Context) (err error) {
	if err := canWire(); err != nil {
		return fmt.Errorf("%w: %w", errSkip, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*runLimit)
	defer cancel()
	f := &fleet{b: b, dir: filepath.Join(b.dir, "fleet"), self: filepath.Join(b.dir, "bin", "starling-command")}
	build := exec.CommandContext(ctx, "go", "build", "-o", f.self, "./cmd/starling")
	build.Dir = filepath.Join("..", "..")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the command: %w\n%s", err, text)
	}
	if f.wires, err = newWires(bulkRobots+1, bulkUplink); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.found(ctx); err != nil {
		return err
	}
	quiet, err := f.watch(ctx, func(s []*node.Status, since time.Duration) bool { return since > 10*time.Second })
	if err != nil {
		return err
	}
	if err := f.publish(ctx, "1.1", 128*mib/b.scale); err != nil {
		return err
	}
	if _, err := f.run(ctx, "rollout", "start", "1.1", "--yes", "--canary", "5%", "--canary-min", "1", "--waves", "100%", "--soak", "1s", "--exposure", "2s",
		"--wave-soak", "0s", "--final-soak", "0s", "--min-healthy", "1s", "--batch", "50%", "--prefetch", "all"); err != nil {
		return err
	}
	busy, err := f.watch(ctx, fetched("1.1"))
	if err != nil {
		return err
	}
	rate := float64(bulkRobots) * 128 / float64(b.scale) / busy.took.Seconds()
	b.say("%d robots fetched %d MiB in %.0f s: %.1f MiB/s together, %.0f %% of all uplinks", bulkRobots, 128/b.scale, busy.took.Seconds(),
		rate, 100*rate*mib/float64(bulkUplink*(bulkRobots+1)))
	var t table
	t.add("", "looked", "suspected or dead, at most", "leaders seen", "terms seen")
	for i, w := range []*watched{quiet, busy} {
		t.add([]string{"quiet", "bulk"}[i], fmt.Sprint(w.looks), fmt.Sprint(w.worst), fmt.Sprint(len(w.leaders)), fmt.Sprint(len(w.terms)))
	}
	return t.print(b.out)
}

// fetched reports whether every robot has got this release, or has gone further.
func fetched(version string) func([]*node.Status, time.Duration) bool {
	return func(all []*node.Status, _ time.Duration) bool {
		return !slices.ContainsFunc(all[1:], func(s *node.Status) bool {
			if s == nil || len(s.Here) == 0 || s.Here[0].Release == nil || s.Here[0].Release.Version != version {
				return true
			}
			return s.Here[0].Phase == "fetching"
		})
	}
}

// watched is what was seen in a while.
type watched struct {
	took    time.Duration
	looks   int // how often everybody was asked
	worst   int // members that one node suspected or took for dead at a time
	leaders map[string]bool
	terms   map[uint64]bool
}

// watch asks every node for its status again and again until the condition holds.
// The statuses are indexed as the members; nil is no answer.
func (f *fleet) watch(ctx context.Context, until func(all []*node.Status, since time.Duration) bool) (*watched, error) {
	w := &watched{leaders: map[string]bool{}, terms: map[uint64]bool{}}
	clients := make([]*api.Client, bulkRobots+1)
	for i := range clients {
		clients[i] = api.Dial(f.socket(i))
		defer clients[i].Close()
	}
	began := time.Now()
	for {
		all := make([]*node.Status, len(clients))
		for i, c := range clients {
			s, err := c.Status(ctx)
			if err != nil {
				continue // its node is not up yet, or busy
			}
			all[i] = s
			w.worst = max(w.worst, s.Members.Suspect+s.Members.Dead)
			if s.Quorum.Leader != "" {
				w.leaders[string(s.Quorum.Leader)] = true
			}
			if s.Quorum.Term > 0 {
				w.terms[s.Quorum.Term] = true
			}
		}
		w.looks++
		if w.took = time.Since(began); until(all, w.took) {
			return w, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; leaders %v, terms %v\n%s", context.Cause(ctx), slices.Collect(maps.Keys(w.leaders)), slices.Collect(maps.Keys(w.terms)), f.logs())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
