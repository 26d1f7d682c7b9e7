package bundle

import (
	"context"
	"errors"
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

// A tree is what makes an image, listed and ready to be read.
type tree struct {
	path    string           // as the caller named it
	entries []manifest.Entry // sorted by path
	bytes   int64            // of all files
	from    source
	// platform is which image of an OCI layout is wanted, "linux/arm64"; empty is the
	// only one.
	platform string
	tag      string   // under which it is listed there; empty is any
	notes    []string // what the image does not keep of what it is made of
}

// A source holds the bytes of a tree's files.
type source interface {
	// open opens a file of the tree, which must still have the listed length.
	open(e *manifest.Entry) (io.ReadCloser, error)
	// same returns an error that names a file which changed since it was listed.
	same() error
	close() error
}

// openTree lists what is at p: a directory, a file, or an archive of a tree, which is
// taken for what it holds: a tar file (name ending in .tar, .tar.gz, .tgz,
// .tar.bz2 or .tar.zst), or an OCI image layout as a directory or a tar file, whose
// image for the platform is taken, of several that one with the tag after p and a colon.
func openTree(p, platform string) (*tree, error) {
	p, tag := cutTag(p)
	return openOf(p, func(t *tree, real string, info fs.FileInfo) error {
		t.platform, t.tag = platform, tag
		switch {
		case isLayout(real, info):
			return t.openLayout(real)
		case isTar(real, info):
			return t.openTar(real)
		case isCopy(real, info):
			return fmt.Errorf("image %s is a container image in a form of skopeo's own; convert it: skopeo copy dir:%s oci:DIR", t.path, t.path)
		}
		return t.openFolder(real, info)
	})
}

// openOf lists what is at p by the function list, which sets from and adds entries; it
// is told where links lead and what is there. Whatever an image cannot hold is an
// error that names it and says what to do.
func openOf(p string, list func(t *tree, real string, info fs.FileInfo) error) (*tree, error) {
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	t := &tree{path: p}
	err = list(t, real, info)
	if err == nil && len(t.entries) == 0 {
		err = fmt.Errorf("image %s is empty; name the directory that holds the build's output", t.path)
	}
	if err != nil {
		if t.from != nil {
			err = errors.Join(err, t.close())
		}
		return nil, err
	}
	slices.SortFunc(t.entries, func(a, b manifest.Entry) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

func (t *tree) close() error { return t.from.close() }

// add lists one name. Modes keep one fact, whether the owner may execute: the
// rest is the umask's and would differ between two checkouts of one source.
// raw is where a link points.
func (t *tree) add(p string, mode fs.FileMode, size int64, raw string) error {
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
	switch {
	case mode.IsRegular() && mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return refuse("is set-id, which an image cannot hold; clear it with chmod ug-s and give the right by a systemd unit or a capability")
	case mode.IsRegular():
		e.Kind, e.Mode, e.Bytes = manifest.File, 0o644, uint64(size)
		if mode&0o100 != 0 {
			e.Mode = 0o755
		}
		t.bytes += size
	case mode.IsDir():
		e.Kind, e.Mode = manifest.Dir, 0o755
	case mode&fs.ModeSymlink != 0:
		target, err := cleanTarget(p, raw)
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

// cleanTarget makes the target of the link at p clean: ".." only at its start, where
// it climbs real directories, so that what it says is where it leads, through other
// links too.
func cleanTarget(p, raw string) (string, error) {
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
	case mode.IsRegular():
		return "file"
	case mode&fs.ModeSymlink != 0:
		return "link"
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
	file io.ReadCloser
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
		if err = nil; s.left > 0 {
			err = changedError(s.tree.path, s.tree.entries[s.next-1].Path)
		}
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
	e := &s.tree.entries[s.next]
	s.next++
	f, err := s.tree.from.open(e)
	if err != nil {
		return err
	}
	s.file, s.left = f, int64(e.Bytes)
	return nil
}

// changedError is for a file that is not what was listed.
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
