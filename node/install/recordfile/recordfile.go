// Package recordfile keeps the record of an update on disk, so that a loss of
// power at any moment leaves the record as it was or as it was to be.
//
// A record is written to a temporary file, synced, and renamed over the old one,
// which is kept as ".prev" first; then the directory is synced. What cannot be
// read is never guessed at: Load falls back to the previous copy, and without one
// to nothing, and says so.
package recordfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/node/update"
)

// ErrLost is returned by Load when there is a record and no copy of it can be
// read. Bring the Updater a zero record with Restarted.Lost: it runs what the
// driver has marked, or what the link points to.
var ErrLost = errors.New("recordfile: no readable copy of the record")

// A File is the record of one component. It is not safe for concurrent use.
type File struct {
	path      string
	component string
}

// New names the record of a component: the file at path, and path with ".prev"
// and ".tmp". The directory must exist and lie outside both slots.
func New(path, component string) *File { return &File{path: path, component: component} }

// Load reads the record. With none there it returns a fresh one and no error. If the
// newest copy is damaged it returns the previous one, and the error that says why;
// if that is damaged too, a fresh one and an error that wraps ErrLost.
func (f *File) Load() (update.Record, error) {
	rec, err := f.read(f.path)
	if err == nil {
		return rec, nil
	}
	prev, prevErr := f.read(f.path + ".prev")
	if prevErr == nil {
		if errors.Is(err, fs.ErrNotExist) {
			return prev, nil // cut between the two renames
		}
		return prev, fmt.Errorf("record of %s: %w; using the previous copy", f.component, err)
	}
	fresh := update.NewRecord(f.component)
	if errors.Is(err, fs.ErrNotExist) && errors.Is(prevErr, fs.ErrNotExist) {
		return fresh, nil
	}
	return fresh, fmt.Errorf("record of %s: %w: %w; previous copy: %w", f.component, ErrLost, err, prevErr)
}

func (f *File) read(path string) (update.Record, error) {
	in, err := os.Open(path)
	if err != nil {
		return update.Record{}, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, update.MaxRecordBytes+1))
	if err != nil {
		return update.Record{}, err
	}
	rec, err := update.DecodeRecord(data)
	if err != nil {
		return update.Record{}, err
	}
	if rec.Component != f.component {
		return update.Record{}, fmt.Errorf("%w: of component %q", update.ErrInvalid, rec.Component)
	}
	return rec, nil
}

// Save writes rec and returns when it will survive a loss of power. After an error
// either the old or the new record is there.
func (f *File) Save(rec update.Record) error {
	if err := rec.Check(); err != nil {
		return err
	}
	tmp := f.path + ".tmp"
	// A full disk must not keep a robot from writing down how far it is.
	if err := durable.Retry(tmp, func() error { return writeSync(tmp, rec.Encode()) }); err != nil {
		return fmt.Errorf("save record of %s: %w", f.component, err)
	}
	// A damaged newest copy must not push out a readable previous one.
	if _, err := f.read(f.path); err == nil {
		if err := os.Rename(f.path, f.path+".prev"); err != nil {
			return fmt.Errorf("save record of %s: %w", f.component, err)
		}
	}
	if err := os.Rename(tmp, f.path); err != nil {
		return fmt.Errorf("save record of %s: %w", f.component, err)
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("save record of %s: %w", f.component, err)
	}
	return nil
}

func writeSync(path string, data []byte) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
