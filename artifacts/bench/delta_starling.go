package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	product "github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/node/join"
)

// starlingChunks fetches the new tree by the exchange into a robot that has the old
// one installed: what both have is copied on the robot.
func starlingChunks(ctx context.Context, b *bench, p *pair) (delta, error) {
	return starlingUpdate(ctx, b, p, map[string]string{"old": p.older, "tree": "1"})
}

// starlingPack makes the pack that leads from one version to the other. The robot
// fetches it by the exchange, applies it, and fetches the chunks that are not in it.
func starlingPack(ctx context.Context, b *bench, p *pair) (d delta, err error) {
	argv, err := b.argv(ctx, system{name: "pack", pkg: "pack"})
	if err != nil {
		return d, err
	}
	dir, err := os.MkdirTemp(b.dir, "pack-")
	if err != nil {
		return d, err
	}
	out, made, err := spend(ctx, argv[0], p.older, p.newer, filepath.Join(dir, product.PackFile))
	if err != nil {
		return d, err
	}
	var s product.Stats
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return d, err
	}
	if with := s.Wire - s.Saved + s.Pack; s.Covered == 0 || with*1000 > s.Wire*product.WorthPermille {
		return d, fmt.Errorf("%w: a pack would save little: %d bytes with it, %d without", errSkip, with, s.Wire)
	}
	d, err = starlingUpdate(ctx, b, p, map[string]string{"old": p.older, "tree": "1", "pack": dir})
	d.make = made
	return d, err
}

// starlingUpdate brings the new tree to one robot.
func starlingUpdate(ctx context.Context, b *bench, p *pair, options map[string]string) (d delta, err error) {
	s, err := find("starling")
	if err != nil {
		return d, err
	}
	im := &image{path: p.newer, meta: p.newOne, size: p.bytes}
	w, err := b.newSwarm(ctx, setup{system: s, image: im, fetchers: 1, options: func(int) map[string]string { return options }})
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.begin(); err != nil {
		return d, err
	}
	if _, err := w.finish(ctx); err != nil {
		return d, err
	}
	stats, err := w.stats(ctx)
	if err != nil {
		return d, err
	}
	d.apply = usage{stats[1].CPUSeconds, stats[1].PeakRSSBytes}
	manifests := []string{im.meta + ".manifest"}
	if options["pack"] != "" {
		manifests = append(manifests, im.meta+".pack.manifest")
	}
	for _, m := range manifests {
		data, err := os.ReadFile(m)
		if err != nil {
			return d, err
		}
		sent, err := new(join.Packer).Pack(data) // as nodes hand out documents
		if err != nil {
			return d, err
		}
		d.list += int64(len(sent))
	}
	d.wire = stats[1].From[0] + d.list
	return d, sameTree(ctx, p.newer, filepath.Join(w.children[1].spec.Dir, "slot"))
}

// sameTree reports whether two trees hold the same.
func sameTree(ctx context.Context, one, two string) error {
	out, err := exec.CommandContext(ctx, "diff", "-rq", "--no-dereference", one, two).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s and %s differ: %w: %.1000s", one, two, err, out)
	}
	return nil
}
