//go:build linux && (amd64 || arm64)

package disk

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/netsim/exact"
)

// seen are the calls that a Set answers, and which of their arguments are pointers.
var seen = map[uintptr]exact.Pointers{
	unix.SYS_OPENAT: {1: true}, unix.SYS_OPENAT2: {1: true, 2: true}, unix.SYS_CLOSE: {}, unix.SYS_DUP: {}, unix.SYS_DUP3: {},
	unix.SYS_WRITE: {1: true}, unix.SYS_PWRITE64: {1: true}, unix.SYS_FTRUNCATE: {},
	unix.SYS_FSYNC: {}, unix.SYS_FDATASYNC: {}, unix.SYS_SYNCFS: {},
	unix.SYS_MKDIRAT: {1: true}, unix.SYS_SYMLINKAT: {0: true, 2: true}, unix.SYS_LINKAT: {1: true, 3: true},
	unix.SYS_UNLINKAT: {1: true}, unix.SYS_RENAMEAT: {1: true, 3: true}, unix.SYS_RENAMEAT2: {1: true, 3: true},
	unix.SYS_STATFS: {0: true, 1: true}, unix.SYS_FSTATFS: {1: true},
	// Refused on a disk.
	unix.SYS_TRUNCATE: {0: true}, unix.SYS_WRITEV: {1: true}, unix.SYS_PWRITEV: {1: true}, unix.SYS_PWRITEV2: {1: true},
	unix.SYS_SENDFILE: {2: true}, unix.SYS_SPLICE: {1: true, 3: true}, unix.SYS_COPY_FILE_RANGE: {1: true, 3: true},
	unix.SYS_FALLOCATE: {}, unix.SYS_MMAP: {},
}

// answer is the hook of the program's calls. The kernel does what it has not done.
func (s *Set) answer(trap, a1, a2, a3, a4, a5, a6 uintptr, p, q unsafe.Pointer) (r, errno uintptr, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, e := 0, syscall.Errno(0)
	switch trap {
	case unix.SYS_OPENAT:
		n, e, done = s.open(dirOf(a1), text(p), int(a3), uint32(a4))
	case unix.SYS_OPENAT2:
		how := (*unix.OpenHow)(q)
		n, e, done = s.open(dirOf(a1), text(p), int(how.Flags), uint32(how.Mode))
	case unix.SYS_CLOSE:
		s.close(int(a1))
	case unix.SYS_DUP, unix.SYS_DUP3:
		n, e, done = s.dup(trap, a1, a2, a3)
	case unix.SYS_MKDIRAT:
		n, e, done = s.mkdir(dirOf(a1), text(p), uint32(a3))
	case unix.SYS_SYMLINKAT:
		n, e, done = s.symlink(text(p), dirOf(a2), text(q))
	case unix.SYS_LINKAT:
		n, e, done = s.link(dirOf(a1), text(p), dirOf(a3), text(q))
	case unix.SYS_UNLINKAT:
		n, e, done = s.unlink(dirOf(a1), text(p), int(a3))
	case unix.SYS_RENAMEAT:
		n, e, done = s.rename(dirOf(a1), text(p), dirOf(a3), text(q), 0)
	case unix.SYS_RENAMEAT2:
		n, e, done = s.rename(dirOf(a1), text(p), dirOf(a3), text(q), int(a5))
	case unix.SYS_STATFS:
		n, e, done = s.statfs(text(p), (*unix.Statfs_t)(q))
	case unix.SYS_TRUNCATE:
		if d := s.at(atCwd, text(p)); d != nil {
			n, e, done = did(unix.ENOSYS)
		}
	default:
		n, e, done = s.answerFile(trap, a1, a2, a3, a4, a5, p)
	}
	if e != 0 {
		n = -1
	}
	return uintptr(n), uintptr(e), done
}

// answerFile answers calls on descriptors that are on a disk.
func (s *Set) answerFile(trap, a1, a2, a3, a4, a5 uintptr, p unsafe.Pointer) (n int, e syscall.Errno, done bool) {
	fd := a1
	switch trap { // those that have it elsewhere
	case unix.SYS_SPLICE, unix.SYS_COPY_FILE_RANGE:
		fd = a3
	case unix.SYS_MMAP:
		fd = a5
	}
	h := s.handle(int(int32(fd)))
	if h == nil {
		return s.answerReader(trap, int(int32(fd)), p)
	}
	switch trap {
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		if h.f == nil {
			return 0, 0, false // the kernel says what is wrong with it
		}
		data := unsafe.Slice((*byte)(p), int(a3))
		if trap == unix.SYS_PWRITE64 && !h.appends {
			n, e = h.write(data, int64(a4))
		} else {
			n, e = h.writeOn(int(fd), data)
		}
	case unix.SYS_FTRUNCATE:
		if h.f == nil {
			return 0, 0, false
		}
		e = h.truncate(int64(a2))
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		e = h.sync()
	case unix.SYS_SYNCFS:
		e = h.syncAll()
	case unix.SYS_FSTATFS:
		n, e = h.d.fstatfs(int(fd), (*unix.Statfs_t)(p))
	case unix.SYS_MMAP:
		const shared, write = unix.MAP_SHARED, unix.PROT_WRITE
		if h.f == nil || a4&shared == 0 || a3&write == 0 {
			return 0, 0, false
		}
		e = unix.ENODEV
	case unix.SYS_FALLOCATE:
		e = unix.EOPNOTSUPP
	case unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_COPY_FILE_RANGE:
		e = unix.EINVAL // package os then copies with reads and writes
	default:
		e = unix.ENOSYS
	}
	return n, e, true
}

// answerReader answers calls on descriptors that are not followed, such as those for
// reading: a file can be synced by any of them.
func (s *Set) answerReader(trap uintptr, fd int, p unsafe.Pointer) (int, syscall.Errno, bool) {
	switch trap {
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		st, e := stat(fd)
		if f := s.files.at(idOf(&st)); e == 0 && f != nil {
			return did((&handle{d: f.d, f: f, life: f.d.life}).sync())
		}
	case unix.SYS_SYNCFS, unix.SYS_FSTATFS:
		d := s.diskOf(fd)
		switch {
		case d == nil:
		case trap == unix.SYS_SYNCFS:
			return did((&handle{d: d, life: d.life}).syncAll())
		default:
			n, e := d.fstatfs(fd, (*unix.Statfs_t)(p))
			return n, e, true
		}
	}
	return notOurs()
}

// dirOf is the directory that an *at call names.
func dirOf(a uintptr) int { return int(int32(a)) }

// did is the answer of a call that has no result but its error.
func did(e syscall.Errno) (int, syscall.Errno, bool) { return 0, e, true }

// notOurs leaves a call to the kernel.
func notOurs() (int, syscall.Errno, bool) { return 0, 0, false }
