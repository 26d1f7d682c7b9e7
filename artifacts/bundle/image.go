package bundle

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A tree is a directory, or one file, that was listed and can be read.
type tree struct {
	path    string // as the caller named it
	root    *os.Root
	only    string // name of the file under root, if the tree is one file
	entries []manifest.Entry
	bytes   int64 // of all files
}

// openTree lists what is at p. Whatever an image cannot hold is an error that
// names it and says what to do.
func openTree(p string) (*tree, error) {
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	t := &tree{path: p}
	dir := real
	if !info.IsDir() {
		dir, t.only = filepath.Dir(real), filepath.Base(real)
	}
	if t.root, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if err := t.list(info); err != nil {
		t.root.Close()
		return nil, err
	}
	return t, nil
}

func (t *tree) close() error { return t.root.Close() }

// list fills entries, sorted by path.
func (t *tree) list(info fs.FileInfo) error {
	if t.only != "" {
		return t.add(filepath.Base(t.path), info)
	}
	err := fs.WalkDir(t.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read image: %s: %w", filepath.Join(t.path, p), err)
		}
		if p == "." {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("read image: %s: %w", filepath.Join(t.path, p), err)
		}
		return t.add(p, info)
	})
	if err != nil {
		return err
	}
	if len(t.entries) == 0 {
		return fmt.Errorf("image %s is empty; name the directory that holds the build's output", t.path)
	}
	slices.SortFunc(t.entries, func(a, b manifest.Entry) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// add lists one name. Modes keep one fact, whether the owner may execute: the
// rest is the umask's and would differ between two checkouts of one source.
func (t *tree) add(p string, info fs.FileInfo) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("image %s: %q %s", t.path, p, fmt.Sprintf(format, args...))
	}
	if len(t.entries) == manifest.MaxEntries {
		return fmt.Errorf("image %s: more than %d names; pack the tree into fewer files", t.path, manifest.MaxEntries)
	}
	if len(p) > manifest.MaxPathBytes || !utf8.ValidString(p) || strings.ContainsAny(p, "\\\x00") {
		return refuse("cannot be the path of an entry: at most %d bytes of UTF-8 without backslash; rename it", manifest.MaxPathBytes)
	}
	e := manifest.Entry{Path: p}
	switch mode := info.Mode(); {
	case mode.IsRegular() && mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return refuse("is set-id, which an image cannot hold; clear it with chmod ug-s and give the right by a systemd unit or a capability")
	case mode.IsRegular():
		e.Kind, e.Mode, e.Bytes = manifest.File, 0o644, uint64(info.Size())
		if mode&0o100 != 0 {
			e.Mode = 0o755
		}
		t.bytes += info.Size()
	case mode.IsDir():
		e.Kind, e.Mode = manifest.Dir, 0o755
	case mode&fs.ModeSymlink != 0:
		target, err := t.target(p)
		if err != nil {
			return refuse("%v", err)
		}
		e.Kind, e.Target = manifest.Link, target
	default:
		return refuse("is a %s, which an image cannot hold; remove it, the payload can make it when it starts", kindName(mode))
	}
	t.entries = append(t.entries, e)
	return nil
}

// target reads the link at p and makes it clean. A clean target has ".." only at
// its start, where it climbs real directories, so that what it says is where it
// leads, through other links too.
func (t *tree) target(p string) (string, error) {
	raw, err := t.root.Readlink(p)
	if err != nil {
		return "", err
	}
	up := true
	for part := range strings.SplitSeq(raw, "/") {
		if part == ".." && !up {
			return "", fmt.Errorf("is a link to %q, which climbs out of another name; write it without .. after a name", raw)
		}
		up = up && (part == ".." || part == "." || part == "")
	}
	clean := path.Clean(raw)
	to := path.Join(path.Dir(p), clean)
	switch {
	case path.IsAbs(raw):
		return "", fmt.Errorf("is a link to %q, which leaves the image; make it relative (ln -sr), or copy what it points to (cp -L)", raw)
	case to == ".." || strings.HasPrefix(to, "../"):
		return "", fmt.Errorf("is a link to %q, which leaves the image; copy what it points to (cp -L)", raw)
	case len(clean) > manifest.MaxPathBytes || !utf8.ValidString(clean) || strings.Contains(clean, "\\"):
		return "", fmt.Errorf("is a link to %q, which cannot be in an image: at most %d bytes of UTF-8 without backslash", raw, manifest.MaxPathBytes)
	}
	return clean, nil
}

func kindName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// A stream reads the files of a tree, one after the other in the order of the
// entries. It fails if a file is no longer as long as it was listed.
type stream struct {
	ctx  context.Context // ends a long read; the stream lives no longer than the call that made it
	tree *tree
	next int // entry to open
	file *os.File
	left int64 // of file
}

func (t *tree) stream(ctx context.Context) *stream { return &stream{ctx: ctx, tree: t} }

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	if s.left == 0 {
		if err := s.advance(); err != nil {
			return 0, err
		}
	}
	n, err := s.file.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF {
		return n, s.changed()
	}
	return n, err
}

// advance opens the next file that holds bytes.
func (s *stream) advance() error {
	if err := s.close(); err != nil {
		return err
	}
	for ; s.next < len(s.tree.entries); s.next++ {
		if s.tree.entries[s.next].Bytes > 0 {
			break
		}
	}
	if s.next == len(s.tree.entries) {
		return io.EOF
	}
	e := s.tree.entries[s.next]
	s.next++
	name := e.Path
	if s.tree.only != "" {
		name = s.tree.only
	}
	f, err := s.tree.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|openFlags, 0)
	if err != nil {
		return fmt.Errorf("read image %s: %w", s.tree.path, err)
	}
	s.file, s.left = f, int64(e.Bytes)
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read image %s: %w", s.tree.path, err)
	}
	if !info.Mode().IsRegular() || info.Size() != s.left {
		return s.changed()
	}
	return nil
}

// changed is the error for a file that is not what was listed.
func (s *stream) changed() error {
	return changedError(s.tree.path, s.tree.entries[s.next-1].Path)
}

func changedError(tree, file string) error {
	return fmt.Errorf("image %s: %q changed while it was read; stop what writes there and build again", tree, file)
}

func (s *stream) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file, s.left = nil, 0
	return err
}
