//go:build linux && (amd64 || arm64)

package disk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/starling-swarm/starling/netsim/exact"
)

// WriteBack is after how long the kernel has written back by itself: pages expire
// after 30 s (vm.dirty_expire_centisecs), and are looked at every 5 s.
const WriteBack = 35 * time.Second

// Config says what disks a Set holds.
type Config struct {
	// Dir holds the directories that are disks. It is made if need be.
	Dir string
	// Forgets keeps account of what is not synced, so that Cut can forget it. Without,
	// Cut forgets nothing, and files cost less.
	Forgets bool
}

// A Set is all disks of a simulation. It may be used by several goroutines.
type Set struct {
	forgets bool
	base    place // the Set's directory
	lost    int   // descriptor of the directory where names go that can come back

	mu      sync.Mutex
	disks   map[string]*Disk // guarded by mu, like all below and what disks hold; by name below base
	handles []*handle        // by descriptor: of open files and directories on disks
	files   table[*file]     // open for writing, or not synced
	buried  int              // names given in lost
	look    place            // where something is, see diskOf
}

// A Disk is one machine's.
type Disk struct {
	set  *Set
	name string
	off  bool // the power is off
	life int  // counts cuts: a descriptor from before writes nothing any more

	dirty   []*file // not synced, in the order in which they became so
	names   []*change
	folders table[*folder] // those of names

	free int64 // bytes left; unlimited if full is nil
	full bool
	lie  *lie // nil if the disk is honest
}

// A handle is an open descriptor.
type handle struct {
	d       *Disk
	f       *file // nil for a directory
	dir     inode // of a directory
	appends bool
	life    int
}

// lostDir is where removed names wait, below the Set's own directory.
const lostDir = ".lost"

// New makes a Set without disks.
func New(c Config) (*Set, error) {
	lost := filepath.Join(c.Dir, lostDir)
	if err := os.MkdirAll(lost, 0o700); err != nil {
		return nil, err
	}
	s := &Set{forgets: c.Forgets, disks: map[string]*Disk{}}
	dir, errno := openAt(atCwd, c.Dir, pathOnly, 0)
	if errno != 0 {
		return nil, fmt.Errorf("open %s: %w", c.Dir, errno)
	}
	defer closeFD(dir)
	s.base.of(dir)
	if s.lost, errno = openAt(dir, lostDir, pathOnly, 0); errno != 0 {
		return nil, fmt.Errorf("open %s: %w", lost, errno)
	}
	return s, nil
}

// Available reports whether Hook works in this program.
func Available() bool { return exact.HasFiles() }

// Hook lets the Set answer this program's calls on files from now on. It returns
// exact.ErrPlain in a program that exact.Build has not made.
func (s *Set) Hook() error { return exact.HookFiles(s.answer, seen) }

// Add makes the directory of that name a disk. It need not exist yet.
func (s *Set) Add(name string) *Disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &Disk{set: s, name: name}
	s.disks[name] = d
	return d
}

// diskOf is the disk that what fd is open for lies on, or nil.
func (s *Set) diskOf(fd int) *Disk {
	s.look.of(fd)
	rest, ok := bytes.CutPrefix(s.look.path(), s.base.path())
	if !ok || len(rest) == 0 || rest[0] != '/' {
		return nil
	}
	name, _, _ := bytes.Cut(rest[1:], []byte{'/'})
	return s.disks[string(name)]
}

// handle is what a descriptor was opened for, or nil.
func (s *Set) handle(fd int) *handle {
	if fd < 0 || fd >= len(s.handles) {
		return nil
	}
	return s.handles[fd]
}

// follow sets what a descriptor is open for.
func (s *Set) follow(fd int, h *handle) {
	if n := fd + 1 - len(s.handles); n > 0 && h != nil {
		s.handles = append(s.handles, make([]*handle, n)...)
	}
	if fd < len(s.handles) {
		s.handles[fd] = h
	}
}

// dead reports whether what a handle belonged to has ended in a power cut.
func (h *handle) dead() bool { return h.d.off || h.life != h.d.life }
