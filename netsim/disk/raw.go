//go:build linux && (amd64 || arm64)

package disk

import (
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions of this file call the kernel past the hook.

const (
	atCwd    = unix.AT_FDCWD
	pathOnly = unix.O_PATH | unix.O_CLOEXEC
	page     = 4096 // of the page cache, and of the space that disks give
	sector   = 512  // what a disk writes whole or not at all
)

func result(r1, _ uintptr, e syscall.Errno) (int, syscall.Errno) { return int(r1), e }

// text is the string that the argument of a call points at.
func text(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	return unix.BytePtrToString((*byte)(p))
}

// cstring is s for the kernel; one with a zero in it names nothing.
func cstring(s string) *byte {
	b, err := unix.BytePtrFromString(s)
	if err != nil {
		b = new(byte)
	}
	return b
}

func openAt(dir int, name string, flags int, mode uint32) (int, syscall.Errno) {
	return result(syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(cstring(name))), uintptr(flags), uintptr(mode), 0, 0))
}

func closeFD(fd int) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0) // RAM disks have nothing to say at the end
}

// again opens what fd is open for once more, for reading and writing.
func again(fd int) (int, syscall.Errno) {
	var b [32]byte
	return result(syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(link(&b, fd))), unix.O_RDWR|unix.O_CLOEXEC, 0, 0, 0))
}

// link is the name by which the kernel shows what fd is open for.
func link(b *[32]byte, fd int) *byte {
	strconv.AppendInt(append(b[:0], "/proc/self/fd/"...), int64(fd), 10)
	return &b[0]
}

// A place is a path without links. Runs have temporary directories whose names differ
// in length: a string would move the objects after it, and the replay with them.
type place struct {
	buf [unix.PathMax]byte
	n   int
}

func (p *place) path() []byte { return p.buf[:p.n] }

// of makes p where fd leads; empty if nowhere.
func (p *place) of(fd int) {
	var b [32]byte
	n, e := result(syscall.RawSyscall6(unix.SYS_READLINKAT, uintptr(cwd), uintptr(unsafe.Pointer(link(&b, fd))),
		uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)), 0, 0))
	if p.n = n; e != 0 {
		p.n = 0
	}
}

// cwd is atCwd as the kernel takes it.
var cwd = func() int { return atCwd }()

func statAt(dir int, name string) (st unix.Stat_t, e syscall.Errno) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	_, _, e = syscall.RawSyscall6(fstatat, uintptr(dir), uintptr(unsafe.Pointer(cstring(name))), uintptr(unsafe.Pointer(&st)), uintptr(flags), 0, 0)
	return st, e
}

func stat(fd int) (unix.Stat_t, syscall.Errno) { return statAt(fd, "") }

// readAt reads until b is full or the file ends.
func readAt(fd int, b []byte, off int64) (n int, e syscall.Errno) {
	for n < len(b) {
		k, e := result(syscall.RawSyscall6(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(&b[n])), uintptr(len(b)-n), uintptr(off)+uintptr(n), 0, 0))
		if e == unix.EINTR {
			continue
		}
		if e != 0 || k <= 0 {
			return n, e
		}
		n += k
	}
	return n, 0
}

// writeAt writes all of b, or says why not.
func writeAt(fd int, b []byte, off int64) (n int, e syscall.Errno) {
	for n < len(b) {
		k, e := result(syscall.RawSyscall6(unix.SYS_PWRITE64, uintptr(fd), uintptr(unsafe.Pointer(&b[n])), uintptr(len(b)-n), uintptr(off)+uintptr(n), 0, 0))
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return n, e
		}
		n += k
	}
	return n, 0
}

func seek(fd int, off int64, whence int) (int64, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(unix.SYS_LSEEK, uintptr(fd), uintptr(off), uintptr(whence), 0, 0, 0)
	return int64(r), e
}

func truncate(fd int, size int64) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_FTRUNCATE, uintptr(fd), uintptr(size), 0, 0, 0, 0)
	return e
}

func renameAt(from int, name string, to int, newName string) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_RENAMEAT2, uintptr(from), uintptr(unsafe.Pointer(cstring(name))), uintptr(to), uintptr(unsafe.Pointer(cstring(newName))), 0, 0)
	return e
}

func linkAt(from int, name string, to int, newName string) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_LINKAT, uintptr(from), uintptr(unsafe.Pointer(cstring(name))), uintptr(to), uintptr(unsafe.Pointer(cstring(newName))), 0, 0)
	return e
}

func unlinkAt(dir int, name string, flags int) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_UNLINKAT, uintptr(dir), uintptr(unsafe.Pointer(cstring(name))), uintptr(flags), 0, 0, 0)
	return e
}

// hasEntries reports whether a directory holds anything.
func hasEntries(dir int, name string) bool {
	fd, e := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if e != 0 {
		return false
	}
	defer closeFD(fd)
	buf := make([]byte, 4096)
	names := 0
	for names <= 2 { // "." and ".."
		n, e := result(syscall.RawSyscall6(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0))
		if e != 0 || n <= 0 {
			return false
		}
		for rest := buf[:n]; len(rest) > 0; names++ {
			rest = rest[int(rest[16])|int(rest[17])<<8:] // d_reclen
		}
	}
	return true
}
