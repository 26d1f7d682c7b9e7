package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// deltas compares what a robot that has the old version needs for the new one.
func (b *bench) deltas(ctx context.Context) error {
	pairs, err := b.pairs(ctx)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if err := b.packBoth(ctx, p); err != nil {
			return err
		}
		if err := b.compareDeltas(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// packBoth makes one file of each version.
func (b *bench) packBoth(ctx context.Context, p *pair) error {
	own, err := os.MkdirTemp(b.dir, "pair-")
	if err != nil {
		return err
	}
	p.olderOne, p.newOne = filepath.Join(own, "old.tar"), filepath.Join(own, "new.tar")
	for dir, one := range map[string]string{p.older: p.olderOne, p.newer: p.newOne} {
		args := []string{"--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C", dir, "-cf", one, "."}
		if text, err := exec.CommandContext(ctx, "tar", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("tar: %w: %s", err, text)
		}
	}
	info, err := os.Stat(p.newOne)
	if err == nil {
		p.bytes = info.Size()
	}
	return err
}

// A delta is what one way of updating took.
type delta struct {
	wire        int64 // bytes to the robot
	list        int64 // of them, what only lists the new version: manifests, blocks; zero is nothing
	make, apply usage // zero is not measured
}

func (b *bench) compareDeltas(ctx context.Context, p *pair) error {
	b.say("%s: %.1f MiB as tar (load %s)", p.name, float64(p.bytes)/mib, load())
	var t table
	t.add("way", "bytes to the robot", "of them its list", "% of raw", "make CPU s", "make peak MiB", "apply CPU s", "apply peak MiB")
	for _, way := range deltaWays {
		d, err := b.update(ctx, way, p)
		switch {
		case errors.Is(err, errSkip):
			b.say("%s left out: %v", way.name, err)
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", way.name, err)
		}
		list := "-"
		if d.list > 0 {
			list = fmt.Sprint(d.list)
		}
		cells := []string{way.name, fmt.Sprint(d.wire), list, fmt.Sprintf("%.2f", 100*float64(d.wire)/float64(p.bytes))}
		for _, u := range []usage{d.make, d.apply} {
			if u == (usage{}) {
				cells = append(cells, "-", "-")
				continue
			}
			peak := "-"
			if u.peakRSS > 0 {
				peak = fmt.Sprintf("%.0f", float64(u.peakRSS)/mib)
			}
			cells = append(cells, fmt.Sprintf("%.2f", u.cpuSeconds), peak)
		}
		t.add(cells...)
	}
	return t.print(b.out)
}

// updateLimit ends a way that hangs. zstd needs minutes for its best on a large tree.
const updateLimit = 15 * time.Minute

// update goes one way within updateLimit.
func (b *bench) update(ctx context.Context, way deltaWay, p *pair) (delta, error) {
	ctx, cancel := context.WithTimeout(ctx, updateLimit)
	defer cancel()
	return way.run(ctx, b, p)
}
