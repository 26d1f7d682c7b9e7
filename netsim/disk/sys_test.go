//go:build linux && (amd64 || arm64)

package disk

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sys makes the calls of a program on the disk "a", as the hook would hand them over.
type sys struct {
	t    *testing.T
	set  *Set
	disk *Disk
	dir  string // of the disk
}

func newSys(t *testing.T, forgets bool) *sys {
	dir := t.TempDir()
	set, err := New(Config{Dir: dir, Forgets: forgets})
	require.NoError(t, err)
	x := &sys{t, set, set.Add("a"), filepath.Join(dir, "a")}
	require.NoError(t, os.Mkdir(x.dir, 0o700))
	t.Cleanup(func() {
		x.disk.PowerOff()
		for fd, h := range x.set.handles {
			if h == nil {
				continue
			}
			x.try(unix.SYS_CLOSE, fd)
		}
		require.Empty(t, x.set.files, "every file is let go")
		require.Empty(t, x.disk.folders)
		closeFD(set.lost)
	})
	return x
}

// try makes a call; arguments are numbers, strings, and pointers.
func (x *sys) try(trap uintptr, args ...any) (int, syscall.Errno) {
	var a [6]uintptr
	var ptr [3]unsafe.Pointer
	n := 0
	for i, arg := range args {
		switch v := arg.(type) {
		case int:
			a[i] = uintptr(v)
			continue
		case string:
			ptr[n] = unsafe.Pointer(cstring(v))
		case []byte:
			ptr[n] = unsafe.Pointer(unsafe.SliceData(v))
		case unsafe.Pointer:
			ptr[n] = v
		}
		a[i] = uintptr(ptr[n])
		n++
	}
	r, e, done := x.set.answer(trap, a[0], a[1], a[2], a[3], a[4], a[5], ptr[0], ptr[1])
	if !done {
		r1, _, errno := syscall.RawSyscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5])
		r, e = r1, uintptr(errno)
	}
	runtime.KeepAlive(args)
	runtime.KeepAlive(&ptr)
	return int(r), syscall.Errno(e)
}

func (x *sys) must(trap uintptr, args ...any) int {
	x.t.Helper()
	n, e := x.try(trap, args...)
	require.Zero(x.t, e, "%v %v", trap, args)
	return n
}

func (x *sys) path(name string) string { return filepath.Join(x.dir, name) }

func (x *sys) open(name string, flags int) int {
	x.t.Helper()
	return x.must(unix.SYS_OPENAT, atCwd, x.path(name), flags|unix.O_CLOEXEC, 0o600)
}

func (x *sys) write(fd int, data string) {
	x.t.Helper()
	require.Equal(x.t, len(data), x.must(unix.SYS_WRITE, fd, []byte(data), len(data)))
}

func (x *sys) close(fd int) { x.must(unix.SYS_CLOSE, fd) }

// fill makes a file hold data, and syncs it if told so.
func (x *sys) fill(name, data string, sync bool) {
	x.t.Helper()
	fd := x.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	x.write(fd, data)
	if sync {
		x.must(unix.SYS_FSYNC, fd)
	}
	x.close(fd)
}

func (x *sys) syncDir(name string) {
	fd := x.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	x.must(unix.SYS_FSYNC, fd)
	x.close(fd)
}

func (x *sys) rename(old, name string) {
	x.must(unix.SYS_RENAMEAT, atCwd, x.path(old), atCwd, x.path(name))
}

// holds is what the disk holds: names and contents, in order.
func (x *sys) holds() string {
	var all []string
	require.NoError(x.t, filepath.WalkDir(x.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == x.dir {
			return err
		}
		name, _ := filepath.Rel(x.dir, path)
		switch {
		case e.IsDir():
			name += "/"
		case e.Type() == os.ModeSymlink:
			target, _ := os.Readlink(path)
			name += "->" + target
		default:
			data, err := os.ReadFile(path)
			require.NoError(x.t, err)
			name += "=" + string(data)
		}
		all = append(all, name)
		return nil
	}))
	return strings.Join(all, " ")
}

func seeded(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }
