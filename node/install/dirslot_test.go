package install

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/update"
)

// patience bounds every wait for something that must come.
const patience = time.Minute

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// robot is a folder with slots; payloads are shell scripts in them.
type robot struct {
	t    *testing.T
	root string
}

func (r robot) driver() *DirSlot {
	d, err := NewDirSlot(DirSlotConfig{Root: r.root, Component: "app", Grace: 2 * time.Second})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, d.Stop(context.Background())) })
	return d
}

// run lets a driver watch, as a daemon does, until the test or stop ends it.
func (r robot) run(d *DirSlot) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(r.t, <-done)
	}
}

func (r robot) write(slot update.Slot, script string) Payload {
	path := filepath.Join(r.root, "app", slot.String(), "run")
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(r.t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755))
	return Payload{Slot: slot, Run: []string{"run", "arg"}, Release: manifest.Ref{Version: "1.2.3"}}
}

// ready is the end of a payload that says it has come up and then waits.
const ready = `echo "$$" > "$STARLING_DATA/up.tmp"; mv "$STARLING_DATA/up.tmp" "$STARLING_DATA/up"; while :; do sleep 0.05; done`

// up waits for a payload's word and returns its process.
func (r robot) up() int {
	r.t.Helper()
	path := filepath.Join(r.root, "app", "data", "up")
	ctx := bounded(r.t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(path); err == nil {
			require.NoError(r.t, os.Remove(path))
			pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
			require.NoError(r.t, err)
			return pid
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(r.root, "app", "log"))
			r.t.Fatalf("the payload did not come up: %s", log)
		}
	}
}

func running(pid int) bool {
	_, ok := lookAt(pid)
	return ok
}

func TestStartStop(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	p := r.write(update.B, `env | grep ^STARLING_ | sort; echo "$0 $1 in $(pwd)"; `+ready)
	require.NoError(t, d.Activate(bounded(t), p, false))
	pid := r.up()
	f, err := d.Find(bounded(t))
	require.NoError(t, err)
	require.Equal(t, Found{Linked: true, Link: update.B, Running: true, Slot: update.B}, f)
	require.NoError(t, d.Commit(bounded(t), p))
	require.NoError(t, d.Stop(bounded(t)))
	require.False(t, running(pid))
	f, err = d.Find(bounded(t))
	require.NoError(t, err)
	require.Equal(t, Found{Linked: true, Link: update.B, Marked: true, Mark: update.B}, f)
	require.NoError(t, d.Stop(bounded(t)), "again is no error")

	log, err := os.ReadFile(filepath.Join(r.root, "app", "log"))
	require.NoError(t, err)
	slot, err := filepath.EvalSymlinks(d.SlotDir(update.B))
	require.NoError(t, err)
	for _, want := range []string{"STARLING_SLOT=" + slot, "STARLING_COMPONENT=app", "STARLING_VERSION=1.2.3", slot + "/run arg in " + slot} {
		require.Contains(t, string(log), want)
	}
}

func TestSwitchRunsOnlyOne(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	require.NoError(t, d.Activate(bounded(t), r.write(update.A, ready), false))
	first := r.up()
	require.NoError(t, d.Activate(bounded(t), r.write(update.B, ready), false))
	second := r.up()
	require.False(t, running(first))
	require.True(t, running(second))
	// A driver that has not looked yet stops what the pid file names.
	other := r.driver()
	require.NoError(t, other.Start(bounded(t), r.write(update.A, ready)))
	third := r.up()
	require.False(t, running(second))
	require.True(t, running(third))
}

// TestAdopt lets the daemon end while the payload runs, and a new one take it over.
func TestAdopt(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	stop := r.run(d)
	require.NoError(t, d.Activate(bounded(t), r.write(update.A, "echo ready now >&2\n"+ready), false))
	pid := r.up()
	stop()
	require.True(t, running(pid), "the daemon's death is not the payload's")

	next := r.driver()
	f, err := next.Find(bounded(t))
	require.NoError(t, err)
	require.True(t, f.Running)
	require.Equal(t, update.A, f.Slot)
	stop = r.run(next)
	defer stop()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	// The first driver is its parent, as the test is one process, and must reap it.
	select {
	case e := <-next.Exited():
		require.Equal(t, Exit{Slot: update.A, Code: -1, Reason: "gone", Said: "ready now", Log: next.cfg.Log}, e)
	case <-bounded(t).Done():
		t.Fatal("the end of an adopted payload was not told")
	}
}

func TestPidReuse(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	stranger := exec.Command("sleep", "60")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // so that its session could be killed
	require.NoError(t, stranger.Start())
	t.Cleanup(func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	})
	pid := stranger.Process.Pid
	started, ok := lookAt(pid)
	require.True(t, ok)
	for name, f := range map[string]pidFile{
		"another start time": {Pid: pid, Started: started + "0", Slot: "a"},
		"another boot":       {Pid: pid, Started: "f00/" + started, Slot: "a"},
	} {
		data, err := json.Marshal(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(d.pidPath(), data, 0o644))
		found, err := d.Find(bounded(t))
		require.NoError(t, err)
		require.False(t, found.Running, name)
		require.NoError(t, d.Stop(bounded(t)), name)
		require.True(t, running(pid), "%s: a stranger was killed", name)
	}
	for _, text := range []string{"", "{", `{"pid":1,"started":"x","slot":"a"}`, `{"pid":77,"started":"x","slot":"c"}`} {
		require.NoError(t, os.WriteFile(d.pidPath(), []byte(text), 0o644))
		found, err := d.Find(bounded(t))
		require.NoError(t, err)
		require.False(t, found.Running, text)
	}
}

func TestExit(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	defer r.run(d)()
	for script, want := range map[string]Exit{
		"echo one; echo 'no such camera' >&2; echo; exit 3": {Slot: update.A, Code: 3, Reason: "exit status 3", Said: "no such camera"},
		"kill -9 $$":    {Slot: update.A, Code: -1, Reason: "signal: killed"},
		"nonsense-here": {Slot: update.A, Code: 127, Reason: "exit status 127", Said: filepath.Join(d.SlotDir(update.A), "run") + ": 2: nonsense-here: not found"},
	} {
		require.NoError(t, d.Start(bounded(t), r.write(update.A, script)))
		select {
		case e := <-d.Exited():
			want.Log = d.cfg.Log
			require.Equal(t, want, e, script)
		case <-bounded(t).Done():
			t.Fatalf("%s: its end was not told", script)
		}
	}
	// One that is stopped is not told of.
	require.NoError(t, d.Start(bounded(t), r.write(update.A, ready)))
	r.up()
	require.NoError(t, d.Stop(bounded(t)))
	require.NoError(t, d.Start(bounded(t), r.write(update.B, "exit 4")))
	require.Equal(t, 4, (<-d.Exited()).Code)
}

func TestGroupDies(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	// The grandchild ignores SIGTERM; the child ends at once and leaves it behind.
	p := r.write(update.A, `trap '' TERM; sh -c 'trap "" TERM; `+ready+`' & exec sleep 60`)
	d.cfg.Grace = 50 * time.Millisecond
	require.NoError(t, d.Start(bounded(t), p))
	grandchild := r.up()
	require.NoError(t, d.Stop(bounded(t)))
	require.False(t, running(grandchild))

	require.NoError(t, d.Start(bounded(t), r.write(update.A, `(trap '' TERM; `+strings.ReplaceAll(ready, "$$", "0")+`) & exit 0`)))
	r.up()
	d.mu.Lock()
	leader := d.proc.pid
	d.mu.Unlock()
	require.NoError(t, d.Start(bounded(t), r.write(update.B, ready)), "what a payload left behind is stopped before the next")
	r.up()
	require.Empty(t, session(leader))
}

// TestGateScript cuts the supervisor between fork and pid file: no payload runs.
func TestGateScript(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	cmd := exec.CommandContext(bounded(t), "/bin/sh", "-c", gateScript, "payload", "touch", out)
	require.Error(t, cmd.Run(), "stdin closes without a word")
	require.NoFileExists(t, out)
}

func TestStartRefuses(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	require.NoError(t, d.Start(bounded(t), r.write(update.A, ready)))
	pid := r.up()
	for name, run := range map[string][]string{
		"nothing to run": nil, "out of the slot": {"../a/run"}, "missing": {"bin/nav"}, "unknown": {"no-such-command-anywhere"},
	} {
		require.Error(t, d.Activate(bounded(t), Payload{Slot: update.B, Run: run}, false), name)
		require.True(t, running(pid), "%s: the payload was stopped for nothing", name)
	}
	require.ErrorIs(t, d.Start(bounded(t), Payload{Slot: update.B}), ErrNoCommand)
}

// TestLinkFlip cuts a flip between the temporary link and the rename.
func TestLinkFlip(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	require.NoError(t, d.Switch(update.A))
	require.NoError(t, os.Symlink("b", filepath.Join(d.dir, "current.tmp")))
	f, err := d.Find(bounded(t))
	require.NoError(t, err)
	require.Equal(t, update.A, f.Link, "the old slot")
	require.NoError(t, d.Switch(update.B))
	f, err = d.Find(bounded(t))
	require.NoError(t, err)
	require.Equal(t, update.B, f.Link)

	// A link to anywhere else, or no link, is no link.
	require.NoError(t, os.Remove(filepath.Join(d.dir, "current")))
	require.NoError(t, os.Symlink("../../etc", filepath.Join(d.dir, "current")))
	f, err = d.Find(bounded(t))
	require.NoError(t, err)
	require.False(t, f.Linked)
	require.NoError(t, d.Switch(update.A))

	// A link that cannot be moved leaves what is, and says so.
	require.NoError(t, os.Mkdir(filepath.Join(d.dir, "current.tmp"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "current.tmp", "x"), nil, 0o644))
	require.Error(t, d.Switch(update.B))
	f, err = d.Find(bounded(t))
	require.NoError(t, err)
	require.Equal(t, update.A, f.Link)
}

// TestLinkIsNeverMissing reads the link while it is flipped again and again.
func TestLinkIsNeverMissing(t *testing.T) {
	d := robot{t, t.TempDir()}.driver()
	require.NoError(t, d.Switch(update.A))
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 300 {
			err = errors.Join(err, d.Switch(update.Slot(i%2)))
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			return
		default:
			_, ok := d.read(linkCurrent)
			require.True(t, ok, "the link was away")
		}
	}
}

func TestTrimLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, trimLog(path, 10), "no log yet")
	require.NoError(t, os.WriteFile(path, []byte("0123456789abcdef"), 0o644))
	require.NoError(t, trimLog(path, 100))
	require.NoError(t, trimLog(path, 10))
	old, err := os.ReadFile(path + ".1")
	require.NoError(t, err)
	require.Equal(t, "6789abcdef", string(old))
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, st.Size())
}

func TestUnit(t *testing.T) {
	state, calls := make(chan string, 1), []string{}
	state <- "inactive"
	d, err := NewUnit(UnitConfig{
		Root: t.TempDir(), Component: "app", Unit: "nav.service", Every: time.Millisecond,
		Systemctl: func(_ context.Context, args ...string) ([]byte, error) {
			now := <-state
			defer func() { state <- now }()
			switch args[0] {
			case "restart":
				now = "active"
			case "stop":
				now = "inactive"
			case "show":
				return []byte(now + "\n"), nil
			}
			calls = append(calls, strings.Join(args, " "))
			return nil, nil
		},
	})
	require.NoError(t, err)
	require.Error(t, d.Start(bounded(t), Payload{Slot: update.B}), "the link does not point there")
	require.NoError(t, d.Activate(bounded(t), Payload{Slot: update.B}, false))
	f, err := d.Find(bounded(t))
	require.NoError(t, err)
	require.Equal(t, Found{Linked: true, Link: update.B, Running: true, Slot: update.B}, f)
	ctx, cancel := context.WithCancel(bounded(t))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	<-state
	state <- "failed"
	require.Equal(t, Exit{Slot: update.B, Code: -1, Reason: "unit is failed", Log: "journalctl -u nav.service"}, <-d.Exited())
	cancel()
	require.NoError(t, <-done)
	require.Equal(t, []string{"stop nav.service", "restart nav.service"}, calls)
	_, err = NewUnit(UnitConfig{Root: t.TempDir(), Component: "app", Unit: "--now"})
	require.Error(t, err)
}

func TestCapabilities(t *testing.T) {
	c := Capabilities{Atomic: true, Revert: true}
	require.Empty(t, c.Missing([]string{"atomic", "revert"}))
	require.Equal(t, "ab", c.Missing([]string{"atomic", "ab"}))
	require.Equal(t, "teleport", c.Missing([]string{"teleport"}))
	require.False(t, errors.Is(ErrLater, ErrUnsafe))
}
