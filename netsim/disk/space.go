//go:build linux && (amd64 || arm64)

package disk

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Fill leaves so many bytes free. Files take them in pages, and each name takes one; what is cut or
// removed gives them back.
func (d *Disk) Fill(free int64) {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	d.full, d.free = true, free
}

// Empty ends Fill: there is space for everything.
func (d *Disk) Empty() {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	d.full = false
}

// Free is how many bytes are left; false if there is no end of them.
func (d *Disk) Free() (int64, bool) {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	return d.free, d.full
}

func (d *Disk) take(n int64) syscall.Errno {
	if !d.full {
		return 0
	}
	if d.free < n {
		return unix.ENOSPC
	}
	d.free -= n
	return 0
}

func (d *Disk) give(n int64) {
	if d.full {
		d.free += n
	}
}

func (d *Disk) takeName() syscall.Errno { return d.take(page) }
func (d *Disk) giveName()               { d.give(page) }

// giveFile gives back what a removed name took, and its file if that was the last one.
func (d *Disk) giveFile(st *unix.Stat_t) {
	d.giveName()
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink <= 1 {
		d.give(st.Blocks * sector)
	}
}

// blocks is how many bytes the file takes.
func (f *file) blocks() int64 {
	if !f.d.full {
		return 0
	}
	st, e := stat(f.fd)
	if e != 0 {
		return 0
	}
	return st.Blocks * sector
}

// takePages takes the space that a write of n bytes needs, and says for how many there
// is some.
func (d *Disk) takePages(f *file, off int64, n int) (int, syscall.Errno) {
	if !d.full {
		return n, 0
	}
	for at := off / page * page; at < off+int64(n); at += page {
		if f.holds(at) {
			continue
		}
		if e := d.take(page); e != 0 {
			if fits := at - off; fits > 0 {
				return int(fits), 0
			}
			return 0, e
		}
	}
	return n, 0
}

// holds reports whether the page at an offset has space already.
func (f *file) holds(at int64) bool {
	data, e := seek(f.fd, at, unix.SEEK_DATA)
	return e == 0 && data < at+page
}

// statfs tells of a disk's space by a path.
func (s *Set) statfs(path string, st *unix.Statfs_t) (int, syscall.Errno, bool) {
	d := s.at(atCwd, path)
	if d == nil {
		return notOurs()
	}
	_, _, e := syscall.RawSyscall6(unix.SYS_STATFS, uintptr(unsafe.Pointer(cstring(path))), uintptr(unsafe.Pointer(st)), 0, 0, 0, 0)
	d.tell(st)
	return did(e)
}

func (d *Disk) fstatfs(fd int, st *unix.Statfs_t) (int, syscall.Errno) {
	n, e := result(syscall.RawSyscall6(unix.SYS_FSTATFS, uintptr(fd), uintptr(unsafe.Pointer(st)), 0, 0, 0, 0))
	d.tell(st)
	return n, e
}

// tell puts in what is free on the disk.
func (d *Disk) tell(st *unix.Statfs_t) {
	if d.full && st.Bsize > 0 {
		st.Bavail = uint64(d.free) / uint64(st.Bsize)
		st.Bfree = st.Bavail
	}
}
