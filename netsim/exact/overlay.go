package exact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrUnfit is returned by Overlay when a patch does not fit the installed
// toolchain: another Go version, most likely. Build without the overlay and
// report the patches whose Err is set.
var ErrUnfit = errors.New("exact: the pins do not fit this Go version")

// toolchain is what a key and the patches need to know of the installed Go.
type toolchain struct {
	root    string // GOROOT
	version string // as in go1.26.8
}

// findToolchain asks the go command that would build in dir: a go.mod may
// select another toolchain than the first in PATH.
func findToolchain(ctx context.Context, dir string) (toolchain, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return toolchain{}, fmt.Errorf("ask go for its root: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return toolchain{root: root, version: version}, nil
}

// key names the directory of an overlay: Go version, its place, and every byte
// of the edits.
func (t toolchain) key(ps []Patch) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", t.version, t.root, added)
	for _, p := range ps {
		fmt.Fprintf(h, "%q %q %q\n", p.File, p.find, p.with)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Overlay writes patched copies of the runtime's files for the toolchain that
// builds in dir ("" is the current directory) and returns the path of the file
// for `go build -overlay`. The copies lie in the user's cache directory and are
// reused. applied lists every patch; if one does not fit, its Err says why, file
// is empty and err is ErrUnfit.
func Overlay(dir string) (file string, applied []Patch, err error) {
	// The go command answers at once; there is nothing to cancel.
	t, err := findToolchain(context.Background(), dir)
	if err != nil {
		return "", nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil, fmt.Errorf("find a place for the overlay: %w", err)
	}
	return t.overlay(filepath.Join(cache, "starling", "netsim"), patches)
}

// overlay is Overlay with the place and the patches given.
func (t toolchain) overlay(cache string, ps []Patch) (string, []Patch, error) {
	src := filepath.Join(t.root, "src")
	edited, applied, err := edit(os.DirFS(src), ps)
	if err != nil {
		return "", applied, err
	}
	edited[addedFile] = added
	out := filepath.Join(cache, t.key(ps))
	replace := make(map[string]string, len(edited))
	for name, data := range edited {
		copied := filepath.Join(out, strings.ReplaceAll(name, "/", "_"))
		if err := writeOnce(copied, data); err != nil {
			return "", applied, err
		}
		replace[filepath.Join(src, filepath.FromSlash(name))] = copied
	}
	list, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", applied, err
	}
	file := filepath.Join(out, "overlay.json")
	return file, applied, writeOnce(file, list)
}

// edit applies ps to the files of src and returns the edited files by name. All
// patches are tried, so that one report names all that do not fit.
func edit(src fs.FS, ps []Patch) (map[string][]byte, []Patch, error) {
	edited := map[string][]byte{}
	applied := make([]Patch, len(ps))
	var unfit error
	for i, p := range ps {
		data, ok := edited[p.File]
		if !ok {
			data, p.Err = fs.ReadFile(src, p.File)
		}
		if p.Err == nil {
			var next []byte
			if next, p.Err = p.apply(data); p.Err == nil {
				edited[p.File] = next
			}
		}
		if p.Err != nil {
			unfit = ErrUnfit
		}
		applied[i] = p
	}
	return edited, applied, unfit
}

// writeOnce makes name hold data. Several processes may do so at once: each
// renames a whole file into place, and all write the same bytes.
func writeOnce(name string, data []byte) error {
	if old, err := os.ReadFile(name); err == nil && string(old) == string(data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), "new-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
