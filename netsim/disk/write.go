//go:build linux && (amd64 || arm64)

package disk

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A file is one that is open for writing, or not synced.
type file struct {
	d       *Disk
	id      inode
	fd      int // our own, for reading and writing
	handles int // descriptors of the program

	// pages are those written since the last sync, as they were then, by number; nil is
	// zeros, or beyond the file's end. The map is nil if all is synced.
	pages map[int64][]byte
	size  int64     // then
	last  time.Time // when it was last written
}

// length is how long the file is now.
func (f *file) length() int64 {
	st, e := stat(f.fd)
	if e != 0 {
		return 0
	}
	return st.Size
}

// touch keeps what the bytes from off to end were at the last sync, before they change.
func (f *file) touch(off, end int64) {
	if !f.d.set.forgets {
		return
	}
	f.last = time.Now()
	if f.pages == nil {
		f.pages, f.size = map[int64][]byte{}, f.length()
		f.d.dirty = append(f.d.dirty, f)
		if len(f.d.dirty)%manyChanges == 0 {
			f.d.age()
		}
	}
	for n := off / page; n*page < end; n++ {
		if _, ok := f.pages[n]; ok {
			continue
		}
		f.pages[n] = nil
		if n*page >= f.size {
			continue
		}
		was := make([]byte, page)
		k, _ := readAt(f.fd, was[:min(page, f.size-n*page)], n*page) // a RAM disk reads what it holds
		if !zero(was[:k]) {
			f.pages[n] = was
		}
	}
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// synced says that the file is on the disk as it is.
func (f *file) synced() {
	f.pages = nil
	f.d.set.letGo(f)
}

// write writes at an offset.
func (h *handle) write(data []byte, off int64) (int, syscall.Errno) {
	f, d := h.f, h.d
	if h.dead() {
		return 0, unix.EIO
	}
	if off < 0 {
		return 0, unix.EINVAL
	}
	n, e := d.takePages(f, off, len(data))
	if e != 0 || n == 0 {
		return 0, e
	}
	data = data[:n]
	f.touch(off, off+int64(n))
	if d.lie != nil {
		return n, d.lie.write(f, data, off)
	}
	if n, e = writeAt(f.fd, data, off); n > 0 {
		e = 0 // the kernel tells the rest at the next write
	}
	return n, e
}

// writeOn writes where the descriptor stands, and moves it.
func (h *handle) writeOn(fd int, data []byte) (int, syscall.Errno) {
	off, e := int64(0), syscall.Errno(0)
	if h.appends {
		off = h.f.length()
	} else if off, e = seek(fd, 0, unix.SEEK_CUR); e != 0 {
		return 0, e
	}
	n, e := h.write(data, off)
	if e == 0 {
		_, e = seek(fd, off+int64(n), unix.SEEK_SET)
	}
	return n, e
}

// truncate cuts a file, or makes it longer.
func (h *handle) truncate(size int64) syscall.Errno {
	f := h.f
	if h.dead() {
		return unix.EIO
	}
	if size < 0 {
		return unix.EINVAL
	}
	if was := f.length(); size < was {
		f.touch(size, was)
	} else {
		f.touch(was, was) // the size alone
	}
	used := f.blocks()
	e := truncate(f.fd, size)
	h.d.give(used - f.blocks())
	return e
}

// sync brings a file to the disk, or the names of a directory.
func (h *handle) sync() syscall.Errno {
	switch {
	case h.dead():
		return unix.EIO
	case h.f != nil:
		h.d.clean(func(f *file) bool { return f == h.f })
	default:
		h.d.settleNames(func(c *change) bool { return c.in(h.dir) })
	}
	return 0
}

// syncAll brings all of a disk to it.
func (h *handle) syncAll() syscall.Errno {
	if h.dead() {
		return unix.EIO
	}
	h.d.settle()
	return 0
}

// settle brings all to the disk.
func (d *Disk) settle() {
	d.clean(func(*file) bool { return true })
	d.settleNames(func(*change) bool { return true })
}

// age takes as synced what the kernel has written back by itself.
func (d *Disk) age() {
	now := time.Now()
	d.clean(func(f *file) bool { return now.Sub(f.last) > WriteBack })
	d.settleNames(func(c *change) bool { return now.Sub(c.at) > WriteBack })
}

// clean says that some of the files that are not synced are.
func (d *Disk) clean(which func(*file) bool) {
	rest := d.dirty[:0:0]
	for _, f := range d.dirty {
		if which(f) {
			f.synced()
		} else {
			rest = append(rest, f)
		}
	}
	d.dirty = rest
}
