package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node/api"
)

// minPassphrase is the fewest characters of a new passphrase.
const minPassphrase = 8

// givenPassphrase is the passphrase from --passphrase-file or the environment; nil
// if somebody must be asked.
func (c *cli) givenPassphrase() ([]byte, error) {
	if c.secret != nil {
		return c.secret, nil
	}
	if c.passphrase != "" {
		data, err := os.ReadFile(c.passphrase)
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		c.secret = bytes.TrimRight(data, "\r\n")
	} else if p := os.Getenv("STARLING_PASSPHRASE"); p != "" {
		c.secret = []byte(p)
	}
	return c.secret, nil
}

// ask reads a passphrase from the terminal.
func (c *cli) ask(prompt string) ([]byte, error) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, problem(api.Usage, "set STARLING_PASSPHRASE, or name a file with --passphrase-file", "the keys are sealed under a passphrase, and there is no terminal to ask on")
	}
	fmt.Fprintf(c.err, "%s: ", prompt)
	p, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(c.err)
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	return p, nil
}

// newPassphrase is the passphrase for keys that are made now; at a terminal it is
// typed twice.
func (c *cli) newPassphrase() ([]byte, error) {
	p, err := c.givenPassphrase()
	if err != nil {
		return nil, err
	}
	if p == nil {
		if p, err = c.ask("New passphrase for owner.key and operator.key"); err != nil {
			return nil, err
		}
		again, err := c.ask("Once more")
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(p, again) {
			return nil, usageError("the two passphrases differ; nothing was made")
		}
	}
	if len(p) < minPassphrase {
		return nil, usageError(fmt.Sprintf("the passphrase has %d characters, want at least %d", len(p), minPassphrase))
	}
	return p, nil
}

// openKey opens a sealed key of the swarm: "owner" or "operator".
func (c *cli) openKey(h home, role string) (ed25519.PrivateKey, error) {
	path := h.path("keys", role+".key")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem(api.Refused, "run this where the key is, or put it back from its copy", "the %s's key is not here: %s", role, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the %s's key: %w", role, err)
	}
	p, err := c.givenPassphrase()
	if err != nil {
		return nil, err
	}
	if p == nil {
		if p, err = c.ask("Passphrase of " + path); err != nil {
			return nil, err
		}
		c.secret = p
	}
	key, is, err := trust.OpenKey(data, p)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if is != role {
		return nil, problem(api.Usage, "put the right file there", "%s holds the key of the %s", path, is)
	}
	return key, nil
}

// builderKey reads the key that signs what was built here, or makes it at its
// first use. It has no passphrase: it vouches for nothing that the owner has not
// signed too.
func builderKey(path string) (ed25519.PrivateKey, error) {
	if path == "" {
		dir, err := configDir()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(dir, "builder.key")
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newKey(path, trust.RoleBuilder, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("read the builder's key: %w", err)
	}
	key, _, err := trust.OpenKey(data, nil)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return key, nil
}

// newKey makes a key and writes it to a file that is not there yet.
func newKey(path, role string, passphrase []byte) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	data, err := trust.SealKey(key, role, passphrase)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, durable.WriteFile(path, data, 0o600)
}

// nextCounter is a number for an intent, above all that this home has used: the
// time, unless the clock went back.
func (h home) nextCounter(kind string) (uint64, error) {
	path := h.path("keys", kind+".counter")
	var last uint64
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		if last, err = strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err != nil {
			return 0, fmt.Errorf("read %s: %w; remove it if the clock is right", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	n := max(uint64(time.Now().UnixNano()), last+1)
	return n, durable.WriteFile(path, fmt.Appendf(nil, "%d\n", n), 0o600)
}
