package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

// rsync copies the file from the seed's daemon. No fetcher serves another.
type rsync struct{}

func (rsync) serve(p *program) (string, error) {
	host, _, err := net.SplitHostPort(p.spec.Listen)
	if err != nil {
		return "", err
	}
	port, err := freePort(host)
	if err != nil {
		return "", err
	}
	conf := filepath.Join(p.spec.Dir, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\n[files]\npath = %s\nread only = yes\nmax connections = 0\n", filepath.Dir(p.spec.Source))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return "", err
	}
	if _, err := p.run("rsync", "--daemon", "--no-detach", "--config="+conf, "--address="+host, "--port="+port); err != nil {
		return "", err
	}
	addr := net.JoinHostPort(host, port)
	return addr, reachable(addr)
}

func (rsync) fetch(_ context.Context, p *program, seed peer.Address) error {
	cmd, err := p.run("rsync", "--quiet", "--whole-file", "rsync://"+seed.Addr+"/files/image", filepath.Join(p.spec.Dir, "image"))
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// sent is not told by rsync: it is the file, as often as it was fetched.
func (rsync) sent(*program) int64 { return -1 }

// freePort asks the kernel for a port that a program can be told to use.
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	return port, l.Close()
}

// reachable waits until a program listens.
func reachable(addr string) error {
	var last error
	for range 200 {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		last = err
		time.Sleep(25 * time.Millisecond)
	}
	return last
}
