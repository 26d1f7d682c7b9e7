package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A system is one way to bring a file to a swarm.
type system struct {
	name    string
	pkg     string   // package below peers/ that is its member, built when needed
	script  string   // or a script that /usr/bin/python3 runs
	needs   []string // commands and, for scripts, modules that must be installed
	options map[string]string
	// ownLimit says that the system limits its uplink itself as well as the kernel
	// does, so that limited cases can be run without root.
	ownLimit bool
}

var systems = []system{
	{name: "starling", pkg: "starling", ownLimit: true},
	{name: "torrent", pkg: "torrent", ownLimit: true},
	{name: "libtorrent", script: "rasterbar/member.py", needs: []string{"libtorrent"}},
	{name: "libtorrent-super", script: "rasterbar/member.py", needs: []string{"libtorrent"}, options: map[string]string{"super": "1"}},
	{name: "aria2", pkg: "command", needs: []string{"aria2c"}, options: map[string]string{"command": "aria2"}},
	{name: "bitswap", pkg: "bitswap"},
	{name: "rsync", pkg: "command", needs: []string{"rsync"}, options: map[string]string{"command": "rsync"}},
}

func find(name string) (system, error) {
	for _, s := range systems {
		if s.name == name {
			return s, nil
		}
	}
	return system{}, fmt.Errorf("no system is named %q", name)
}

// python is the interpreter of the distribution, for which its packages are.
const python = "/usr/bin/python3"

// missing says what of the system is not installed; "" is nothing.
func (s system) missing() string {
	for _, need := range s.needs {
		if s.script != "" {
			if exec.Command(python, "-c", "import "+need).Run() != nil {
				return "python3-" + need + " is not installed"
			}
		} else if _, err := exec.LookPath(need); err != nil {
			return need + " is not installed"
		}
	}
	return ""
}

// argv is the command that runs a member. Each system's members are a program of
// their own, so that none carries the weight of another's libraries.
func (b *bench) argv(ctx context.Context, s system) ([]string, error) {
	if s.script != "" {
		path, err := filepath.Abs(filepath.Join("peers", s.script))
		return []string{python, path}, err
	}
	out := filepath.Join(b.dir, "bin", s.pkg)
	if _, err := os.Stat(out); err == nil {
		return []string{out}, nil
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, "./peers/"+s.pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the member of %s (the harness must run in artifacts/bench): %w\n%s", s.name, err, text)
	}
	return []string{out}, nil
}
