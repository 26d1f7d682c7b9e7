//go:build linux && (amd64 || arm64)

package disk

import (
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A change is one of a disk's names that a power cut can undo.
type change struct {
	at   time.Time
	from *folder // nil if the name was made, and not moved
	old  string
	to   *folder // nil if the name was removed
	name string
	// grave is the name, in the Set's directory of the lost, of what was removed or
	// replaced; empty if nothing was.
	grave string
}

// in reports whether a change was made in a directory.
func (c *change) in(dir inode) bool {
	return c.from != nil && c.from.id == dir || c.to != nil && c.to.id == dir
}

// A folder is a directory with changes.
type folder struct {
	id      inode
	fd      int
	changes int
}

// folder is the directory of a spot, for one more change.
func (d *Disk) folder(p spot) *folder {
	st, e := stat(p.dir)
	if e != 0 {
		return nil
	}
	f := d.folders.at(idOf(&st))
	if f == nil {
		fd, e := openAt(p.dir, ".", pathOnly|unix.O_DIRECTORY, 0)
		if e != 0 {
			return nil
		}
		f = &folder{id: idOf(&st), fd: fd}
		d.folders.put(f.id, f)
	}
	f.changes++
	return f
}

func (d *Disk) leave(f *folder) {
	if f == nil {
		return
	}
	if f.changes--; f.changes == 0 {
		d.folders.remove(f.id)
		closeFD(f.fd)
	}
}

// manyChanges is after how many changes, or files, a disk looks which ones are old.
const manyChanges = 256

// note keeps a change.
func (d *Disk) note(c change) {
	c.at = time.Now()
	d.names = append(d.names, &c)
	if len(d.names)%manyChanges == 0 {
		d.age()
	}
}

// made keeps that a name was made.
func (d *Disk) made(p spot) {
	if d.set.forgets {
		d.note(change{to: d.folder(p), name: p.base})
	}
}

// bury is a new name for what may come back.
func (s *Set) bury() string {
	s.buried++
	return strconv.Itoa(s.buried)
}

// settleNames says that some changes are on the disk. What they removed is gone.
func (d *Disk) settleNames(which func(*change) bool) {
	rest := d.names[:0:0]
	for _, c := range d.names {
		if !which(c) {
			rest = append(rest, c)
			continue
		}
		d.forgetGrave(c)
		d.leave(c.from)
		d.leave(c.to)
	}
	d.names = rest
}

func (d *Disk) forgetGrave(c *change) {
	if c.grave == "" {
		return
	}
	if unlinkAt(d.set.lost, c.grave, 0) != 0 {
		_ = unlinkAt(d.set.lost, c.grave, unix.AT_REMOVEDIR) // an empty directory; it ends with the run else
	}
}

// make makes a name on a disk by a call.
func (s *Set) make(dir int, path string, call func(spot) syscall.Errno) (int, syscall.Errno, bool) {
	where, d := s.under(dir, path)
	if d == nil {
		return notOurs()
	}
	defer where.close()
	if d.off {
		return did(unix.EIO)
	}
	if e := d.takeName(); e != 0 {
		if _, missing := statAt(where.dir, where.base); missing == 0 {
			e = unix.EEXIST
		}
		return did(e)
	}
	e := call(where)
	if e != 0 {
		d.giveName()
	} else {
		d.made(where)
	}
	return did(e)
}

func (s *Set) mkdir(dir int, path string, mode uint32) (int, syscall.Errno, bool) {
	return s.make(dir, path, func(p spot) syscall.Errno {
		_, _, e := syscall.RawSyscall6(unix.SYS_MKDIRAT, uintptr(p.dir), uintptr(unsafe.Pointer(cstring(p.base))), uintptr(mode), 0, 0, 0)
		return e
	})
}

func (s *Set) symlink(target string, dir int, path string) (int, syscall.Errno, bool) {
	return s.make(dir, path, func(p spot) syscall.Errno {
		_, _, e := syscall.RawSyscall6(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(cstring(target))), uintptr(p.dir), uintptr(unsafe.Pointer(cstring(p.base))), 0, 0, 0)
		return e
	})
}

func (s *Set) link(from int, old string, dir int, path string) (int, syscall.Errno, bool) {
	return s.make(dir, path, func(p spot) syscall.Errno { return linkAt(from, old, p.dir, p.base) })
}

// unlink removes a name: what it named waits among the lost.
func (s *Set) unlink(dir int, path string, flags int) (int, syscall.Errno, bool) {
	where, d := s.under(dir, path)
	if d == nil {
		return notOurs()
	}
	defer where.close()
	if d.off {
		return did(unix.EIO)
	}
	st, e := statAt(where.dir, where.base)
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if e != 0 || !s.forgets || isDir != (flags&unix.AT_REMOVEDIR != 0) || isDir && hasEntries(where.dir, where.base) {
		if e = unlinkAt(where.dir, where.base, flags); e == 0 {
			d.giveFile(&st)
		}
		return did(e)
	}
	grave := s.bury()
	if e = renameAt(where.dir, where.base, s.lost, grave); e == 0 {
		d.giveFile(&st)
		d.note(change{from: d.folder(where), old: where.base, grave: grave})
	}
	return did(e)
}

// rename moves a name, and replaces what stood there.
func (s *Set) rename(dir int, path string, newDir int, newPath string, flags int) (int, syscall.Errno, bool) {
	from, d := s.under(dir, path)
	if d != nil {
		defer from.close()
	}
	to, other := s.under(newDir, newPath)
	if other != nil {
		defer to.close()
	}
	switch {
	case d == nil && other == nil:
		return notOurs()
	case d != other:
		return did(unix.EXDEV)
	case d.off:
		return did(unix.EIO)
	case flags&^unix.RENAME_NOREPLACE != 0:
		return did(unix.EINVAL)
	}
	target, missing := statAt(to.dir, to.base)
	if missing == 0 && flags != 0 {
		return did(unix.EEXIST)
	}
	if what, e := statAt(from.dir, from.base); e != 0 || missing == 0 && idOf(&what) == idOf(&target) {
		return did(e)
	}
	grave, e := s.replaced(to, &target, missing == 0)
	if e != 0 {
		return did(e)
	}
	if e := renameAt(from.dir, from.base, to.dir, to.base); e != 0 {
		if grave != "" {
			_ = unlinkAt(s.lost, grave, 0) // what it names stands where it stood
		}
		return did(e)
	}
	if missing == 0 {
		d.giveFile(&target)
	}
	if s.forgets {
		d.note(change{from: d.folder(from), old: from.base, to: d.folder(to), name: to.base, grave: grave})
	}
	return did(0)
}

// replaced keeps what a rename is about to replace.
func (s *Set) replaced(p spot, st *unix.Stat_t, exists bool) (grave string, e syscall.Errno) {
	if !s.forgets || !exists {
		return "", 0
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return "", unix.EEXIST // as if it were not empty: nothing here renames over a directory
	}
	grave = s.bury()
	return grave, linkAt(p.dir, p.base, s.lost, grave)
}
