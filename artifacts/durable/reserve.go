package durable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// partBytes is how much of a reserve is given up at a time: more than most files
// written here have, so that one part is enough, and little enough that whoever
// filled the disk cannot take all of it at once.
const partBytes = 64 << 10

// A Reserve is a file that holds space on a disk for files that must be writable when
// it is full: what the robot's next start depends on, and the stop. Whoever writes one
// of them below the reserve's directory does so through Retry or WriteVital, and need
// not know the reserve. All other files do without, for they would use it up. It may be used by several goroutines.
type Reserve struct {
	dir   string // absolute
	bytes int64

	mu   sync.Mutex // guards left, and the file's length
	left int64
}

// reserves are those in use in this process, by directory.
var reserves = struct {
	sync.Mutex
	in map[string]*Reserve
}{in: map[string]*Reserve{}}

// Keep takes up the reserve of dir, the file "reserve" in it, of so many bytes when it
// is full. It is as full as it was left; Refill fills it. There is one for a
// directory; Close ends its use and leaves the file.
func Keep(dir string, bytes int64) (*Reserve, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r := &Reserve{dir: dir, bytes: bytes}
	st, err := os.Stat(r.path())
	switch {
	case err == nil:
		r.left = min(st.Size(), bytes)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	reserves.Lock()
	defer reserves.Unlock()
	if reserves.in[dir] != nil {
		return nil, fmt.Errorf("durable: %s has a reserve already", dir)
	}
	reserves.in[dir] = r
	return r, nil
}

func (r *Reserve) path() string { return filepath.Join(r.dir, "reserve") }

// Close ends the use of the reserve.
func (r *Reserve) Close() {
	reserves.Lock()
	defer reserves.Unlock()
	if reserves.in[r.dir] == r {
		delete(reserves.in, r.dir)
	}
}

// Left is how many bytes are reserved now.
func (r *Reserve) Left() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// Refill makes the reserve full again. The caller has made sure that there is more
// space than that: the reserve must not be what fills the disk.
func (r *Reserve) Refill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left >= r.bytes {
		return nil
	}
	f, err := os.OpenFile(r.path(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// Random bytes, for some file systems give zeros no space.
	part := make([]byte, partBytes)
	for at := r.left; at < r.bytes && err == nil; at += partBytes {
		for i := 0; i < len(part); i += 8 {
			binary.LittleEndian.PutUint64(part[i:], rand.Uint64())
		}
		_, err = f.WriteAt(part[:min(partBytes, r.bytes-at)], at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(r.left), f.Close())
	}
	r.left = r.bytes
	return f.Close()
}

// yield gives up a part, and reports whether there was one.
func (r *Reserve) yield() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 {
		return false
	}
	left := max(r.left-partBytes, 0)
	f, err := os.OpenFile(r.path(), os.O_WRONLY, 0)
	if err != nil {
		r.left = 0 // somebody took it away: it holds nothing
		return errors.Is(err, fs.ErrNotExist)
	}
	if err := errors.Join(f.Truncate(left), f.Sync(), f.Close()); err != nil {
		return false
	}
	r.left = left
	return true
}

// Retry runs write, which writes the file at path, and runs it again as long as the
// disk is full and a reserve of a directory above path has something to give up for it.
func Retry(path string, write func() error) error {
	for {
		err := write()
		if !full(err) {
			return err
		}
		r := above(path)
		if r == nil || !r.yield() {
			return err
		}
	}
}

// full reports whether an error says that there is no space, or none for this user.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// above is the reserve of the nearest directory above path that has one, or nil.
func above(path string) *Reserve {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	reserves.Lock()
	defer reserves.Unlock()
	var best *Reserve
	for dir, r := range reserves.in {
		if strings.HasPrefix(path, dir+string(filepath.Separator)) && (best == nil || len(dir) > len(best.dir)) {
			best = r
		}
	}
	return best
}
