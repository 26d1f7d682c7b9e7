package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// fleet is an operator's node and robots, each in a name space of its own.
type fleet struct {
	b     *bench
	dir   string
	self  string // the starling command
	wires *wires
	nodes []*exec.Cmd
}

func (f *fleet) home() string { return filepath.Join(f.dir, "home") }

func (f *fleet) robot(i int) string { return filepath.Join(f.dir, fmt.Sprintf("r%d", i)) }

// socket of member i; 0 is the operator's node.
func (f *fleet) socket(i int) string {
	if i == 0 {
		return filepath.Join(f.home(), "node", "api.sock")
	}
	return filepath.Join(f.robot(i), "state", "api.sock")
}

// found makes a swarm in which every robot runs release 1.0.
func (f *fleet) found(ctx context.Context) error {
	if _, err := f.run(ctx, "init", "orchard", "--dir", f.home(), "--profile", "lan", "--listen", f.wires.addr(0)+":0"); err != nil {
		return err
	}
	if err := f.start(0, "agent", "--dir", f.home()); err != nil {
		return err
	}
	if err := f.answers(ctx, 0); err != nil {
		return err
	}
	if err := f.publish(ctx, "1.0", mib); err != nil {
		return err
	}
	invite := filepath.Join(f.dir, "invite")
	if _, err := f.run(ctx, "invite", "--model", "m", "--uses", fmt.Sprint(bulkRobots), "-o", invite); err != nil {
		return err
	}
	for i := 1; i <= bulkRobots; i++ {
		config := fmt.Sprintf("dir: %q\nname: r%d\njoin: %q\nprofile: lan\nlisten: {gossip: \"%[4]s:0\", bulk: \"%[4]s:0\", control: \"%[4]s:0\"}\n"+
			"components:\n  app:\n    grace: 1s\n    min_healthy: 1s\n", filepath.Join(f.robot(i), "state"), i, invite, f.wires.addr(i))
		file := filepath.Join(f.robot(i), "robot.yaml")
		if err := errors.Join(os.MkdirAll(f.robot(i), 0o700), os.WriteFile(file, []byte(config), 0o600)); err != nil {
			return err
		}
		if err := f.start(i, "agent", "--config", file); err != nil {
			return err
		}
	}
	_, err := f.watch(ctx, func(all []*node.Status, _ time.Duration) bool {
		return !slices.ContainsFunc(all[1:], func(s *node.Status) bool {
			return s == nil || len(s.Here) == 0 || s.Here[0].Phase != "committed" || !s.Quorum.OK || s.Quorum.Leader == ""
		})
	})
	return err
}

// publish builds, signs and imports a release of so many random bytes.
func (f *fleet) publish(ctx context.Context, version string, bytes int) error {
	src, star := filepath.Join(f.dir, "src-"+version), filepath.Join(f.dir, version+".star")
	ballast := make([]byte, bytes)
	_, _ = rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%032s", version)))).Read(ballast) // never fails
	err := errors.Join(os.MkdirAll(src, 0o755), os.WriteFile(filepath.Join(src, "ballast"), ballast, 0o644),
		os.WriteFile(filepath.Join(src, "run"), []byte("#!/bin/sh\nexec sleep 3600\n"), 0o755))
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"release", "build", "--version", version, "--run", "run", "-o", star, "--variant", "all=" + src + ",model=m"},
		{"release", "sign", star}, {"release", "import", star},
	} {
		if _, err := f.run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) env() []string {
	return append(os.Environ(), "STARLING_PASSPHRASE="+passphrase, "STARLING_HOME="+f.home(), "XDG_CONFIG_HOME="+filepath.Join(f.dir, "config"))
}

// run runs one command at the operator's place.
func (f *fleet) run(ctx context.Context, args ...string) (string, error) {
	line := append(f.wires.prefix(0), append([]string{f.self}, args...)...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = f.env()
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("starling %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return string(text), nil
}

// start starts the node of member i.
func (f *fleet) start(i int, args ...string) error {
	line := append(f.wires.prefix(i), append([]string{f.self}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = f.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(f.dir, fmt.Sprintf("log%d", i)))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	f.nodes = append(f.nodes, cmd)
	return cmd.Start()
}

// answers waits until the node of member i says that it takes part.
func (f *fleet) answers(ctx context.Context, i int) error {
	c := api.Dial(f.socket(i))
	defer c.Close()
	for {
		if s, err := c.Status(ctx); err == nil && s.Joined {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("member %d does not answer: %w", i, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// logs is the end of every node's log.
func (f *fleet) logs() string {
	var out strings.Builder
	for i := range f.nodes {
		text, err := os.ReadFile(filepath.Join(f.dir, fmt.Sprintf("log%d", i)))
		if err == nil {
			fmt.Fprintf(&out, "member %d:\n%s\n", i, text[max(0, len(text)-600):])
		}
	}
	return out.String()
}

// close ends all nodes, then their payloads with their name spaces.
func (f *fleet) close() error {
	for _, cmd := range f.nodes {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	for _, cmd := range f.nodes {
		stop := time.AfterFunc(leaveTimeout, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // how it ended is of no interest now
		stop.Stop()
	}
	return f.wires.close()
}
