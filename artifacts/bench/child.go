package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

// A child is the process of one member.
type child struct {
	spec    peer.Spec
	cmd     *exec.Cmd
	in      *json.Encoder
	notices chan heard // from read to the swarm's owner; deep enough for a run; closed when the process says no more
	stderr  bytes.Buffer
	addr    peer.Address
	ended   bool
	seen    []heard // every notice that was looked at
}

// heard is a notice and when it came.
type heard struct {
	peer.Notice
	at time.Time
}

// startChild starts argv, with the spec as its last argument, and waits until it is
// open. prefix is a command that runs the command, in a name space say.
func startChild(ctx context.Context, prefix, argv []string, spec peer.Spec) (*child, error) {
	arg, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	line := append(append(append([]string{}, prefix...), argv...), string(arg))
	c := &child{spec: spec, cmd: exec.Command(line[0], line[1:]...), notices: make(chan heard, 1<<14)}
	c.cmd.Stderr, c.cmd.WaitDelay = &c.stderr, time.Second // what it started may outlive it
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.in = json.NewEncoder(in)
	go func() {
		defer close(c.notices)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var n peer.Notice
			if json.Unmarshal(lines.Bytes(), &n) == nil {
				c.notices <- heard{n, time.Now()}
			}
		}
	}()
	n, err := c.await(ctx, "open")
	if err != nil {
		c.kill()
		return nil, err
	}
	c.addr = peer.Address{Index: spec.Index, Addr: n.Addr, ID: n.ID, Seed: spec.Seed}
	return c, nil
}

// tell gives an order.
func (c *child) tell(do string, peers ...peer.Address) error {
	if err := c.in.Encode(peer.Order{Do: do, Peers: peers}); err != nil {
		return fmt.Errorf("member %d, %s: %w", c.spec.Index, do, err)
	}
	return nil
}

// await returns the next notice of a kind and passes over others.
func (c *child) await(ctx context.Context, at string) (heard, error) {
	for {
		select {
		case n, ok := <-c.notices:
			c.seen = append(c.seen, n)
			switch {
			case !ok:
				return heard{}, fmt.Errorf("member %d ended while it should say %q: %s", c.spec.Index, at, c.stderr.String())
			case n.At == "failed":
				return heard{}, fmt.Errorf("member %d: %s", c.spec.Index, n.Text)
			case n.At == at:
				return n, nil
			}
		case <-ctx.Done():
			return heard{}, fmt.Errorf("member %d should say %q: %w", c.spec.Index, at, context.Cause(ctx))
		}
	}
}

// ask gives an order and returns its answer.
func (c *child) ask(ctx context.Context, do, answer string, peers ...peer.Address) (heard, error) {
	if err := c.tell(do, peers...); err != nil {
		return heard{}, err
	}
	return c.await(ctx, answer)
}

// kill ends the process as a power switch would.
func (c *child) kill() {
	if c.ended {
		return
	}
	c.ended = true
	_ = c.cmd.Process.Kill() // it may have ended
	for range c.notices {
	}
	_ = c.cmd.Wait() // says that it was killed
}

// leave lets the process go, and kills it if it does not.
func (c *child) leave() {
	if c.ended || c.tell("leave") != nil {
		c.kill()
		return
	}
	stop := time.AfterFunc(leaveTimeout, func() { _ = c.cmd.Process.Kill() })
	defer stop.Stop()
	c.ended = true
	for range c.notices {
	}
	_ = c.cmd.Wait() // its figures are told already
}

// leaveTimeout is how long a member may take to close its files.
const leaveTimeout = 10 * time.Second

// heard returns the next notice if there is one already.
func (c *child) heard() (n heard, ok bool) {
	select {
	case n, ok = <-c.notices:
		c.seen = append(c.seen, n)
		return n, ok
	default:
		return heard{}, false
	}
}
