package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

var (
	// errKind is returned where something else than a plain file, a directory
	// or a link of our own stands at a path.
	errKind = errors.New("not the kind of file the manifest lists")
	// errShort is returned where a file ends before the bytes asked for.
	errShort = errors.New("file ends too early")
)

// A seam lets tests fail or cut short every step that changes the disk. It is
// asked before the step: op and path say which, bytes how many a write has. With
// an error the step is not taken, but for the first n bytes of a write. A nil
// seam lets everything pass.
type seam func(op, path string, bytes int) (n int, err error)

func (s seam) step(op, path string) error {
	if s == nil {
		return nil
	}
	_, err := s(op, path, 0)
	return err
}

// A tree is an open directory. Paths below it are relative and slash-separated,
// and none of its methods follows a symbolic link in any part of them: each
// directory on the way is opened by itself, and no file outside can be reached.
type tree struct {
	dir  string // for messages
	fd   int
	seam seam
}

// openTree opens dir; if it is to be written, dir is created and must be no link.
func openTree(dir string, write bool, s seam) (*tree, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if write {
		flags |= unix.O_NOFOLLOW
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	fd, err := openat(unix.AT_FDCWD, dir, flags, 0)
	if err == nil {
		return &tree{dir: dir, fd: fd, seam: s}, nil
	}
	if fi, e := os.Lstat(dir); write && e == nil && fi.Mode()&os.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s is a symbolic link, and what is behind it is not for us to change: name the directory itself", dir)
	}
	return nil, &os.PathError{Op: "open", Path: dir, Err: err}
}

func (t *tree) close() error { return unix.Close(t.fd) }

// again repeats f while a signal interrupts it.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func openat(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() (e error) { fd, e = unix.Openat(dir, name, flags, mode); return e })
	return fd, err
}

// parent opens the directory that holds p; give it back to release. The
// directory "." holds itself.
func (t *tree) parent(p string) (fd int, base string, err error) {
	fd = t.fd
	for {
		name, rest, more := strings.Cut(p, "/")
		if !more {
			return fd, name, nil
		}
		next, err := openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		t.release(fd)
		if err != nil {
			return -1, "", err
		}
		fd, p = next, rest
	}
}

func (t *tree) release(fd int) {
	if fd != t.fd {
		unix.Close(fd) // open for reading only: nothing can be lost
	}
}

// at runs f on the directory that holds p and the last part of p.
func (t *tree) at(op, p string, f func(dir int, base string) error) error {
	dir, base, err := t.parent(p)
	if err == nil {
		err = f(dir, base)
		t.release(dir)
	}
	if err != nil {
		return &os.PathError{Op: op, Path: path.Join(t.dir, p), Err: err}
	}
	return nil
}

// change is at for steps that change the disk.
func (t *tree) change(op, p string, f func(dir int, base string) error) error {
	if err := t.seam.step(op, p); err != nil {
		return &os.PathError{Op: op, Path: path.Join(t.dir, p), Err: err}
	}
	return t.at(op, p, f)
}

// A status is what stands at a path.
type status struct {
	kind  manifest.Kind // zero: none that a manifest can list
	mode  uint32        // permission bits, set-id and sticky bits
	size  int64
	links uint64
	dev   uint64
}

func statusOf(st *unix.Stat_t) status {
	s := status{mode: uint32(st.Mode) & 0o7777, size: st.Size, links: uint64(st.Nlink), dev: uint64(st.Dev)}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		s.kind = manifest.File
	case unix.S_IFDIR:
		s.kind = manifest.Dir
	case unix.S_IFLNK:
		s.kind = manifest.Link
	}
	return s
}

func (t *tree) stat(p string) (s status, err error) {
	err = t.at("stat", p, func(dir int, base string) error {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		s = statusOf(&st)
		return nil
	})
	return s, err
}

// open opens the plain file p. O_NONBLOCK keeps a pipe that somebody put there
// from holding us up. Files to be written have one name only: a second could
// lie outside the tree.
func (t *tree) open(p string, flags int) (fd int, s status, err error) {
	fd = -1
	err = t.at("open", p, func(dir int, base string) (err error) {
		fd, err = openat(dir, base, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil {
			s = statusOf(&st)
			if s.kind != manifest.File || (flags&unix.O_ACCMODE != unix.O_RDONLY && s.links != 1) {
				err = errKind
			}
		}
		if err != nil {
			unix.Close(fd) // nothing was written
			fd = -1
		}
		return err
	})
	return fd, s, err
}

// readAt fills b from offset off of the plain file p.
func (t *tree) readAt(p string, b []byte, off int64) error {
	fd, _, err := t.open(p, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // open for reading only
	for len(b) > 0 {
		var n int
		err := again(func() (e error) { n, e = unix.Pread(fd, b, off); return e })
		if err == nil && n == 0 {
			err = errShort
		}
		if err != nil {
			return &os.PathError{Op: "read", Path: path.Join(t.dir, p), Err: err}
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// worthReserving is from how many bytes on it costs less to ask for all their blocks at
// once than to let the write ask for each.
const worthReserving = 128 << 10

// writeAt writes b at offset off of the plain file p, which has size bytes.
func (t *tree) writeAt(p string, size int64, b []byte, off int64) error {
	fd, s, err := t.open(p, unix.O_WRONLY)
	if err != nil {
		return err
	}
	if s.size != size {
		err = errShort
	}
	var cut error
	if t.seam != nil && err == nil {
		var n int
		if n, cut = t.seam("write", p, len(b)); cut != nil {
			b = b[:n]
		}
	}
	if len(b) >= worthReserving && err == nil {
		reserve(fd, off, int64(len(b)))
	}
	for len(b) > 0 && err == nil {
		var n int
		err = again(func() (e error) { n, e = unix.Pwrite(fd, b, off); return e })
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		b, off = b[max(n, 0):], off+int64(max(n, 0))
	}
	if err = errors.Join(err, cut, unix.Close(fd)); err != nil {
		return &os.PathError{Op: "write", Path: path.Join(t.dir, p), Err: err}
	}
	return nil
}

// readlink returns where the link p points.
func (t *tree) readlink(p string) (target string, err error) {
	err = t.at("readlink", p, func(dir int, base string) error {
		b := make([]byte, manifest.MaxPathBytes+1)
		n, err := unix.Readlinkat(dir, base, b)
		if err == nil {
			target = string(b[:n])
		}
		return err
	})
	return target, err
}

// names lists the directory p.
func (t *tree) names(p string) (names []string, err error) {
	err = t.at("list", p, func(dir int, base string) error {
		names, err = namesAt(dir, base)
		return err
	})
	return names, err
}

func namesAt(dir int, base string) ([]string, error) {
	fd, err := openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), base)
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}
