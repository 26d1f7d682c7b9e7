package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/netsim"
)

// writeHTML writes one self-contained page about all runs.
func writeHTML(path string, s source, reports []*netsim.Report) error {
	var b bytes.Buffer
	if err := netsim.HTML(&b, s.Scenario, reports); err != nil {
		return err
	}
	return writeFile(path, b.Bytes())
}

// writeFile writes a report or a scenario: whole, or not at all.
func writeFile(path string, data []byte) error { return durable.WriteFile(path, data, 0o644) }

// writable makes sure that writeFile will find a place for each path, empty ones left out:
// whoever waits for hours should hear of a wrong path before.
func writable(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return usagef("%s is no plain file: name one to write to", path)
		}
		f, err := os.CreateTemp(filepath.Dir(path), ".netsim.*")
		if err != nil {
			return usagef("%s cannot be written: %w", path, err)
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory for files of a sweep.
func makeDir(path string) error { return os.MkdirAll(path, 0o755) }

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+-]+$`)

// quote writes a word as a shell reads it.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
