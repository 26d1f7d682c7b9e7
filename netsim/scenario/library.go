package scenario

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed library/*.yaml
var libraryFiles embed.FS

// An Entry is one scenario of the library.
type Entry struct {
	Name, About string
	Source      []byte // the file, with its comments
	Scenario    *Scenario
}

// Library lists the scenarios that come with the simulator, by name: one for each
// family of faults, and stories from the field.
func Library() []Entry {
	files, err := libraryFiles.ReadDir("library")
	if err != nil {
		panic("scenario: " + err.Error()) // compiled in
	}
	var list []Entry
	for _, f := range files {
		source, err := libraryFiles.ReadFile(path.Join("library", f.Name()))
		if err != nil {
			panic("scenario: " + err.Error())
		}
		s, err := Parse(f.Name(), source)
		if err != nil {
			panic("scenario: library: " + err.Error())
		}
		list = append(list, Entry{Name: s.Name, About: s.About, Source: source, Scenario: s})
	}
	return list
}

// Open returns the scenario of the library called name.
func Open(name string) (*Scenario, error) {
	var names []string
	for _, e := range Library() {
		if e.Name == name {
			return e.Scenario, nil
		}
		names = append(names, e.Name)
	}
	return nil, fmt.Errorf("%w: no %q in the library; there is %s", ErrScenario, name, strings.Join(names, ", "))
}
