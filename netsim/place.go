package netsim

import (
	"fmt"
	"io/fs"

	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

func point(p scenario.Point) fabric.Point { return fabric.Point(p) }

// tracks are the ways of all machines through the run, by name. files holds the
// traces that the scenario names; it may be nil if there are none.
func tracks(s *scenario.Scenario, files fs.FS) (map[string]scenario.Track, error) {
	traces := make([]scenario.Trace, len(s.Fleet))
	for i := range s.Fleet {
		var err error
		if traces[i], err = trace(s.Fleet[i].Mobility.Trace, files); err != nil {
			return nil, err
		}
	}
	out := map[string]scenario.Track{}
	for _, m := range s.Machines() {
		var t scenario.Trace
		if m.Kind == scenario.Robots {
			t = traces[m.Group]
		}
		way, err := s.Track(m, t)
		if err != nil {
			return nil, err
		}
		out[m.Name] = way
	}
	return out, nil
}

// trace reads a file of movements; no name is no trace.
func trace(name string, files fs.FS) (t scenario.Trace, err error) {
	if name == "" {
		return nil, nil
	}
	if files == nil {
		return nil, fmt.Errorf("%w: it names the trace %s, and no files were given with it", scenario.ErrScenario, name)
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the trace: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	return scenario.ParseTrace(name, f)
}
