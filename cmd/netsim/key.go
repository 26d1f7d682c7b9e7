package main

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/starling-swarm/starling/artifacts/trust"
)

// keyFile is where a swarm's directory has the operator's key, as starling init puts it.
const keyFile = "keys/operator.key"

// A keyring finds and opens the operator's key, as the starling command does.
type keyring struct {
	file       string // --key
	home       string // --dir
	passphrase string // --passphrase-file
}

// open opens the key; it asks for the passphrase on a terminal if nothing else gives it.
func (k *keyring) open() (ed25519.PrivateKey, error) {
	path, err := k.find()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the operator's key: %w", err)
	}
	secret, err := k.secret(path)
	if err != nil {
		return nil, err
	}
	key, role, err := trust.OpenKey(data, secret)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if role != "operator" {
		return nil, usagef("%s holds the key of the %s; a report is signed by the operator", path, role)
	}
	return key, nil
}

// find is --key, else the key in --dir, in $STARLING_HOME, or in the only swarm of
// this user.
func (k *keyring) find() (string, error) {
	home := k.home
	if home == "" {
		home = os.Getenv("STARLING_HOME")
	}
	switch {
	case k.file != "":
		return k.file, nil
	case home != "":
		return filepath.Join(home, keyFile), nil
	}
	base, err := os.UserConfigDir()
	if err != nil {
		return "", usagef("no place to look for the operator's key (%v): name it with --key", err)
	}
	found, err := filepath.Glob(filepath.Join(base, "starling", "*", keyFile))
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", usagef("no operator's key in %s: name it with --key", filepath.Join(base, "starling"))
	}
	return "", usagef("there are %d operator's keys: choose one with --key: %s", len(found), strings.Join(found, " "))
}

// secret is the passphrase of the key in path.
func (k *keyring) secret(path string) ([]byte, error) {
	if k.passphrase != "" {
		data, err := os.ReadFile(k.passphrase)
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		return bytes.TrimRight(data, "\r\n"), nil
	}
	if p := os.Getenv("STARLING_PASSPHRASE"); p != "" {
		return []byte(p), nil
	}
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		fmt.Fprintf(os.Stderr, "Passphrase of %s: ", path)
		p, err := term.ReadPassword(in)
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		return p, nil
	}
	return nil, usagef("the key is sealed under a passphrase, and there is no terminal to ask on: set STARLING_PASSPHRASE, or name a file with --passphrase-file")
}
