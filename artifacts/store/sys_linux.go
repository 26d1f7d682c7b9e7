package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// syncFS syncs the file system of fd in one go. Before Linux 5.8 it reports no
// write errors; what it missed is found when Seal reads the image back.
func syncFS(fd int) error { return unix.Syncfs(fd) }

// forget asks the kernel to drop its copy of the file fd, so that the next read
// comes from the disk. It is advice: an error changes nothing.
func forget(fd int) { _ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }

// cloneFile makes the file dst share the blocks of src, where the file system can.
func cloneFile(dst, src int) error { return unix.IoctlFileClone(dst, src) }

// reserve asks for the blocks of n bytes at off of fd. It is advice: if it fails, so
// does the write, or can do without.
func reserve(fd int, off, n int64) { _ = unix.Fallocate(fd, 0, off, n) }

// isHole reports whether the n bytes at off of fd were never written. When in
// doubt they were.
func isHole(fd int, off, n int64) bool {
	data, err := unix.Seek(fd, off, unix.SEEK_DATA)
	return errors.Is(err, unix.ENXIO) || (err == nil && data >= off+n)
}
