package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

// A deltaWay is a way to update.
type deltaWay struct {
	name string
	run  func(ctx context.Context, b *bench, p *pair) (delta, error)
}

// deltaWays are all, ours first.
var deltaWays = []deltaWay{
	{"starling, pack", starlingPack},
	{"starling, chunks", starlingChunks},
	{"desync, chunks", desyncChunks},
	{"rsync -z", rsyncDelta},
	{"zsync", zsyncPlain},
	{"zsync -z", zsyncPacked},
	{"zstd --patch-from -3", zstdPatch("-3")},
	{"zstd --patch-from -19", zstdPatch("-19")},
	{"bsdiff", bsdiffPatch},
}

// usage is what a process took.
type usage struct {
	cpuSeconds float64
	peakRSS    int64 // bytes; if less than the harness has, as seen every few milliseconds
}

// spend runs a command and measures it.
func spend(ctx context.Context, argv ...string) (out string, u usage, err error) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		return "", u, fmt.Errorf("%w: %s is not installed", errSkip, argv[0])
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var text, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &errs
	if err := cmd.Start(); err != nil {
		return "", u, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return "", u, fmt.Errorf("%s: %w: %s", argv[0], err, errs.String())
			}
			if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
				u.cpuSeconds = peer.Seconds(r.Utime) + peer.Seconds(r.Stime)
				// It counts the harness too, from which the process was forked.
				if peak := r.Maxrss << 10; peak > peer.PeakRSS("self") {
					u.peakRSS = peak
				}
			}
			return text.String(), u, nil
		case <-time.After(3 * time.Millisecond):
			u.peakRSS = max(u.peakRSS, peer.PeakRSS(strconv.Itoa(cmd.Process.Pid)))
		}
	}
}

func desyncChunks(ctx context.Context, b *bench, p *pair) (d delta, err error) {
	argv, err := b.argv(ctx, system{name: "desync", pkg: "desync"})
	if err != nil {
		return d, err
	}
	out, u, err := spend(ctx, argv[0], p.olderOne, p.newOne)
	if err != nil {
		return d, err
	}
	d.apply = u
	d.wire, err = strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	return d, err
}

// rsyncDelta lets rsync bring a copy of the old file up to date, as over a network.
func rsyncDelta(ctx context.Context, b *bench, p *pair) (d delta, err error) {
	target := filepath.Join(b.dir, "rsync-target")
	if err := copyFile(p.olderOne, target); err != nil {
		return d, err
	}
	out, u, err := spend(ctx, "rsync", "--no-whole-file", "--inplace", "--ignore-times", "-z", "--stats", p.newOne, target)
	if err != nil {
		return d, err
	}
	d.apply = usage{u.cpuSeconds, 0}
	for line := range strings.Lines(out) {
		for _, head := range []string{"Total bytes sent: ", "Total bytes received: "} {
			if rest, ok := strings.CutPrefix(line, head); ok {
				n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(rest), ",", ""), 10, 64)
				if err != nil {
					return d, err
				}
				d.wire += n
			}
		}
	}
	return d, same(p.newOne, target)
}

// zstdPatch makes a patch of the whole file at one level.
func zstdPatch(level string) func(context.Context, *bench, *pair) (delta, error) {
	return func(ctx context.Context, b *bench, p *pair) (d delta, err error) {
		patch, target := filepath.Join(b.dir, "patch.zst"), filepath.Join(b.dir, "zstd-target")
		long := "--long=" + strconv.Itoa(min(31, max(27, int(math.Ceil(math.Log2(float64(p.bytes)))))))
		if _, d.make, err = spend(ctx, "zstd", "-q", "-f", level, long, "--patch-from="+p.olderOne, p.newOne, "-o", patch); err != nil {
			return d, err
		}
		if _, d.apply, err = spend(ctx, "zstd", "-q", "-f", "-d", long, "--patch-from="+p.olderOne, patch, "-o", target); err != nil {
			return d, err
		}
		return d, errors.Join(d.weigh(patch), same(p.newOne, target))
	}
}

// maxBsdiffBytes is what bsdiff is asked to do: it needs 17 times the memory, and
// minutes.
const maxBsdiffBytes = 64 * mib

func bsdiffPatch(ctx context.Context, b *bench, p *pair) (d delta, err error) {
	if p.bytes > maxBsdiffBytes {
		return d, fmt.Errorf("%w: more than %d MiB", errSkip, maxBsdiffBytes/mib)
	}
	patch, target := filepath.Join(b.dir, "patch.bsdiff"), filepath.Join(b.dir, "bsdiff-target")
	if _, d.make, err = spend(ctx, "bsdiff", p.olderOne, p.newOne, patch); err != nil {
		return d, err
	}
	if _, d.apply, err = spend(ctx, "bspatch", p.olderOne, target, patch); err != nil {
		return d, err
	}
	return d, errors.Join(d.weigh(patch), same(p.newOne, target))
}

// weigh takes the size of a patch as what goes to the robot.
func (d *delta) weigh(patch string) error {
	info, err := os.Stat(patch)
	if err == nil {
		d.wire = info.Size()
	}
	return err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}

// same reports whether two files are equal.
func same(one, two string) error {
	if err := exec.Command("cmp", "-s", one, two).Run(); err != nil {
		return fmt.Errorf("%s and %s differ: %w", one, two, err)
	}
	return nil
}
