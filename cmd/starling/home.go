package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/node/api"
)

// A home is a swarm's directory on this machine: keys/ and operator.yaml of an
// operator, robot.yaml of a robot, the node's state in node/.
type home string

func (h home) path(parts ...string) string {
	return filepath.Join(append([]string{string(h)}, parts...)...)
}

// The files of a home.
const (
	operatorFile = "operator.yaml"
	robotFile    = "robot.yaml"
)

// config is the node's configuration file in h.
func (h home) config() (string, error) {
	for _, name := range []string{operatorFile, robotFile} {
		if _, err := os.Stat(h.path(name)); err == nil {
			return h.path(name), nil
		}
	}
	return "", problem(api.Usage, "starling init NAME, or starling join FILE; or name another with --dir",
		"%s holds no swarm: neither %s nor %s is there", h, operatorFile, robotFile)
}

// configDir is where this user's swarms and builder's key are.
func configDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", problem(api.Usage, "name a directory with --dir", "no place for configuration: %v", err)
	}
	return filepath.Join(dir, "starling"), nil
}

// home finds the swarm's directory: --dir, else $STARLING_HOME, else the only one
// of this user.
func (c *cli) home() (home, error) {
	if c.dir != "" {
		return home(c.dir), nil
	}
	if dir := os.Getenv("STARLING_HOME"); dir != "" {
		return home(dir), nil
	}
	base, err := configDir()
	if err != nil {
		return "", err
	}
	var found []string
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range entries {
		if _, err := home(filepath.Join(base, e.Name())).config(); err == nil {
			found = append(found, filepath.Join(base, e.Name()))
		}
	}
	switch len(found) {
	case 1:
		return home(found[0]), nil
	case 0:
		return "", problem(api.Usage, "starling init NAME, or starling join FILE; or name a directory with --dir", "no swarm in %s", base)
	}
	return "", problem(api.Usage, "add --dir "+found[0], "there are %d swarms in %s: which one?", len(found), base)
}

// socket is where the agent answers.
func (c *cli) socket() (string, error) {
	if c.addr != "" {
		return c.addr, nil
	}
	h, err := c.home()
	if err != nil {
		return "", err
	}
	return h.path("node", "api.sock"), nil
}

// client talks to the agent; it connects at the first call.
func (c *cli) client() (*api.Client, error) {
	path, err := c.socket()
	if err != nil {
		return nil, err
	}
	if strings.Contains(path, "://") && !strings.HasPrefix(path, "unix:") {
		return nil, usageError("--addr " + path + ": want unix:PATH")
	}
	return api.Dial(path), nil
}

// unreachable reports whether err says that no agent answers.
func unreachable(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == api.Unreachable
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
