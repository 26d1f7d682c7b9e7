package bundle

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// tarNames are how the names of tar files end. A file by another name is an image of
// one file, whatever is in it.
var tarNames = []string{".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.zst"}

// isTar reports whether the file is to be taken for the tree in it.
func isTar(name string, info fs.FileInfo) bool {
	return info.Mode().IsRegular() && slices.ContainsFunc(tarNames, func(end string) bool { return strings.HasSuffix(name, end) })
}

// IsArchive reports whether an image at path is not the file or directory itself but
// what is packed in it: a tar file, or an OCI image layout.
func IsArchive(path string) bool {
	path, _ = cutTag(path)
	return isArchive(path)
}

func isArchive(path string) bool {
	info, err := os.Stat(path)
	return err == nil && (isTar(path, info) || isLayout(path, info) || isCopy(path, info))
}

// cutTag parts DIR:TAG, as umoci and skopeo name an image of a layout, from a path that
// has a colon in it, or none.
func cutTag(path string) (file, tag string) {
	if _, err := os.Lstat(path); err == nil {
		return path, ""
	}
	for i := range path {
		if path[i] == ':' && i+1 < len(path) && isArchive(path[:i]) {
			return path[:i], path[i+1:]
		}
	}
	return path, ""
}

// An archive is the source of a tree that was packed. Nothing is unpacked: an
// uncompressed tar file is read where it lies, others from a file without a name
// in the system's temporary directory.
type archive struct {
	path   string // as the caller named it
	files  []*os.File
	before []fs.FileInfo      // of those files that have a name, nil for others
	parts  map[string]*packed // by path
}

// A packed is one name in an archive.
type packed struct {
	mode   fs.FileMode
	target string // of a link
	bytes  *io.SectionReader
}

func (p *packed) size() int64 {
	if p.bytes == nil {
		return 0
	}
	return p.bytes.Size()
}

func (a *archive) open(e *manifest.Entry) (io.ReadCloser, error) {
	b := a.parts[e.Path].bytes
	return io.NopCloser(io.NewSectionReader(b, 0, b.Size())), nil
}

func (a *archive) same() error {
	for i, f := range a.files {
		if a.before[i] == nil {
			continue
		}
		now, err := f.Stat()
		if err != nil {
			return fmt.Errorf("read image %s: %w", a.path, err)
		}
		if now.Size() != a.before[i].Size() || !now.ModTime().Equal(a.before[i].ModTime()) {
			return changedError(a.path, f.Name())
		}
	}
	return nil
}

func (a *archive) close() error {
	var errs []error
	for _, f := range a.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// openTar lists a tar file, or the layout in it.
func (t *tree) openTar(real string) error {
	a := &archive{path: t.path}
	t.from = a
	f, err := os.Open(real)
	if err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	body, err := a.plain(f)
	if err != nil {
		return fmt.Errorf("read image %s: %w", t.path, err)
	}
	l, err := readTar(body, nil)
	if err != nil {
		return fmt.Errorf("read image %s: %w", t.path, err)
	}
	if l.names[layoutFile] != nil && l.names[indexFile] != nil {
		return t.openLayers(a, func(name string) (*io.SectionReader, error) {
			if p := l.names[name]; p != nil && p.bytes != nil {
				return p.bytes, nil
			}
			return nil, fmt.Errorf("%s is not in it", name)
		})
	}
	if l.names["manifest.json"] != nil && l.names["repositories"] != nil {
		return fmt.Errorf("image %s is a container image in Docker's old form; convert it: skopeo copy docker-archive:%s oci:DIR", t.path, t.path)
	}
	if t.tag != "" {
		return fmt.Errorf("image %s: only an OCI image layout has tags, and it is none; leave out :%s", t.path, t.tag)
	}
	return t.fill(a, l.names)
}

// fill makes entries of all names, and of directories that only stand in them.
func (t *tree) fill(a *archive, names map[string]*packed) error {
	for p := range names {
		for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
			switch dir := names[p[:i]]; {
			case dir == nil:
				names[p[:i]] = &packed{mode: fs.ModeDir | 0o755}
			case !dir.mode.IsDir():
				return fmt.Errorf("image %s: %q is in %q, which is a %s there; pack the tree again from a directory", t.path, p, p[:i], kindName(dir.mode))
			}
		}
	}
	a.parts = names
	for _, p := range sortedPaths(names) {
		n := names[p]
		if err := t.add(p, n.mode, n.size(), n.target); err != nil {
			return err
		}
	}
	return nil
}

func sortedPaths(names map[string]*packed) []string {
	out := make([]string, 0, len(names))
	for p := range names {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// plain returns what f holds uncompressed, and takes f over.
func (a *archive) plain(f *os.File) (*io.SectionReader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a.files, a.before = append(a.files, f), append(a.before, info)
	return a.unpack(io.NewSectionReader(f, 0, info.Size()))
}

// unpack returns r, or if it is compressed, a spool of what it holds.
func (a *archive) unpack(r *io.SectionReader) (*io.SectionReader, error) {
	u, err := decompressor(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || u == nil {
		return r, err
	}
	defer u.Close() //nolint:errcheck // open for reading only
	f, err := os.CreateTemp("", "starling-image-*")
	if err != nil {
		return nil, err
	}
	a.files, a.before = append(a.files, f), append(a.before, nil)
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	n, err := io.Copy(f, u)
	var full *fs.PathError // of the copy, whose name says where it is
	if errors.As(err, &full) {
		return nil, fmt.Errorf("unpack it to %s (another place: TMPDIR): %w", os.TempDir(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("it is packed, and cut off or damaged (%w); copy or pack it again", err)
	}
	return io.NewSectionReader(f, 0, n), nil
}

// decompressor returns a reader of what r packs, or nil if it is not compressed.
func decompressor(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(8)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch kind := PackedAs(head); kind {
	case "":
		return nil, nil
	case "gzip":
		return gzip.NewReader(b)
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(b)), nil
	case "zstd":
		z, err := zstd.NewReader(b)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("it is compressed with %s, which is not read here; pack it with gzip or zstd, or unpack it", kind)
	}
}
