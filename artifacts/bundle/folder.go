package bundle

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A folder is the source of a tree that is a directory, or one file.
type folder struct {
	path string // as the caller named it
	root *os.Root
	only string // name of the file under root, if the tree is one file
	seen map[string]fs.FileInfo
}

// openFolder lists the directory or file real, which is what t.path leads to.
func (t *tree) openFolder(real string, info fs.FileInfo) error {
	f := &folder{path: t.path, seen: map[string]fs.FileInfo{}}
	dir := real
	if !info.IsDir() {
		dir, f.only = filepath.Dir(real), filepath.Base(real)
	}
	var err error
	if f.root, err = os.OpenRoot(dir); err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	t.from = f
	if f.only != "" {
		f.seen[filepath.Base(t.path)] = info
		return t.add(filepath.Base(t.path), info.Mode(), info.Size(), "")
	}
	return fs.WalkDir(f.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if p == "." && err == nil {
			return nil
		}
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		raw := ""
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			raw, err = f.root.Readlink(p)
		}
		if err != nil {
			return fmt.Errorf("read image: %s: %w", filepath.Join(t.path, p), err)
		}
		if info.Mode().IsRegular() {
			f.seen[p] = info
		}
		return t.add(p, info.Mode(), info.Size(), raw)
	})
}

func (f *folder) close() error { return f.root.Close() }

// name is what the entry with this path is called under root.
func (f *folder) name(path string) string {
	if f.only != "" {
		return f.only
	}
	return filepath.FromSlash(path)
}

func (f *folder) open(e *manifest.Entry) (io.ReadCloser, error) {
	file, err := f.root.OpenFile(f.name(e.Path), os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", f.path, err)
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != int64(e.Bytes)) {
		err = changedError(f.path, e.Path)
	}
	if err != nil {
		file.Close() // open for reading only
		return nil, fmt.Errorf("read image: %w", err)
	}
	return file, nil
}

// same compares lengths, times and identities of all files. It cannot see a change
// within the clock tick of the file system in which the file was listed.
func (f *folder) same() error {
	for p, was := range f.seen {
		now, err := f.root.Lstat(f.name(p))
		if err != nil {
			return fmt.Errorf("%w (%v)", changedError(f.path, p), err)
		}
		if now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) || !os.SameFile(now, was) {
			return changedError(f.path, p)
		}
	}
	return nil
}
