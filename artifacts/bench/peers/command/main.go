// Command command is a member of a measured swarm that runs a program of the
// distribution: aria2 (BitTorrent, with a tracker at the seed) or rsync (a daemon at
// the seed, from which everybody fetches).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

func main() { os.Exit(peer.Main(&program{})) }

// A tool says how a program is run.
type tool interface {
	// serve starts what the seed runs, and returns its address.
	serve(p *program) (addr string, err error)
	// fetch runs what a fetcher runs, until the file is here.
	fetch(ctx context.Context, p *program, seed peer.Address) error
	// sent is what this member has sent of the file; -1 is not known.
	sent(p *program) int64
}

type program struct {
	spec  peer.Spec
	tool  tool
	seed  peer.Address
	procs []*exec.Cmd
}

// Open implements peer.System.
func (p *program) Open(spec peer.Spec) (addr, id string, err error) {
	p.spec = spec
	switch name := spec.Options["command"]; name {
	case "aria2":
		p.tool = &aria2{}
	case "rsync":
		p.tool = rsync{}
	default:
		return "", "", fmt.Errorf("no program is called %q", name)
	}
	if !spec.Seed {
		return "", "", nil
	}
	addr, err = p.tool.serve(p)
	return addr, "", err
}

// Connect implements peer.System.
func (p *program) Connect(others []peer.Address) error {
	for _, o := range others {
		if o.Seed {
			p.seed = o
		}
	}
	return nil
}

// Fetch implements peer.System.
func (p *program) Fetch(ctx context.Context, _ func(peer.Notice)) error {
	if p.spec.Seed {
		return nil
	}
	return p.tool.fetch(ctx, p, p.seed)
}

// run starts a program that ends with this process.
func (p *program) run(name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = p.spec.Dir, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.procs = append(p.procs, cmd)
	return cmd, nil
}

// Stats implements peer.System. The programs started are counted, this one is not.
func (p *program) Stats() (peer.Stats, error) {
	s := peer.Stats{SentBytes: p.tool.sent(p), ReceivedBytes: -1}
	for _, cmd := range p.procs {
		s.PeakRSSBytes = max(s.PeakRSSBytes, peer.PeakRSS(fmt.Sprint(cmd.Process.Pid)))
	}
	var errs []error
	for _, cmd := range p.procs {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it may have ended
			_ = cmd.Wait()         // says how
		}
		u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			errs = append(errs, errors.New("this system does not say what a process used"))
			continue
		}
		s.CPUSeconds += peer.Seconds(u.Utime) + peer.Seconds(u.Stime)
		if s.PeakRSSBytes == 0 { // it is gone; this figure may be this process's, which forked it
			s.PeakRSSBytes = u.Maxrss << 10
		}
	}
	return s, errors.Join(errs...)
}

// Close implements peer.System.
func (p *program) Close() error {
	for _, cmd := range p.procs {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it may have ended
			_ = cmd.Wait()         // says how
		}
	}
	return nil
}
