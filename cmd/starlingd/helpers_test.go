//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// tempDir is a folder with a name short enough for unix sockets, and without links
// in its path. Slots are read-only, so removing it takes two steps.
func tempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "starlingd")
	require.NoError(t, err)
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				err = os.Chmod(path, 0o700)
			}
			return err
		}))
		require.NoError(t, os.RemoveAll(dir))
	})
	return dir
}

// needProc skips where processes cannot be looked at.
func needProc(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at processes in /proc, which only linux has")
	}
}

// robot is a starlingd process in a directory of its own, started and killed again
// and again, and the payload that it supervises.
type robot struct {
	*api.Client
	t    *testing.T
	name string
	dir  string

	cmd  *exec.Cmd     // of the last start; nil before the first
	done chan struct{} // closed when it has ended
	from int64         // where the last start's part of the log begins
}

// robotConfig is the whole configuration of a robot. A loaded machine needs time
// until a payload's first word.
const robotConfig = `dir: state
name: %[1]s
join: %[2]s
profile: local
listen: {gossip: "127.0.0.1:0", bulk: "127.0.0.1:0", control: "127.0.0.1:0"}
components:
  app:
    grace: 1s
    min_healthy: 1s
    healthy_deadline: 60s
    probes: [{name: health, file: health, contains: ok, every: 100ms, fail_after: 2, start_after: 30s}]
`

// newRobot writes the configuration of a robot that joins with the invite.
func newRobot(t *testing.T, dir, name, invite string) *robot {
	r := &robot{t: t, name: name, dir: filepath.Join(dir, name)}
	require.NoError(t, os.MkdirAll(r.dir, 0o700))
	require.NoError(t, os.WriteFile(r.file("robot.yaml"), fmt.Appendf(nil, robotConfig, name, strconv.Quote(invite)), 0o600))
	r.Client = api.Dial(r.file("state", "api.sock"))
	t.Cleanup(func() {
		r.kill()
		r.killPayloads()
		r.Close()
		require.Empty(t, r.payloads(), "payloads of %s left behind", name)
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, lastLines(r.log(0), 120))
		}
	})
	return r
}

func (r *robot) file(parts ...string) string {
	return filepath.Join(append([]string{r.dir}, parts...)...)
}

// log is what the daemon has said from a byte of its log on.
func (r *robot) log(from int64) string {
	data, err := os.ReadFile(r.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(data[min(from, int64(len(data))):])
}

// said reports whether the daemon has said this since its last start.
func (r *robot) said(text string) bool { return strings.Contains(r.log(r.from), text) }

func lastLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "")
}

// start starts the daemon; it stops itself at the fail point, if one is named.
func (r *robot) start(failPoint string) {
	out, err := os.OpenFile(r.file("log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(r.t, err)
	defer out.Close()
	info, err := out.Stat()
	require.NoError(r.t, err)
	r.from = info.Size()
	r.cmd = starlingd("--config", r.file("robot.yaml"))
	r.cmd.Env = append(r.cmd.Env, failPointEnv+"="+failPoint)
	r.cmd.Stdout, r.cmd.Stderr = out, out
	require.NoError(r.t, r.cmd.Start())
	done := make(chan struct{})
	r.done = done
	go func(c *exec.Cmd) {
		_ = c.Wait() // how it ended is in its log
		close(done)
	}(r.cmd)
}

// starlingd is the program with these arguments: this test binary, so that a race or a
// panic in it is seen as in any other test.
func starlingd(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "STARLINGD_TEST_MAIN=1")
	return cmd
}

// kill ends the daemon alone with SIGKILL.
func (r *robot) kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill() // ended already is as good
	<-r.done
}

func (r *robot) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// stopped reports whether the daemon stands still, every thread of it.
func (r *robot) stopped() bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", r.cmd.Process.Pid))
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(tasks, func(e os.DirEntry) bool {
		pid, err := strconv.Atoi(e.Name())
		s, ok := readStat(pid)
		return err == nil && (!ok || s.state != "T")
	})
}

// status is what the daemon says of itself; nil if it does not answer, as when it
// has stopped at its fail point.
func (r *robot) status(ctx context.Context) *node.Status {
	if r.ended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := r.Status(ctx)
	if err != nil {
		return nil
	}
	return s
}

// stat is what /proc says of a process (proc_pid_stat(5)).
type stat struct {
	state   string
	session int
}

func readStat(pid int) (stat, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 4 {
		return stat{}, false
	}
	session, err := strconv.Atoi(f[3])
	return stat{f[0], session}, err == nil
}

// payload is a session of processes that was started from a slot.
type payload struct {
	pid     int    // of the session
	slot    string // folder
	version string
}

// payloads are all that run from the robot's slots: one, if all is well.
func (r *robot) payloads() []payload {
	if runtime.GOOS != "linux" {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	require.NoError(r.t, err)
	var out []payload
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd")) // fails for those that have ended
		if err != nil || filepath.Dir(dir) != r.file("state", "slots", "app") {
			continue
		}
		s, ok := readStat(pid)
		if !ok || slices.ContainsFunc(out, func(p payload) bool { return p.pid == s.session }) {
			continue
		}
		p := payload{pid: s.session, slot: dir}
		for _, kv := range environ(pid) {
			if v, ok := strings.CutPrefix(kv, "STARLING_VERSION="); ok {
				p.version = v
			}
		}
		out = append(out, p)
	}
	return out
}

// environ is the environment of a process. It is empty for the moment in which a
// process becomes another program, so an empty one is read again.
func environ(pid int) []string {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if len(data) > 0 {
			return strings.Split(string(data), "\x00")
		}
		if s, ok := readStat(pid); err != nil || !ok || s.state == "Z" {
			break // it has ended
		}
	}
	return nil
}

// payload is the only one there is. A second one fails the test, whenever.
func (r *robot) payload() (payload, bool) {
	all := r.payloads()
	require.LessOrEqual(r.t, len(all), 1, "%s: two payloads at once: %v", r.name, all)
	if len(all) == 0 {
		return payload{}, false
	}
	return all[0], true
}

// killPayloads ends what runs from the robot's slots, as a loss of power would.
func (r *robot) killPayloads() {
	for _, p := range r.payloads() {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // gone already is as good
	}
	deadline := time.Now().Add(patience)
	for len(r.payloads()) > 0 && time.Now().Before(deadline) {
		runtime.Gosched()
	}
}
