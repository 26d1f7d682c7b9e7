package store

import (
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// cloneFiles makes files that stand in old at the same path and with the same length
// share old's blocks: neither space nor time is spent on what stays the same. It is
// for files of which nothing is held here, on a file system that can (btrfs, XFS);
// the result, indexed as Manifest.Entries, says which were cloned, and is nil if none
// can be. Nothing is held by it: chunks are proven where they stand (adopt), and what
// differs is written over.
func (i *Image) cloneFiles(old *Image) manifest.Bitmap {
	if i == old || i.readOnly {
		return nil
	}
	var cloned manifest.Bitmap
	for e := range i.m.Entries {
		entry := &i.m.Entries[e]
		from := old.find(entry.Path)
		if entry.Kind != manifest.File || entry.Bytes == 0 || from < 0 || old.m.Entries[from].Kind != manifest.File || old.m.Entries[from].Bytes != entry.Bytes || i.holdsSome(e) {
			continue
		}
		if err := i.t.clone(entry.Path, old.t); err != nil {
			if len(cloned) == 0 {
				return nil // most likely none can be: copying says what is wrong, if anything is
			}
			continue
		}
		cloned = cloned.With(e)
	}
	return cloned
}

// holdsSome reports whether a chunk is held that has bytes in entry e.
func (i *Image) holdsSome(e int) bool {
	first, end := i.chunksOf(e)
	for n := first; n < end; n++ {
		if i.HasChunk(n) {
			return true
		}
	}
	return false
}

// adopt holds chunk n if all its places are in cloned files and its bytes are right.
func (i *Image) adopt(n int, cloned manifest.Bitmap, buf []byte) bool {
	for _, x := range i.layout.Extents(n) {
		if !cloned.Has(x.Entry) {
			return false
		}
	}
	if _, err := i.load(n, buf); err != nil {
		return false // it is copied, and that says what is wrong
	}
	i.written(n)
	return true
}

// clone makes the plain file p share all blocks of the file at p in from. Both have
// the same length before.
func (t *tree) clone(p string, from *tree) error {
	if err := t.seam.step("clone", p); err != nil {
		return err
	}
	src, was, err := from.open(p, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(src) // open for reading only
	dst, is, err := t.open(p, unix.O_WRONLY)
	if err != nil {
		return err
	}
	if err = errShort; was.size == is.size {
		err = again(func() error { return cloneFile(dst, src) })
	}
	if e := unix.Close(dst); err == nil {
		err = e
	}
	if err != nil {
		return &os.PathError{Op: "clone", Path: path.Join(t.dir, p), Err: err}
	}
	return nil
}
