//go:build linux && (amd64 || arm64)

package disk

import (
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A full disk gives what it has, then nothing, and takes back what is freed.
func TestFullDisk(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		x := newSys(t, forgets)
		x.fill("reserve", strings.Repeat("r", 4*page), true)
		x.fill("other", "o", true)
		x.disk.Fill(3*page + 100)
		left := func() int64 {
			n, _ := x.disk.Free()
			return n
		}

		fd := x.open("f", unix.O_RDWR|unix.O_CREAT)
		require.Equal(t, int64(2*page+100), left(), "a name takes a page")
		data := []byte(strings.Repeat("x", 3*page))
		require.Equal(t, 2*page, x.must(unix.SYS_WRITE, fd, data, len(data)), "as much as fits")
		_, e := x.try(unix.SYS_WRITE, fd, data, len(data))
		require.Equal(t, unix.ENOSPC, e)
		require.Equal(t, 10, x.must(unix.SYS_PWRITE64, fd, data, 10, page), "what has its space is written over")
		_, e = x.try(unix.SYS_OPENAT, atCwd, x.path("g"), unix.O_WRONLY|unix.O_CREAT, 0o600)
		require.Equal(t, unix.ENOSPC, e)
		_, e = x.try(unix.SYS_MKDIRAT, atCwd, x.path("d"), 0o700)
		require.Equal(t, unix.ENOSPC, e)
		_, e = x.try(unix.SYS_MKDIRAT, atCwd, x.path("f"), 0o700)
		require.Equal(t, unix.EEXIST, e)

		var st unix.Statfs_t
		x.must(unix.SYS_STATFS, x.path("f"), unsafe.Pointer(&st))
		require.Less(t, st.Bavail*uint64(st.Bsize), uint64(page))
		x.must(unix.SYS_FSTATFS, fd, unsafe.Pointer(&st))
		require.Less(t, st.Bavail*uint64(st.Bsize), uint64(page))

		reserve := x.open("reserve", unix.O_WRONLY)
		x.must(unix.SYS_FTRUNCATE, reserve, page)
		require.Equal(t, int64(3*page+100), left())
		x.fill("g", "x", true)
		require.Equal(t, int64(page+100), left())
		x.rename("g", "other")
		require.Equal(t, int64(3*page+100), left(), "what was replaced is free")
		x.must(unix.SYS_UNLINKAT, atCwd, x.path("f"), 0)
		require.Equal(t, int64(6*page+100), left())
		x.disk.Empty()
		x.fill("big", strings.Repeat("b", 20*page), true)
	}
}

// A lying disk says that all is well, and spoils what its rate says.
func TestLies(t *testing.T) {
	const n = 400
	for _, kind := range []string{Torn, Lost, Flipped} {
		x := newSys(t, false)
		x.disk.Lie(kind, 0.25, 5)
		fd := x.open("f", unix.O_RDWR|unix.O_CREAT)
		block := []byte(strings.Repeat("x", 3*sector))
		for range n {
			require.Equal(t, len(block), x.must(unix.SYS_WRITE, fd, block, len(block)))
		}
		spoilt, writes := x.disk.Honest()
		require.Equal(t, n, writes)
		require.InDelta(t, n/4, spoilt, 30)
		x.must(unix.SYS_WRITE, fd, block, len(block))
		x.close(fd)

		data := strings.TrimPrefix(x.holds(), "f=")
		require.Len(t, data, (n+1)*len(block), "the length is as it should be")
		bad := 0
		for i := range n + 1 {
			got := data[i*len(block) : (i+1)*len(block)]
			good := strings.Count(got, "x")
			if good == len(block) {
				continue
			}
			bad++
			switch kind {
			case Lost:
				require.Zero(t, good)
			case Flipped:
				require.Equal(t, len(block)-1, good)
			case Torn:
				require.Zero(t, good%sector)
				require.Equal(t, good, strings.IndexByte(got, 0))
			}
		}
		require.Equal(t, spoilt, bad)
		require.Equal(t, byte('x'), data[len(data)-1], "an honest disk writes all")
	}
}

// What would pass by unseen is refused, with the error after which programs go another way.
func TestRefused(t *testing.T) {
	x := newSys(t, true)
	fd := x.open("f", unix.O_RDWR|unix.O_CREAT)
	for want, c := range map[syscall.Errno][][]any{
		unix.EINVAL:     {{unix.SYS_COPY_FILE_RANGE, fd, nil, fd, nil, 1, 0}, {unix.SYS_SENDFILE, fd, fd, nil, 1}},
		unix.EOPNOTSUPP: {{unix.SYS_FALLOCATE, fd, 0, 0, 1}, {unix.SYS_OPENAT, atCwd, x.dir, unix.O_TMPFILE | unix.O_RDWR, 0}},
		unix.ENOSYS:     {{unix.SYS_TRUNCATE, x.path("f"), 0}, {unix.SYS_WRITEV, fd, nil, 0}},
		unix.ENODEV:     {{unix.SYS_MMAP, 0, page, unix.PROT_WRITE, unix.MAP_SHARED, fd, 0}},
		unix.EXDEV:      {{unix.SYS_RENAMEAT, atCwd, x.path("f"), atCwd, x.path("../f")}},
	} {
		for _, c := range c {
			_, e := x.try(uintptr(c[0].(int)), c[1:]...)
			require.Equal(t, want, e, "%v", c)
		}
	}
}

// A descriptor that was copied is the same file, until both are closed.
func TestCopiedDescriptors(t *testing.T) {
	x := newSys(t, true)
	fd := x.open("f", unix.O_RDWR|unix.O_CREAT)
	two := x.must(unix.SYS_DUP, fd)
	x.close(fd)
	x.write(two, "x")
	require.Len(t, x.disk.dirty, 1)
	x.must(unix.SYS_FSYNC, two)
	require.Empty(t, x.disk.dirty)
	require.Len(t, x.set.files, 1)
	x.close(two)
	require.Empty(t, x.set.files)
}
