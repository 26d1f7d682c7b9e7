//go:build linux && (amd64 || arm64)

package disk

import (
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A spot is where a name stands or would stand: its directory, open, and the last part
// of its path.
type spot struct {
	dir  int
	base string
}

func (p spot) close() { closeFD(p.dir) }

// under finds the spot of a path and the disk it is on. The spot is open only if there
// is a disk.
func (s *Set) under(dir int, path string) (spot, *Disk) {
	path = strings.TrimRight(path, "/")
	up, base := filepath.Split(path)
	if base == "" || base == "." || base == ".." {
		return spot{}, nil // a root, or a directory that exists: no call here changes its name
	}
	if up == "" {
		up = "."
	}
	fd, e := openAt(dir, up, pathOnly|unix.O_DIRECTORY, 0)
	if e != 0 {
		return spot{}, nil // the kernel will say so
	}
	d := s.diskOf(fd)
	if d == nil {
		closeFD(fd)
	}
	return spot{fd, base}, d
}

// open opens a file, and follows it if it is on a disk.
func (s *Set) open(dir int, path string, flags int, mode uint32) (int, syscall.Errno, bool) {
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		if d := s.at(dir, path); d != nil {
			return did(unix.EOPNOTSUPP)
		}
		return notOurs()
	}
	writes := flags&unix.O_ACCMODE != unix.O_RDONLY
	if flags&unix.O_CREAT == 0 && !writes {
		fd, e := openAt(dir, path, flags, mode)
		if e == 0 {
			s.opened(fd, flags)
		}
		return fd, e, true
	}
	where, d := s.under(dir, path)
	if d == nil {
		return notOurs()
	}
	defer where.close()
	if d.off {
		return did(unix.EIO)
	}
	_, missing := statAt(where.dir, where.base)
	made := missing == unix.ENOENT && flags&unix.O_CREAT != 0
	if made {
		if e := d.takeName(); e != 0 {
			return did(e)
		}
	}
	// A link that leads off the disk, or whose target is still to be made, is beyond this.
	fd, e := openAt(where.dir, where.base, flags&^unix.O_TRUNC, mode)
	if e != 0 {
		if made {
			d.giveName()
		}
		return did(e)
	}
	if made {
		d.made(where)
	}
	if e := s.openedToWrite(d, fd, flags); e != 0 {
		closeFD(fd)
		return did(e)
	}
	return fd, 0, true
}

// at is the disk that a directory or file is on, if it exists.
func (s *Set) at(dir int, path string) *Disk {
	fd, e := openAt(dir, path, pathOnly, 0)
	if e != 0 {
		return nil
	}
	defer closeFD(fd)
	return s.diskOf(fd)
}

// opened follows a descriptor for reading if it is one of a directory: it can be synced.
func (s *Set) opened(fd, flags int) {
	s.follow(fd, nil)
	if flags&unix.O_PATH != 0 {
		return
	}
	st, e := stat(fd)
	if e != 0 || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	if d := s.diskOf(fd); d != nil {
		s.follow(fd, &handle{d: d, life: d.life, dir: idOf(&st)})
	}
}

// openedToWrite follows a descriptor for writing, and empties its file if it must.
func (s *Set) openedToWrite(d *Disk, fd, flags int) syscall.Errno {
	s.follow(fd, nil)
	st, e := stat(fd)
	if e != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return e
	}
	f := s.files.at(idOf(&st))
	if f == nil {
		own, e := again(fd)
		if e != 0 {
			return unix.EOPNOTSUPP // a file that may be written and not read: nothing here does that
		}
		f = &file{d: d, id: idOf(&st), fd: own}
		s.files.put(f.id, f)
	}
	f.handles++
	h := &handle{d: d, f: f, life: d.life, appends: flags&unix.O_APPEND != 0}
	s.follow(fd, h)
	if flags&unix.O_TRUNC != 0 && st.Size > 0 {
		return h.truncate(0)
	}
	return 0
}

// close ends a descriptor; the kernel closes it.
func (s *Set) close(fd int) {
	h := s.handle(fd)
	s.follow(fd, nil)
	if h != nil && h.f != nil {
		h.f.handles--
		s.letGo(h.f)
	}
}

// letGo forgets a file that nobody has open and that is synced.
func (s *Set) letGo(f *file) {
	if f.handles == 0 && f.pages == nil && s.files.at(f.id) == f {
		s.files.remove(f.id)
		closeFD(f.fd)
	}
}

// dup lets a descriptor have another number besides.
func (s *Set) dup(trap, a1, a2, a3 uintptr) (int, syscall.Errno, bool) {
	fd, e := result(syscall.RawSyscall6(trap, a1, a2, a3, 0, 0, 0))
	if e != 0 {
		return did(e)
	}
	s.close(fd) // dup3 has closed it, if it was open
	if h := s.handle(int(int32(a1))); h != nil {
		s.follow(fd, h)
		if h.f != nil {
			h.f.handles++
		}
	}
	return fd, 0, true
}
