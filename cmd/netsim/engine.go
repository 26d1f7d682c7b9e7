package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/starling-swarm/starling/netsim"
	"github.com/starling-swarm/starling/netsim/exact"
)

// An engine runs scenarios, each in a process of its own: virtual time, and a pinned
// runtime, are a process's. Its processes need one core each.
type engine struct {
	program string
	held    *os.File // program, held open; nil if it is used by its path
	loose   error    // why runs will not be exact; nil if they will
	slots   chan struct{}
}

// makeEngine is newEngine; tests that need no exact runs put a quicker one here.
var makeEngine = newEngine

// newEngine builds this program with a pinned runtime if its sources are here, and
// else uses it as it is. parallel 0 is as many runs at once as there are cores.
func newEngine(ctx context.Context, parallel int) (*engine, error) {
	const pkg = "github.com/starling-swarm/starling/cmd/netsim"
	dir, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg).Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return plainEngine(parallel, errors.New("its sources are not here: run it inside a clone, with Go, for runs that replay exactly"))
	}
	e := &engine{slots: slots(parallel)}
	err = oneBuild(ctx, func() error {
		built, err := exact.Build(ctx, exact.Source{Package: pkg, Dir: strings.TrimSpace(string(dir))}, "")
		if err != nil {
			return err
		}
		e.program, e.loose = built.Path, built.Why
		return e.hold()
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("build netsim anew for exact runs, in the user's cache directory: %w", err)
	}
	return e, nil
}

// oneBuild calls build while no other process of this user does: two that are started
// together would write the same program, and neither can run what is being written.
func oneBuild(ctx context.Context, build func() error) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "starling", "netsim")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	l := flock.New(filepath.Join(dir, "build.lock"))
	const pace = 50 * time.Millisecond
	if _, err := l.TryLockContext(ctx, pace); err != nil {
		return err
	}
	return errors.Join(build(), l.Close())
}

// hold keeps the program as it is now: a sweep lasts for hours, and whoever runs netsim
// from changed sources meanwhile builds another one in its place.
func (e *engine) hold() (err error) {
	if runtime.GOOS != "linux" {
		return nil
	}
	if e.held, err = os.Open(e.program); err != nil {
		return err
	}
	e.program = fmt.Sprintf("/proc/self/fd/%d", e.held.Fd())
	return nil
}

// plainEngine uses this very program.
func plainEngine(parallel int, why error) (*engine, error) {
	program, err := os.Executable()
	return &engine{program: program, loose: why, slots: slots(parallel)}, err
}

func slots(parallel int) chan struct{} {
	if parallel <= 0 {
		parallel = runtime.NumCPU()
	}
	return make(chan struct{}, parallel)
}

// runOptions are how one run is done.
type runOptions struct {
	seed       uint64
	trace, log string // files, empty for none
	plan       []byte // a signed plan to rehearse, or nil
	said       func(netsim.Note)
	beat       func(netsim.Beat)
	budget     time.Duration // of real time; 0 is no limit
}

// failure is a run that came to no report: the simulation, or a node in it, died.
type failure struct {
	what   string
	stderr string
}

func (f *failure) Error() string {
	first, _, _ := strings.Cut(strings.TrimSpace(f.stderr), "\n")
	return f.what + ": " + first
}

// shownStderr is how many lines of a dead run's last words are worth a screen.
const shownStderr = 60

// lastWords is the beginning of what the run said before it died, each line after a line
// break; nothing if Error says it all.
func (f *failure) lastWords() string {
	lines := strings.Split(strings.TrimSpace(f.stderr), "\n")
	if len(lines) == 1 {
		return ""
	}
	if n := len(lines); n > shownStderr {
		lines = append(lines[:shownStderr:shownStderr], fmt.Sprintf("… and %d more lines; netsim sweep --save keeps them", n-shownStderr))
	}
	return "\n" + strings.Join(lines, "\n")
}

// run plays s once.
func (e *engine) run(ctx context.Context, s source, o runOptions) (*netsim.Report, error) {
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-e.slots }()
	if o.budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.budget)
		defer cancel()
	}
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := s.traces(filepath.Join(dir, tracesDir)); err != nil {
		return nil, err
	}
	if o.plan != nil {
		if err := os.WriteFile(filepath.Join(dir, planFile), o.plan, 0o644); err != nil {
			return nil, err
		}
	}
	args, err := childArgs(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, e.program, args...)
	cmd.Args[0] = "netsim" // of the same length wherever the program is
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr, cmd.Stdin = dir, exact.Env(o.seed), &stderr, bytes.NewReader(s.Print())
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	report, read := listen(out, o)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("run of seed %d: %w", o.seed, context.Cause(ctx))
	}
	if err != nil || report == nil || !report.OK() {
		if full := fullDisk(dir); full != nil {
			return nil, fmt.Errorf("run of seed %d: %w", o.seed, full)
		}
	}
	switch {
	case err != nil:
		return nil, &failure{fmt.Sprintf("seed %d: %v", o.seed, err), stderr.String()}
	case read != nil || report == nil:
		return nil, &failure{fmt.Sprintf("seed %d: its output ends early: %v", o.seed, read), stderr.String()}
	}
	report.Wall = time.Since(began).Seconds()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		report.Memory = int64(u.Maxrss) << 10
		report.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	return report, nil
}

func childArgs(o runOptions) ([]string, error) {
	args := []string{childName, "--seed", strconv.FormatUint(o.seed, 10)}
	for _, f := range []struct{ flag, path string }{{"--trace", o.trace}, {"--log", o.log}} {
		if f.path == "" {
			continue
		}
		path, err := filepath.Abs(f.path)
		if err != nil {
			return nil, err
		}
		args = append(args, f.flag, path)
	}
	return args, nil
}

// listen reads what a child prints.
func listen(out io.Reader, o runOptions) (*netsim.Report, error) {
	d := json.NewDecoder(out)
	for {
		var l line
		if err := d.Decode(&l); err != nil {
			_, _ = io.Copy(io.Discard, out) // so that the child can end
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			return nil, err
		}
		switch {
		case l.Note != nil && o.said != nil:
			o.said(*l.Note)
		case l.Beat != nil && o.beat != nil:
			o.beat(*l.Beat)
		case l.Report != nil:
			return l.Report, nil
		}
	}
}
