//go:build linux && (amd64 || arm64)

package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Loss says what a power cut undid.
type Loss struct {
	Files int // some of whose last writes are gone
	Names int // made, removed or moved, that were not
	Whole int // files and names not synced that came through
}

// String is what a report says of it.
func (l Loss) String() string {
	return fmt.Sprintf("forgets writes to %d files and %d names; of what was not synced %d are kept", l.Files, l.Names, l.Whole)
}

// Cut is a loss of power. Of what was not synced each file keeps all that was written, or
// none of it, as drawn from r; if torn, single pages and sectors too. Each directory keeps
// its changes up to one of them. Until PowerOn nothing can be written, and by descriptors from before
// never.
func (d *Disk) Cut(r *rand.Rand, torn bool) (l Loss) {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	d.age()
	for _, f := range d.dirty {
		if f.forget(r, torn) {
			l.Files++
		} else {
			l.Whole++
		}
		f.synced()
	}
	d.dirty = nil
	undone := d.undone(r)
	for _, c := range slices.Backward(d.names) {
		if undone[c] {
			d.undo(c)
			l.Names++
		} else {
			l.Whole++
		}
	}
	d.settleNames(func(*change) bool { return true })
	d.off = true
	d.life++
	return l
}

// PowerOff ends a disk in order: all is synced.
func (d *Disk) PowerOff() {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	d.settle()
	d.off = true
	d.life++
}

// PowerOn lets a disk work again.
func (d *Disk) PowerOn() {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	d.off = false
}

// forget lets a file have lost some of what was not synced, and reports whether it has.
func (f *file) forget(r *rand.Rand, torn bool) bool {
	now := f.length()
	const all, none = 0, 1
	how := r.IntN(2)
	if torn {
		how = r.IntN(4) // half of them mixed
	}
	if how == all {
		return false
	}
	size := f.size
	if how != none && r.IntN(2) == 0 {
		size = now
	}
	for _, n := range slices.Sorted(maps.Keys(f.pages)) {
		kept := 0
		if how != none {
			kept = []int{0, page, r.IntN(page/sector) * sector}[r.IntN(3)]
		}
		if n*page+int64(kept) >= size {
			continue // beyond the end
		}
		was := f.pages[n]
		if was == nil {
			was = make([]byte, page)
		}
		f.must(writeAt(f.fd, was[kept:], n*page+int64(kept)))
	}
	f.must(0, truncate(f.fd, size))
	return true
}

// must is for writes of ours to a RAM disk: if they fail, the run means nothing.
func (f *file) must(_ int, e syscall.Errno) {
	if e != 0 {
		panic(fmt.Sprintf("disk: take back a write on %s: %v", f.d.name, e))
	}
}

// undone draws which changes of names are undone: in each directory the last ones, from
// some on. Directories between which a name was moved count as one.
func (d *Disk) undone(r *rand.Rand) map[*change]bool {
	group := map[*folder]*folder{}
	root := func(f *folder) *folder {
		for group[f] != nil {
			f = group[f]
		}
		return f
	}
	for _, c := range d.names {
		if c.from != nil && c.to != nil && root(c.from) != root(c.to) {
			group[root(c.to)] = root(c.from)
		}
	}
	var roots []*folder // in the order of their first change
	of := map[*folder][]*change{}
	for _, c := range d.names {
		f := c.to
		if f == nil {
			f = c.from
		}
		f = root(f)
		if of[f] == nil {
			roots = append(roots, f)
		}
		of[f] = append(of[f], c)
	}
	undone := map[*change]bool{}
	for _, f := range roots {
		for _, c := range of[f][r.IntN(len(of[f])+1):] {
			undone[c] = true
		}
	}
	return undone
}

// undo takes a change back. What a change in another directory has taken away is not
// missed.
func (d *Disk) undo(c *change) {
	lost := d.set.lost
	switch {
	case c.from == nil: // made
		_ = renameAt(c.to.fd, c.name, lost, d.set.bury())
	case c.to == nil: // removed
		d.back(lost, c.grave, c.from.fd, c.old)
	default:
		d.back(c.to.fd, c.name, c.from.fd, c.old)
		if c.grave != "" {
			d.back(lost, c.grave, c.to.fd, c.name)
		}
	}
	c.grave = ""
}

// back moves a name back to where it was.
func (d *Disk) back(from int, name string, to int, old string) {
	e := renameAt(from, name, to, old)
	if e != 0 && e != unix.ENOENT {
		panic(fmt.Sprintf("disk: take back the name %s on %s: %v", old, d.name, e))
	}
}
