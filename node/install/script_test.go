package install

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/update"
)

func executable(t *testing.T, path, script string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755))
	return path
}

func TestScriptDriver(t *testing.T) {
	dir := t.TempDir()
	path := executable(t, filepath.Join(dir, "drive"), `
cat > "$0.in.$1"; echo "$1 $STARLING_SLOT" >> "$0.calls"
case $1 in
status) cat "$0.status";;
activate) test -e "$0.fail" && { echo first; echo "no such bay" >&2; exit 1; }; printf '{"slot":"b","running":"b"}' > "$0.status";;
esac
exit 0`)
	require.NoError(t, os.WriteFile(path+".status", []byte(`{"slot":"a","committed":"a","running":"a"}`), 0o644))
	d, err := NewScript(ScriptConfig{Path: path, Root: filepath.Join(dir, "slots"), Component: "app", Every: 5 * time.Millisecond})
	require.NoError(t, err)
	f, err := d.Find(bounded(t))
	require.NoError(t, err)
	require.Equal(t, Found{Linked: true, Marked: true, Running: true}, f)

	p := Payload{Slot: update.B, Release: manifest.Ref{Version: "2.0.0", Digest: manifest.Sum([]byte("x"))}, Run: []string{"nav"}}
	require.NoError(t, d.Install(bounded(t), p))
	require.NoError(t, d.Activate(bounded(t), p, false))
	require.NoError(t, d.Commit(bounded(t), p))
	require.NoError(t, d.Activate(bounded(t), Payload{Slot: update.A}, true))
	require.NoError(t, d.Stop(bounded(t)))
	calls, err := os.ReadFile(path + ".calls")
	require.NoError(t, err)
	require.Equal(t, "status \ninstall b\nactivate b\nverify b\ncommit b\nrevert a\nverify a\nrevert \n", string(calls))
	in, err := os.ReadFile(path + ".in.install")
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"api":1,"verb":"install","component":"app","slot":"b","slot_dir":%q,"version":"2.0.0","release":%q,"run":["nav"]}`,
		d.SlotDir(update.B), p.Release.Digest), string(in))

	require.NoError(t, os.WriteFile(path+".fail", nil, 0o644))
	require.EqualError(t, d.Start(bounded(t), p), "drive activate: exit status 1: no such bay")
	require.NoError(t, os.Remove(path+".fail"))

	// What the status no longer has is an exit.
	require.NoError(t, d.Start(bounded(t), p))
	ctx, cancel := context.WithCancel(bounded(t))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	require.NoError(t, os.WriteFile(path+".new", []byte(`{"slot":"b"}`), 0o644))
	require.NoError(t, os.Rename(path+".new", path+".status"))
	e := <-d.Exited()
	require.Equal(t, "the driver script says nothing runs", e.Reason)
	cancel()
	require.NoError(t, <-done)

	require.NoError(t, os.WriteFile(path+".status", []byte(`{"slot":"c"}`), 0o644))
	_, err = d.Find(bounded(t))
	require.ErrorContains(t, err, "want a or b")
	_, err = NewScript(ScriptConfig{Path: path + ".status", Root: dir, Component: "app"})
	require.ErrorContains(t, err, "chmod +x")
}

func TestScriptExitCodes(t *testing.T) {
	run := func(script string, timeout time.Duration) error {
		path := executable(t, filepath.Join(t.TempDir(), "s"), script)
		c := call{name: "s", argv: []string{path}, timeout: timeout, input: struct{}{}}
		_, err := c.run(bounded(t))
		return err
	}
	require.NoError(t, run("exit 0", 0))
	require.ErrorIs(t, run("exit 21", 0), ErrLater)
	require.ErrorIs(t, run("exit 22", 0), ErrUnsafe)
	require.EqualError(t, run("echo one >&2; echo two >&2; exit 7", 0), "s: exit status 7: two")
	require.EqualError(t, run("sleep 60", 50*time.Millisecond), "s: timed out after 50ms")

	var e *ScriptError
	require.ErrorAs(t, run("yes | head -c 100000 >&2; exit 1", 0), &e)
	require.Len(t, e.Stderr, MaxStderr)
	ctx, cancel := context.WithCancel(bounded(t))
	cancel()
	c := call{name: "s", argv: []string{"/bin/sleep", "60"}, input: struct{}{}}
	_, err := c.run(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// TestScriptGroupDies has a script leave a child behind; it ends with the script.
func TestScriptGroupDies(t *testing.T) {
	dir := t.TempDir()
	path := executable(t, filepath.Join(dir, "s"), `sleep 60 & echo $! > `+dir+`/pid; wait`)
	var pid int
	for timeout := 100 * time.Millisecond; pid == 0; timeout *= 2 { // until it comes so far in time
		c := call{name: "s", argv: []string{path}, timeout: timeout, input: struct{}{}}
		_, err := c.run(bounded(t))
		require.ErrorContains(t, err, "timed out")
		if data, err := os.ReadFile(dir + "/pid"); err == nil && len(data) > 0 {
			_, err = fmt.Sscan(string(data), &pid)
			require.NoError(t, err)
		}
	}
	require.Eventually(t, func() bool { return !running(pid) }, patience, time.Millisecond)
}

func TestHooks(t *testing.T) {
	dir := t.TempDir()
	h := Hooks{Dir: dir}
	in := HookInput{Point: Quiesce, Component: "app", Version: "2.0.0", To: "b"}
	require.NoError(t, h.Run(bounded(t), in), "no hooks")
	require.NoError(t, Hooks{}.Run(bounded(t), in))
	for name, script := range map[string]string{
		"20-second":  `echo "2 $STARLING_POINT" >> ` + dir + `/out; exit 21`,
		"10-first":   `cat >> ` + dir + `/out`,
		"30-third":   `echo 3 >> ` + dir + `/out`,
		"README.txt": `exit 1`,
	} {
		executable(t, filepath.Join(dir, "quiesce", name), script)
	}
	err := h.Run(bounded(t), in)
	require.ErrorIs(t, err, ErrLater)
	require.EqualError(t, err, "quiesce/20-second: later")
	out, err := os.ReadFile(dir + "/out")
	require.NoError(t, err)
	first, second, _ := strings.Cut(string(out), "\n")
	require.Contains(t, first, `"api":1,"point":"quiesce","component":"app","version":"2.0.0"`)
	require.Equal(t, "2 quiesce\n", second, "the third did not run")
	require.NoError(t, os.Chmod(filepath.Join(dir, "quiesce", "10-first"), 0o644))
	require.Error(t, h.Run(bounded(t), in), "a hook that cannot run is no consent")
}

func TestProbers(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			fmt.Fprint(w, strings.Repeat("x", 1<<20))
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		default:
			http.Error(w, "motor 3 is hot\nmore", http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(file, []byte("mode=flying\n"), 0o644))
	old := filepath.Join(t.TempDir(), "old")
	require.NoError(t, os.WriteFile(old, nil, 0o644))
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)))
	for name, c := range map[string]struct {
		p    Prober
		want string // of the error; empty is well
	}{
		"exec":         {ExecProbe{Argv: []string{"true"}}, ""},
		"exec fails":   {ExecProbe{Argv: []string{"sh", "-c", "echo no fix >&2; exit 1"}}, "no fix"},
		"exec empty":   {ExecProbe{}, "nothing says what to run"},
		"http":         {HTTPProbe{URL: srv.URL + "/ok"}, ""},
		"http fails":   {HTTPProbe{URL: srv.URL + "/bad"}, "503 Service Unavailable: motor 3 is hot"},
		"http moved":   {HTTPProbe{URL: srv.URL + "/moved"}, "302"},
		"file":         {FileProbe{Path: file, Contains: "mode=flying", MaxAge: time.Hour}, ""},
		"file differs": {FileProbe{Path: file, Contains: "mode=idle"}, "not \"mode=idle\""},
		"file old":     {FileProbe{Path: old, MaxAge: time.Minute}, "old, at most 1m0s is well"},
		"file missing": {FileProbe{Path: file + "x"}, "is not there"},
	} {
		err := c.p.Probe(bounded(t))
		if c.want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.want, name)
		}
	}
	w := Watch{Name: "slow", Prober: ExecProbe{Argv: []string{"sleep", "60"}}, Timeout: 50 * time.Millisecond}
	require.NoError(t, w.fill())
	require.EqualError(t, w.ask(bounded(t)), "no answer within 50ms")
}
