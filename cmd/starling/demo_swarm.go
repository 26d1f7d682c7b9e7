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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/install"
)

// demoPassphrase seals the keys of a swarm that lives for a minute.
const demoPassphrase = "demo-only"

// demo is a swarm of processes on this machine, and what was seen of it.
type demo struct {
	o     demoOptions
	dir   string
	self  string // this program
	out   io.Writer
	began time.Time

	operator *process
	robots   map[string]*demoRobot
	order    []string // names of robots

	printing   sync.Mutex // one line at a time
	lastSaid   string
	progressAt time.Time // when progress was last told
	summary    demoSummary
}

// demoRobot is one robot's process, and its newest status as its own API tells it.
type demoRobot struct {
	name, model string
	*process

	mu     sync.Mutex
	status *node.Status
	news   chan struct{} // of depth 1, shared by all robots: some status is new
}

func (r *demoRobot) now() *node.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// app is how the robot's component stands, zero before the first status.
func (r *demoRobot) app() node.ComponentView {
	s := r.now()
	if s == nil || len(s.Here) == 0 {
		return node.ComponentView{}
	}
	return s.Here[0]
}

func (d *demo) home() string { return filepath.Join(d.dir, "home") }

// say prints one line of the story.
func (d *demo) say(format string, args ...any) {
	d.printing.Lock()
	defer d.printing.Unlock()
	text := fmt.Sprintf(format, args...)
	if text == d.lastSaid {
		return
	}
	d.lastSaid = text
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), text)
}

// process is a command that runs in the background, and can be killed and started
// again.
type process struct {
	args   []string
	env    []string
	log    string // file for its output
	socket string

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func (p *process) start(self string) error {
	f, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(self, p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the demo, which then ends them
	if err := p.cmd.Start(); err != nil {
		return errors.Join(err, f.Close())
	}
	p.done = make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.done)
	}()
	return f.Close()
}

// signal sends sig and waits until the process has ended.
func (p *process) signal(sig syscall.Signal) error {
	if p == nil || p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-p.done
	}
	return nil
}

// run runs one command of this program to its end and returns what it printed.
func (d *demo) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.self, args...)
	cmd.Env = append(os.Environ(), "STARLING_PASSPHRASE="+demoPassphrase, "STARLING_HOME="+d.home(), "XDG_CONFIG_HOME="+filepath.Join(d.dir, "config"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("starling %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

// startOperator starts the operator's node and waits until it answers.
func (d *demo) startOperator(ctx context.Context) error {
	if d.operator == nil {
		d.operator = &process{
			args: []string{"agent", "--dir", d.home()}, log: filepath.Join(d.dir, "operator.log"), socket: filepath.Join(d.home(), "node", "api.sock"),
			env: []string{"STARLING_PASSPHRASE=" + demoPassphrase},
		}
	}
	if err := d.operator.start(d.self); err != nil {
		return err
	}
	return d.answers(ctx, d.operator)
}

// answers waits until a process's API says that it takes part.
func (d *demo) answers(ctx context.Context, p *process) error {
	c := api.Dial(p.socket)
	defer c.Close()
	for {
		if s, err := c.Status(ctx); err == nil && s.Joined {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w; see %s", p.socket, context.Cause(ctx), p.log)
		case <-p.done:
			return fmt.Errorf("%s ended; see %s", strings.Join(p.args, " "), p.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// robotConfig is a robot's whole configuration. Downloads are slowed to what a
// mesh gives, so that there is something to see.
const robotConfig = `dir: %[1]s
name: %[2]s
join: %[3]s
profile: local
listen: {gossip: "127.0.0.1:0", bulk: "127.0.0.1:0", control: "127.0.0.1:0"}
transfer: {max_rate: {down: 2MiB}}
components:
  app:
    grace: 1s
    min_healthy: 1s
    healthy_deadline: 20s
    probes: [{name: health, file: health, contains: ok, every: 200ms, fail_after: 2, start_after: 5s}]
`

// startRobot writes a robot's configuration and starts it.
func (d *demo) startRobot(ctx context.Context, name, model string, news chan struct{}) error {
	dir := filepath.Join(d.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "robot.yaml")
	text := fmt.Sprintf(robotConfig, strconv.Quote(filepath.Join(dir, "state")), name, strconv.Quote(filepath.Join(d.dir, "invite-"+model)))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	r := &demoRobot{name: name, model: model, news: news, process: &process{
		args: []string{"agent", "--config", file}, log: filepath.Join(dir, "log"), socket: filepath.Join(dir, "state", "api.sock"),
	}}
	d.robots[name] = r
	d.order = append(d.order, name)
	if err := r.start(d.self); err != nil {
		return err
	}
	go r.follow(ctx)
	return nil
}

// follow keeps the robot's status up to date until ctx ends, over restarts.
func (r *demoRobot) follow(ctx context.Context) {
	for ctx.Err() == nil {
		c := api.Dial(r.socket)
		for s, err := range c.Watch(ctx) {
			if err != nil {
				break
			}
			r.mu.Lock()
			r.status = s
			r.mu.Unlock()
			select {
			case r.news <- struct{}{}:
			default:
			}
		}
		c.Close()
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// end kills every process, the payloads too, and removes the directory.
func (d *demo) end() error {
	errs := []error{d.operator.signal(syscall.SIGTERM)}
	for _, name := range d.order {
		if err := d.robots[name].cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
	}
	for _, name := range d.order {
		errs = append(errs, d.robots[name].signal(syscall.SIGTERM))
	}
	return errors.Join(append(errs, endPayloads(d.dir), removeAll(d.dir))...)
}

// endPayloads ends what robots' agents left running: a payload outlives its agent.
func endPayloads(dir string) error {
	roots, err := filepath.Glob(filepath.Join(dir, "*", "state", "slots"))
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		s, err := install.NewDirSlot(install.DirSlotConfig{Root: root, Component: "app", Grace: time.Second})
		if err == nil {
			_, err = s.Find(context.Background()) // whatever ends the demo must not end its cleaning up
		}
		if err == nil {
			err = s.Stop(context.Background())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeAll removes a tree with read-only slots in it.
func removeAll(dir string) error {
	slots, err := filepath.Glob(filepath.Join(dir, "*", "state", "slots", "app", "[ab]"))
	if err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(dir, "home", "node", "images", "*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range append(slots, images...) {
		if info, err := os.Lstat(s); err == nil && info.IsDir() {
			errs = append(errs, store.Remove(s))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

// pids is what --keep writes down for --stop.
type pids struct {
	Pids []int `json:"pids"`
}

func (d *demo) writePids() error {
	p := pids{Pids: []int{d.operator.cmd.Process.Pid}}
	for _, name := range d.order {
		p.Pids = append(p.Pids, d.robots[name].cmd.Process.Pid)
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "pids"), data, 0o600)
}

// stopDemo ends a swarm that --keep left.
func stopDemo(dir string, out io.Writer) error {
	data, err := os.ReadFile(filepath.Join(dir, "pids"))
	if err != nil {
		return usageError(fmt.Sprintf("%s is not a directory that starling demo --keep printed: %v", dir, err))
	}
	var p pids
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("read %s/pids: %w", dir, err)
	}
	for _, pid := range p.Pids {
		if pid > 1 {
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end process %d: %w", pid, err)
			}
		}
	}
	for _, pid := range p.Pids {
		for range 100 {
			if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	if err := errors.Join(endPayloads(dir), removeAll(dir)); err != nil {
		return err
	}
	fmt.Fprintf(out, "ended %d processes and removed %s\n", len(p.Pids), dir)
	return nil
}

// showLogs prints the last lines of each process after a failure.
func (d *demo) showLogs(w io.Writer) {
	logs := []string{filepath.Join(d.dir, "operator.log")}
	for _, name := range d.order {
		logs = append(logs, filepath.Join(d.dir, name, "log"))
	}
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		fmt.Fprintf(w, "--- %s\n%s\n", path, strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
}
