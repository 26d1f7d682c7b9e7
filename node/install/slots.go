package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/update"
)

// The links beside the slots. Each points to "a" or "b".
const (
	linkCurrent   = "current"   // what runs after a reboot
	linkCommitted = "committed" // what was committed last: what runs if all records are lost
	linkRunning   = "running"   // where a unit's payload was started from
)

// slots are two directories and their links: <root>/<component>/{a,b,current,
// committed}. All must lie in one file system.
type slots struct {
	dir       string
	component string
}

func newSlots(root, component string) (slots, error) {
	if !manifest.ValidName(component) {
		return slots{}, fmt.Errorf("install: component %q: want 1 to 32 of a-z 0-9 . - _", component)
	}
	dir, err := filepath.Abs(filepath.Join(root, component))
	if err != nil {
		return slots{}, fmt.Errorf("install: %w", err)
	}
	s := slots{dir: dir, component: component}
	for _, slot := range []update.Slot{update.A, update.B} {
		if err := os.MkdirAll(s.SlotDir(slot), 0o755); err != nil {
			return slots{}, fmt.Errorf("install: make slot %s: %w", slot, err)
		}
	}
	return s, nil
}

// Capabilities are those of two directories and a link.
func (s *slots) Capabilities() Capabilities {
	return Capabilities{Atomic: true, AB: true, Revert: true, SpaceFactor: 1}
}

// SlotDir is the folder of the slot.
func (s *slots) SlotDir(slot update.Slot) string { return filepath.Join(s.dir, slot.String()) }

// Install has nothing to do: an image lies in its slot as it is run.
func (s *slots) Install(_ context.Context, p Payload) error {
	if _, err := os.Stat(s.SlotDir(p.Slot)); err != nil {
		return fmt.Errorf("install slot %s: %w", p.Slot, err)
	}
	return nil
}

// Commit moves the link committed.
func (s *slots) Commit(_ context.Context, p Payload) error {
	return s.point(linkCommitted, p.Slot)
}

// Switch moves the link current. Whatever happens in between, the link points to
// the one slot or the other.
func (s *slots) Switch(slot update.Slot) error { return s.point(linkCurrent, slot) }

// point replaces a link by renaming another over it, and syncs the directory: a
// rename is not on disk before that.
func (s *slots) point(link string, slot update.Slot) error {
	path := filepath.Join(s.dir, link)
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("point %s to %s: %w", link, slot, err)
	}
	if err := os.Symlink(slot.String(), tmp); err != nil {
		return fmt.Errorf("point %s to %s: %w", link, slot, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("point %s to %s: %w", link, slot, err)
	}
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("point %s to %s: %w", link, slot, err)
	}
	return nil
}

// read is where a link points to; a link that is missing, or points elsewhere,
// points to nothing.
func (s *slots) read(link string) (update.Slot, bool) {
	to, err := os.Readlink(filepath.Join(s.dir, link))
	if err != nil {
		return update.A, false
	}
	slot, err := update.ParseSlot(to)
	return slot, err == nil
}

// links is what the links say.
func (s *slots) links() Found {
	var f Found
	f.Link, f.Linked = s.read(linkCurrent)
	f.Mark, f.Marked = s.read(linkCommitted)
	return f
}
