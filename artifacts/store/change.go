package store

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// The steps that change a tree's names, modes and durability.

// create makes the plain file p, of size zero bytes and for its owner alone.
func (t *tree) create(p string, size int64) error {
	return t.change("create", p, func(dir int, base string) error {
		flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := openat(dir, base, flags, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(again(func() error { return unix.Ftruncate(fd, size) }), unix.Close(fd))
	})
}

// resize gives the plain file p another size; bytes that it gains are zero.
func (t *tree) resize(p string, size int64) error {
	if err := t.seam.step("resize", p); err != nil {
		return err
	}
	fd, _, err := t.open(p, unix.O_WRONLY)
	if err != nil {
		return err
	}
	if err := errors.Join(again(func() error { return unix.Ftruncate(fd, size) }), unix.Close(fd)); err != nil {
		return &os.PathError{Op: "resize", Path: path.Join(t.dir, p), Err: err}
	}
	return nil
}

func (t *tree) mkdir(p string) error {
	return t.change("mkdir", p, func(dir int, base string) error { return unix.Mkdirat(dir, base, 0o700) })
}

func (t *tree) symlink(p, target string) error {
	return t.change("symlink", p, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// chmod sets the mode of the file or directory p.
func (t *tree) chmod(p string, mode uint32) error {
	return t.change("chmod", p, func(dir int, base string) error { return chmodAt(dir, base, mode) })
}

// chmodAt opens the file to be sure it is no link. One that its owner may not
// even read is changed by name, after a look.
func chmodAt(dir int, base string, mode uint32) error {
	fd, err := openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		return errors.Join(unix.Fchmod(fd, mode), unix.Close(fd))
	}
	if err != unix.EACCES {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if k := statusOf(&st).kind; k != manifest.File && k != manifest.Dir {
		return errKind
	}
	return unix.Fchmodat(dir, base, mode, 0)
}

// remove removes whatever stands at p, and what is below it.
func (t *tree) remove(p string) error {
	dev, err := t.device()
	if err != nil {
		return err
	}
	return t.change("remove", p, func(dir int, base string) error { return removeAt(dir, base, dev) })
}

// wipe removes everything below the tree's own directory.
func (t *tree) wipe() error {
	if err := t.chmod(".", 0o755); err != nil {
		return err
	}
	names, err := t.names(".")
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := t.remove(n); err != nil {
			return err
		}
	}
	return nil
}

// device is the file system that the tree lies on.
func (t *tree) device() (uint64, error) {
	s, err := t.stat(".")
	return s.dev, err
}

// removeAt removes base in dir. A directory on another file system is a mount
// that somebody made, and is left with an error.
func removeAt(dir int, base string, dev uint64) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	s := statusOf(&st)
	if s.kind != manifest.Dir {
		return unix.Unlinkat(dir, base, 0)
	}
	if s.dev != dev {
		return fmt.Errorf("%s is a mount point: unmount it", base)
	}
	if err := chmodAt(dir, base, 0o700); err != nil {
		return err
	}
	fd, err := openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	names, err := namesAt(fd, ".")
	for k := 0; k < len(names) && err == nil; k++ {
		err = removeAt(fd, names[k], dev)
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
}

// syncFile makes the bytes of the plain file p survive a power cut.
func (t *tree) syncFile(p string) error {
	if err := t.seam.step("fsync", p); err != nil {
		return &os.PathError{Op: "fsync", Path: path.Join(t.dir, p), Err: err}
	}
	fd, _, err := t.open(p, unix.O_RDONLY)
	if err != nil {
		return err
	}
	err = errors.Join(again(func() error { return unix.Fsync(fd) }), unix.Close(fd))
	if err != nil {
		return &os.PathError{Op: "fsync", Path: path.Join(t.dir, p), Err: err}
	}
	return nil
}

// syncDir makes the names in the directory p survive a power cut.
func (t *tree) syncDir(p string) error {
	return t.change("fsyncdir", p, func(dir int, base string) error {
		fd, err := openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return errors.Join(again(func() error { return unix.Fsync(fd) }), unix.Close(fd))
	})
}

// syncAll makes the whole file system survive a power cut; it returns
// errors.ErrUnsupported where that cannot be asked for.
func (t *tree) syncAll() error {
	if err := t.seam.step("syncfs", "."); err != nil {
		return &os.PathError{Op: "syncfs", Path: t.dir, Err: err}
	}
	return syncFS(t.fd)
}
