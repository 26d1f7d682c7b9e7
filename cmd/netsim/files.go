package main

import (
	"bytes"
	"os"
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
