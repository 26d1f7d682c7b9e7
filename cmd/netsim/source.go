package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// A source is a scenario and where it came from.
type source struct {
	*scenario.Scenario
	name  string // as it was asked for: a file, or one of the library
	files fs.FS  // what stands beside it; nil if it is of the library
	twin  bool   // another that is run with it has the same name inside
}

// open reads a scenario: a file, or one of the library by name.
func open(name string) (source, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		s, inLibrary := scenario.Open(name)
		if inLibrary != nil {
			return source{}, usagef("no file %s, and no such scenario in the library; netsim ls lists it", name)
		}
		return source{Scenario: s, name: name}, nil
	}
	if err != nil {
		return source{}, usage{err}
	}
	s, err := scenario.Parse(name, data)
	return source{Scenario: s, name: name, files: os.DirFS(filepath.Dir(name))}, err
}

// maxUnasked bounds the machines of scenarios that are run though nobody named them:
// a hundred take minutes each.
const maxUnasked = 60

// chosen are scenarios by name or file, or those of the library that this build can
// run, but for large swarms.
func chosen(args []string) (list []source, err error) {
	if len(args) == 0 {
		for _, e := range scenario.Library() {
			if len(netsim.Unsupported(e.Scenario)) == 0 && len(e.Scenario.Machines()) <= maxUnasked { // "run" says what is missing
				list = append(list, source{Scenario: e.Scenario, name: e.Name})
			}
		}
		return list, nil
	}
	names := map[string]int{}
	for _, a := range args {
		if slices.ContainsFunc(list, func(s source) bool { return s.name == a }) {
			continue // asked for twice
		}
		s, err := open(a)
		if err != nil {
			return nil, err
		}
		names[s.Name]++
		list = append(list, s)
	}
	for i := range list {
		list[i].twin = names[list[i].Name] > 1
	}
	return list, nil
}

// label tells s from others that are run with it.
func (s source) label() string {
	if s.twin {
		return s.name
	}
	return s.Name
}

// traces copies the files that s names into a directory, so that a run sees them under
// the same short name wherever they are.
func (s source) traces(dir string) error {
	for i := range s.Fleet {
		name := s.Fleet[i].Mobility.Trace
		if name == "" {
			continue
		}
		if s.files == nil {
			return usagef("%s names the trace %s, and no directory to find it in", s.Name, name)
		}
		data, err := fs.ReadFile(s.files, name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// with is s with another scenario in place of its own.
func (s source) with(c *scenario.Scenario) source {
	s.Scenario = c
	return s
}

// startSeed is the first seed of runs: --seed, or the scenario's own.
func startSeed(cmd *cobra.Command, given, own uint64) (uint64, error) {
	switch {
	case given != 0:
		return given, nil
	case cmd.Flags().Changed("seed"):
		return 0, usagef("--seed 0: seeds begin at 1")
	}
	return own, nil
}
