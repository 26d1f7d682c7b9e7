package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// MaxStderr bounds what is kept of a script's complaints.
	MaxStderr = 10 << 10
	// MaxStdout bounds what is read of a script's answer.
	MaxStdout = 64 << 10
	// DefaultScriptTimeout is how long a script may take when nothing says otherwise.
	DefaultScriptTimeout = 5 * time.Minute

	exitLater  = 21
	exitUnsafe = 22
	// waitDelay is how long a killed group's pipes may stay open.
	waitDelay = time.Second
)

// A ScriptError is a script that did not do its work.
type ScriptError struct {
	Name   string // of the script, with its verb or point
	Reason string // "exit status 1", "timed out after 5m0s"
	Stderr string // its last words, at most MaxStderr
	cause  error
}

// Error is "hooks.d/quiesce/10-land: exit status 1: the last line it wrote".
func (e *ScriptError) Error() string {
	text := e.Name + ": " + e.Reason
	if last := lastLine(e.Stderr); last != "" {
		text += ": " + last
	}
	return text
}

// Unwrap is ErrLater, ErrUnsafe, the context's error, or nil.
func (e *ScriptError) Unwrap() error { return e.cause }

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// A tail keeps the last max bytes written to it.
type tail struct {
	max  int
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.max; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

// A head keeps the first max bytes written to it.
type head struct {
	max  int
	data []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.data = append(h.data, p[:min(len(p), h.max-len(h.data))]...)
	return len(p), nil
}

// A call is one run of a script.
type call struct {
	name    string // for errors
	argv    []string
	dir     string
	env     []string // beside the environment of this process
	input   any      // becomes one JSON object on stdin
	timeout time.Duration
}

// run executes the call in a process group of its own, which is killed when the
// time is up or ctx ends. It returns what the script wrote to stdout.
func (c *call) run(ctx context.Context) ([]byte, error) {
	if c.timeout <= 0 {
		c.timeout = DefaultScriptTimeout
	}
	stdin, err := json.Marshal(c.input)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	timed, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(timed, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	cmd.Stdin = bytes.NewReader(append(stdin, '\n'))
	stdout, stderr := &head{max: MaxStdout}, &tail{max: MaxStderr}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = waitDelay
	err = cmd.Run()
	if cmd.Process != nil {
		// What the script left behind in its group ends with it.
		_ = killGroup(cmd.Process.Pid) // an error says that nothing was left
	}
	if err == nil || (errors.Is(err, exec.ErrWaitDelay) && timed.Err() == nil) {
		return stdout.data, nil
	}
	return nil, c.explain(ctx, timed, err, string(stderr.data))
}

// explain turns the end of a script into an error that says whose fault it was.
func (c *call) explain(ctx, timed context.Context, err error, stderr string) error {
	e := &ScriptError{Name: c.name, Reason: err.Error(), Stderr: stderr}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		e.Reason, e.cause = "interrupted", ctx.Err()
	case timed.Err() != nil:
		e.Reason = fmt.Sprintf("timed out after %v", c.timeout)
	case errors.As(err, &exit) && exit.ExitCode() == exitLater:
		e.Reason, e.cause = "later", ErrLater
	case errors.As(err, &exit) && exit.ExitCode() == exitUnsafe:
		e.Reason, e.cause = "unsafe now", ErrUnsafe
	}
	return e
}

func killGroup(pgid int) error {
	err := syscall.Kill(-pgid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
