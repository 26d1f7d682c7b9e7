package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A pair is two versions of one thing, each as a tree and as one file. For a single
// file they are the same; a tree's file is a tar without times and owners.
type pair struct {
	name             string
	older, newer     string // directories
	olderOne, newOne string // files
	bytes            int64  // of newOne
}

// deltas compares what a robot that has the old version needs for the new one.
func (b *bench) deltas(ctx context.Context) error {
	var pairs []*pair
	if b.older != "" && b.newer != "" {
		pairs = append(pairs, &pair{name: "yours", older: b.older, newer: b.newer})
	} else {
		binary, err := b.relinked(ctx)
		if err != nil {
			return err
		}
		tree, err := b.patched()
		if err != nil {
			return err
		}
		pairs = append(pairs, binary, tree)
	}
	for _, p := range pairs {
		if err := b.pack(ctx, p); err != nil {
			return err
		}
		if err := b.compareDeltas(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// relinked is this project's operator command, built as it is and with three more
// packages of the standard library, so that most addresses in it shift.
func (b *bench) relinked(ctx context.Context) (*pair, error) {
	p := &pair{name: "relinked Go binary", older: filepath.Join(b.dir, "binary-old"), newer: filepath.Join(b.dir, "binary-new")}
	main, err := filepath.Abs("../../cmd/starling")
	if err != nil {
		return nil, err
	}
	extra := filepath.Join(b.dir, "extra.go")
	text := "package main\n\nimport (\n\t_ \"archive/zip\"\n\t_ \"encoding/xml\"\n\t_ \"image/png\"\n)\n"
	overlay := filepath.Join(b.dir, "overlay.json")
	replace := fmt.Sprintf(`{"Replace":{%q:%q}}`, filepath.Join(main, "extra.go"), extra)
	if err := errors.Join(os.WriteFile(extra, []byte(text), 0o600), os.WriteFile(overlay, []byte(replace), 0o600)); err != nil {
		return nil, err
	}
	for dir, flags := range map[string][]string{p.older: nil, p.newer: {"-overlay", overlay}} {
		args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "starling")}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
		cmd.Dir, cmd.Env = main, append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w\n%s", err, text)
		}
	}
	return p, nil
}

// patched is the source tree of Go's standard library, and the same after a patch
// release: in every hundredth file a line is new.
func (b *bench) patched() (*pair, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	p := &pair{name: "source tree, 1 % of files changed", older: filepath.Join(b.dir, "tree-old"), newer: filepath.Join(b.dir, "tree-new")}
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	for _, dir := range []string{p.older, p.newer} {
		if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
			return nil, err
		}
	}
	n := 0
	return p, filepath.WalkDir(p.newer, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		if n++; n%100 != 0 {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		middle := len(text) / 2
		changed := append(append(append([]byte{}, text[:middle]...), "\n// a line that is new\n"...), text[middle:]...)
		return os.WriteFile(path, changed, 0o644)
	})
}

// pack makes one file of each version.
func (b *bench) pack(ctx context.Context, p *pair) error {
	for dir, one := range map[string]*string{p.older: &p.olderOne, p.newer: &p.newOne} {
		*one = filepath.Join(b.dir, filepath.Base(dir)+".tar")
		args := []string{"--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C", dir, "-cf", *one, "."}
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
	make, apply usage // zero is not measured
}

func (b *bench) compareDeltas(ctx context.Context, p *pair) error {
	b.say("%s: %.1f MiB as tar", p.name, float64(p.bytes)/mib)
	var t table
	t.add("way", "bytes to the robot", "% of raw", "make CPU s", "make peak MiB", "apply CPU s", "apply peak MiB")
	for _, way := range deltaWays {
		d, err := way.run(ctx, b, p)
		switch {
		case errors.Is(err, errSkip):
			b.say("%s left out: %v", way.name, err)
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", way.name, err)
		}
		cells := []string{way.name, fmt.Sprint(d.wire), fmt.Sprintf("%.2f", 100*float64(d.wire)/float64(p.bytes))}
		for _, u := range []usage{d.make, d.apply} {
			if u == (usage{}) {
				cells = append(cells, "-", "-")
				continue
			}
			cells = append(cells, fmt.Sprintf("%.2f", u.cpuSeconds), fmt.Sprintf("%.0f", float64(u.peakRSS)/mib))
		}
		t.add(cells...)
	}
	return t.print(b.out)
}
