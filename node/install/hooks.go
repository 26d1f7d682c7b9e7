package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Point is a moment at which hooks run.
type Point string

// The points, in the order of an update, then those of going back and stopping.
const (
	PreCheck    Point = "precheck"     // before a fetch: may refuse
	Quiesce     Point = "quiesce"      // bring the robot into a state in which it can switch
	PreActivate Point = "pre-activate" // the last word before the payload stops
	Healthy     Point = "health"       // again and again during a trial
	Committed   Point = "commit"       // after the commit
	PreRevert   Point = "pre-revert"   // before going back
	PostRevert  Point = "post-revert"  // after; also ends a quiesce
	Halted      Point = "halt"         // the swarm was halted
)

// hookName is what a hook is called: two digits that order it, a dash, a name.
var hookName = regexp.MustCompile(`^[0-9]{2}-[A-Za-z0-9._-]{1,64}$`)

// A HookInput is the JSON object on a hook's stdin.
type HookInput struct {
	API       int             `json:"api"`
	Point     Point           `json:"point"`
	Component string          `json:"component"`
	Version   string          `json:"version,omitempty"`
	Release   manifest.Digest `json:"release"`
	// Plan is the digest of the rollout's plan; zero if no rollout brings the release.
	Plan manifest.Digest `json:"plan"`
	// To is the slot that the release is in or goes to, From the other one if it holds
	// anything.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Attempts is how often control may still be given to the release before it
	// commits; 0 after the commit.
	Attempts int `json:"attempts"`
	// Data and Cache are the payload's $STARLING_DATA and $STARLING_CACHE, if the
	// driver makes any.
	Data    string `json:"data,omitempty"`
	Cache   string `json:"cache,omitempty"`
	SlotDir string `json:"slot_dir,omitempty"`
}

// Hooks runs the user's scripts in <Dir>/<point>/NN-name, in order. Exit 0 goes on,
// 21 is ErrLater, 22 ErrUnsafe, anything else fails; the first that does not go on
// ends the run. They must not mind being run twice.
type Hooks struct {
	// Dir is the hooks.d directory; empty, or without the point, means no hooks.
	Dir string
	// Timeout is for each script; zero means DefaultScriptTimeout.
	Timeout time.Duration
}

// Run runs the hooks of in.Point. A *ScriptError names the one that did not go on.
// A directory that cannot be read is an error: a robot that cannot ask must not
// assume consent.
func (h Hooks) Run(ctx context.Context, in HookInput) error {
	if h.Dir == "" {
		return nil
	}
	dir := filepath.Join(h.Dir, string(in.Point))
	entries, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hooks of %s: %w", in.Point, err)
	}
	in.API = Protocol
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.IsDir() || !hookName.MatchString(e.Name()) })
	for _, e := range entries {
		c := call{
			name: string(in.Point) + "/" + e.Name(), argv: []string{filepath.Join(dir, e.Name())},
			dir: h.Dir, input: in, timeout: h.Timeout,
			env: []string{
				"STARLING_POINT=" + string(in.Point), "STARLING_COMPONENT=" + in.Component,
				"STARLING_VERSION=" + in.Version, "STARLING_SLOT=" + in.SlotDir,
			},
		}
		if _, err := c.run(ctx); err != nil {
			return err
		}
	}
	return nil
}
