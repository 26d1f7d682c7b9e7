//go:build linux && (amd64 || arm64)

package disk

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a power cut may leave is exactly what some order of writing back leaves.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(x *sys) // from a disk that has f=old, synced
		want []string
	}{
		{"all synced", func(x *sys) {
			x.fill("g", "new", true)
			x.syncDir("")
		}, []string{"f=old g=new"}},
		{"contents not synced", func(x *sys) {
			x.fill("g", "new", false)
			x.syncDir("")
		}, []string{"f=old g=", "f=old g=new"}},
		{"a name not synced", func(x *sys) { x.fill("g", "new", true) }, []string{"f=old", "f=old g=new"}},
		{"appended", func(x *sys) {
			fd := x.open("f", unix.O_WRONLY|unix.O_APPEND)
			x.write(fd, "er")
			x.close(fd)
		}, []string{"f=old", "f=older"}},
		{"synced between", func(x *sys) {
			fd := x.open("f", unix.O_RDWR)
			x.write(fd, "A")
			x.must(unix.SYS_FDATASYNC, fd)
			x.write(fd, "B")
			x.close(fd)
		}, []string{"f=ABd", "f=Ald"}},
		{"synced through a reader", func(x *sys) {
			x.fill("f", "new", false)
			fd := x.open("f", unix.O_RDONLY)
			x.must(unix.SYS_FSYNC, fd)
			x.close(fd)
		}, []string{"f=new"}},
		{"emptied and written", func(x *sys) { x.fill("f", "n", false) }, []string{"f=n", "f=old"}},
		{"cut short", func(x *sys) {
			fd := x.open("f", unix.O_RDWR)
			x.must(unix.SYS_FTRUNCATE, fd, 1)
			x.close(fd)
		}, []string{"f=o", "f=old"}},
		{"replaced as it should be", func(x *sys) {
			x.fill("tmp", "new", true)
			x.rename("tmp", "f")
			x.syncDir("")
		}, []string{"f=new"}},
		{"replaced, the directory not synced", func(x *sys) {
			x.fill("tmp", "new", true)
			x.rename("tmp", "f")
		}, []string{"f=new", "f=old", "f=old tmp=new"}},
		{"replaced, the file not synced", func(x *sys) {
			x.fill("tmp", "new", false)
			x.rename("tmp", "f")
			x.syncDir("")
		}, []string{"f=", "f=new"}},
		{"removed", func(x *sys) { x.must(unix.SYS_UNLINKAT, atCwd, x.path("f"), 0) }, []string{"", "f=old"}},
		{"removed and synced", func(x *sys) {
			x.must(unix.SYS_UNLINKAT, atCwd, x.path("f"), 0)
			x.syncDir("")
		}, []string{""}},
		{"a directory with a file", func(x *sys) {
			x.must(unix.SYS_MKDIRAT, atCwd, x.path("d"), 0o700)
			x.fill("d/g", "new", true)
			x.syncDir("d")
		}, []string{"d/ d/g=new f=old", "f=old"}},
		{"moved between directories", func(x *sys) {
			x.must(unix.SYS_MKDIRAT, atCwd, x.path("d"), 0o700)
			x.syncDir("")
			x.rename("f", "d/f")
		}, []string{"d/ d/f=old", "d/ f=old"}},
		{"a link that is flipped", func(x *sys) {
			x.must(unix.SYS_SYMLINKAT, "A", atCwd, x.path("now"))
			x.syncDir("")
			x.must(unix.SYS_SYMLINKAT, "B", atCwd, x.path("next"))
			x.rename("next", "now")
		}, []string{"f=old next->B now->A", "f=old now->A", "f=old now->B"}},
		{"all synced at once", func(x *sys) {
			x.fill("g", "new", false)
			fd := x.open("", unix.O_RDONLY|unix.O_DIRECTORY)
			x.must(unix.SYS_SYNCFS, fd)
			x.close(fd)
		}, []string{"f=old g=new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[string]bool{}
			for seed := range 40 {
				x := newSys(t, true)
				x.fill("f", "old", true)
				x.syncDir("")
				c.do(x)
				x.disk.Cut(seeded(seed), false)
				seen[x.holds()] = true
			}
			require.Equal(t, c.want, slices.Sorted(maps.Keys(seen)))
		})
	}
}

// A torn cut leaves pages and sectors of before among those of after; what was synced
// is whole.
func TestTornCut(t *testing.T) {
	const pages = 6
	before, after := strings.Repeat("o", pages*page), strings.Repeat("n", pages*page)
	kinds := map[string]int{}
	for seed := range 60 {
		x := newSys(t, true)
		x.fill("f", before, true)
		x.fill("whole", before, true)
		fd := x.open("f", unix.O_RDWR)
		x.write(fd, after)
		x.close(fd)
		x.syncDir("")
		x.disk.Cut(seeded(seed), true)
		got, _, _ := strings.Cut(strings.TrimPrefix(x.holds(), "f="), " ")
		require.Len(t, got, len(before))
		require.Contains(t, x.holds(), "whole="+before)
		kind := "mixed"
		for s := range slices.Chunk([]byte(got), sector) {
			require.Equal(t, bytes.Repeat(s[:1], sector), s, "a sector is whole")
		}
		for p := range slices.Chunk([]byte(got), page) {
			if p[0] != p[page-1] {
				kind = "torn"
			}
		}
		if got == before || got == after {
			kind = got[:1]
		}
		kinds[kind]++
	}
	require.Greater(t, kinds["torn"], 10, "%v", kinds)
	require.Greater(t, kinds["o"], 5, "%v", kinds)
	require.Greater(t, kinds["n"], 5, "%v", kinds)
}

func TestEqualSeedsForgetAlike(t *testing.T) {
	run := func() string {
		x := newSys(t, true)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			x.fill(name, strings.Repeat(name, 3*page), false)
		}
		l := x.disk.Cut(seeded(7), true)
		require.NotZero(t, l.Files+l.Names)
		return l.String() + x.holds()
	}
	require.Equal(t, run(), run())
}

// A process that the cut has killed writes nothing any more, also after the next start.
func TestTheDeadDoNotWrite(t *testing.T) {
	x := newSys(t, true)
	fd := x.open("f", unix.O_RDWR|unix.O_CREAT)
	dir := x.open("", unix.O_RDONLY|unix.O_DIRECTORY)
	x.write(fd, "one")
	x.must(unix.SYS_SYNCFS, dir)
	x.disk.Cut(seeded(1), false)
	dead := func() {
		for _, c := range [][]any{
			{unix.SYS_WRITE, fd, []byte("x"), 1}, {unix.SYS_FTRUNCATE, fd, 0}, {unix.SYS_FSYNC, fd}, {unix.SYS_FSYNC, dir}, {unix.SYS_SYNCFS, dir},
		} {
			_, e := x.try(uintptr(c[0].(int)), c[1:]...)
			require.Equal(t, unix.EIO, e, "%v", c)
		}
	}
	dead()
	for _, c := range [][]any{
		{unix.SYS_OPENAT, atCwd, x.path("f"), unix.O_WRONLY, 0}, {unix.SYS_OPENAT, atCwd, x.path("g"), unix.O_WRONLY | unix.O_CREAT, 0},
		{unix.SYS_MKDIRAT, atCwd, x.path("d"), 0}, {unix.SYS_UNLINKAT, atCwd, x.path("f"), 0},
		{unix.SYS_RENAMEAT, atCwd, x.path("f"), atCwd, x.path("g")}, {unix.SYS_SYMLINKAT, "f", atCwd, x.path("l")},
	} {
		_, e := x.try(uintptr(c[0].(int)), c[1:]...)
		require.Equal(t, unix.EIO, e, "%v", c)
	}
	x.disk.PowerOn()
	dead()
	x.fill("f", "two", true)
	require.Equal(t, "f=two", x.holds())
}

func TestAnOrderlyEndForgetsNothing(t *testing.T) {
	x := newSys(t, true)
	x.fill("f", "new", false)
	x.disk.PowerOff()
	require.Equal(t, Loss{}, x.disk.Cut(seeded(1), true))
	require.Equal(t, "f=new", x.holds())
}

// What is old the kernel has written back.
func TestWriteBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSys(t, true)
		x.fill("f", "new", false)
		time.Sleep(WriteBack + time.Second)
		x.fill("g", "new", false)
		l := x.disk.Cut(seeded(3), false)
		require.Equal(t, 2, l.Files+l.Names+l.Whole, "the contents and the name of g")
		require.Contains(t, x.holds(), "f=new")
	})
}

// A Set that was not told to remember costs nothing and forgets nothing.
func TestForgetsNothingUnlessTold(t *testing.T) {
	x := newSys(t, false)
	x.fill("f", "new", false)
	x.rename("f", "g")
	require.Equal(t, Loss{}, x.disk.Cut(seeded(1), true))
	require.Equal(t, "g=new", x.holds())
}
