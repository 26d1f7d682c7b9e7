package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/starling-swarm/starling/node/update"
)

const (
	// maxPidFile bounds the pid file, in bytes.
	maxPidFile = 4 << 10
	// goneEvery is how often a stopped session is looked at until it is empty.
	goneEvery = 10 * time.Millisecond
	// killWait is how long a killed session may take to vanish: a process in an
	// uninterruptible read of a broken disk does not.
	killWait = 10 * time.Second
)

// gateScript is what a payload's process runs first: it waits for a line on stdin, and
// becomes the payload when it has come. So the pid file names the process before
// the payload runs, and a supervisor that dies in between leaves none.
const gateScript = `read -r go && exec "$@" </dev/null`

// A process is a payload: a child of ours, or one that was adopted.
type process struct {
	pid     int
	started string // boot and start time: with pid, it names one process for ever
	slot    update.Slot
	cmd     *exec.Cmd // nil if adopted
	logAt   int64     // size of the log when it was started

	reap    sync.Once // cmd.Wait, once the process has ended
	waitErr error     // set by reap

	dropOnce sync.Once
	dropped  chan struct{} // closes when the process is stopped on purpose
}

func newProcess(pid int, started string, slot update.Slot, cmd *exec.Cmd) *process {
	return &process{pid: pid, started: started, slot: slot, cmd: cmd, dropped: make(chan struct{})}
}

// drop says that the end of p is nobody's news.
func (p *process) drop() { p.dropOnce.Do(func() { close(p.dropped) }) }

// alive reports whether the process still is the one we mean, and runs.
func (p *process) alive() bool {
	started, running := lookAt(p.pid)
	return running && started == p.started
}

// exit says how p ended; call it after wait.
func (p *process) exit() Exit {
	e := Exit{Slot: p.slot, Code: -1, Reason: "gone"}
	if p.cmd == nil {
		return e
	}
	p.collect()
	if st := p.cmd.ProcessState; st != nil {
		e.Code, e.Reason = st.ExitCode(), st.String()
	} else if p.waitErr != nil {
		e.Reason = p.waitErr.Error()
	}
	return e
}

// collect takes the ended child off the kernel's hands.
func (p *process) collect() {
	if p.cmd != nil {
		p.reap.Do(func() { p.waitErr = p.cmd.Wait() })
	}
}

// stop ends p and its session, and returns when nothing of it runs.
func (p *process) stop(ctx context.Context, grace time.Duration) error {
	if started, running := lookAt(p.pid); running && started != p.started {
		return nil // the number belongs to somebody else now
	}
	signalSession(p.pid, syscall.SIGTERM)
	if p.gone(ctx, grace) {
		return nil
	}
	signalSession(p.pid, syscall.SIGKILL)
	// The kill is sent whatever ctx says; that it worked must be known.
	if p.gone(context.WithoutCancel(ctx), killWait) {
		return nil
	}
	return errors.New("it does not die")
}

// gone waits until nothing of p's session runs, at most for the given time.
func (p *process) gone(ctx context.Context, limit time.Duration) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		if !p.alive() {
			p.collect()
			if len(session(p.pid)) == 0 {
				return true
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// spawn starts the payload behind its gate, writes the pid file, opens the gate.
func (d *DirSlot) spawn(dir string, argv []string, pl Payload) (*process, error) {
	if err := trimLog(d.cfg.Log, d.cfg.LogBytes); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(d.cfg.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	logAt, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	// No context: a payload outlives whoever started it.
	cmd := exec.Command("/bin/sh", append([]string{"-c", gateScript, "payload"}, argv...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, d.environ(dir, pl), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	gate, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	started, running := lookAt(cmd.Process.Pid)
	p := newProcess(cmd.Process.Pid, started, pl.Slot, cmd)
	p.logAt = logAt
	if !running {
		err = errors.New("it ended before it began")
	} else if err = d.writePid(p); err == nil {
		_, err = io.WriteString(gate, "go\n")
	}
	err = errors.Join(err, gate.Close())
	if err != nil {
		p.drop()
		return nil, errors.Join(err, p.stop(context.Background(), 0)) // bounded by killWait
	}
	return p, nil
}

// pidFile is the JSON form of a process.
type pidFile struct {
	Pid     int    `json:"pid"`
	Started string `json:"started"`
	Slot    string `json:"slot"`
	LogAt   int64  `json:"log_at"` // size of the log when it was started
}

func (d *DirSlot) writePid(p *process) error {
	data, err := json.Marshal(pidFile{Pid: p.pid, Started: p.started, Slot: p.slot.String(), LogAt: p.logAt})
	if err != nil {
		return err
	}
	tmp := d.pidPath() + ".tmp"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, d.pidPath()) // not synced: after a loss of power it names nobody
}

// readPid is the process that the pid file names, or nil if there is none.
func (d *DirSlot) readPid() (*process, error) {
	in, err := os.Open(d.pidPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var f pidFile
	if err := json.NewDecoder(io.LimitReader(in, maxPidFile)).Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %w", d.pidPath(), err)
	}
	slot, err := update.ParseSlot(f.Slot)
	if err != nil || f.Pid <= 1 || f.Started == "" {
		return nil, fmt.Errorf("%s names no process", d.pidPath())
	}
	p := newProcess(f.Pid, f.Started, slot, nil)
	p.logAt = max(f.LogAt, 0)
	return p, nil
}

func (d *DirSlot) removePid() error {
	if err := os.Remove(d.pidPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
