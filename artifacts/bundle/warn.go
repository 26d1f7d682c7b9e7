package bundle

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// MaxWarnings bounds what Warnings returns: beyond it, the list is of no use.
const MaxWarnings = 50

// packedMagic is how compressed files start.
var packedMagic = []struct{ name, magic string }{
	{"gzip", "\x1f\x8b"}, {"xz", "\xfd7zXZ\x00"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"bzip2", "BZh"}, {"zip", "PK\x03\x04"},
}

// A warner gathers warnings, at most MaxWarnings.
type warner struct {
	out  []string
	more int
}

func (w *warner) warn(p, format string, args ...any) {
	if len(w.out) == MaxWarnings {
		w.more++
		return
	}
	w.out = append(w.out, p+": "+fmt.Sprintf(format, args...))
}

func (w *warner) all() []string {
	if w.more > 0 {
		return append(w.out, fmt.Sprintf("%d more warnings", w.more))
	}
	return w.out
}

// name warns of what shows in the name alone, and reports whether it did. shown is how
// people know p.
func (w *warner) name(shown, p string) bool {
	switch base := path.Base(filepath.ToSlash(p)); {
	case base == ".git":
		w.warn(shown, "the history of the source would go to every robot; build from an export, or leave it out")
	case base == ".env" || strings.HasPrefix(base, ".env."):
		w.warn(shown, "looks like settings with secrets, readable by whoever holds a robot; use the robot's own configuration")
	default:
		return false
	}
	return true
}

// file looks at the start of a file of so many bytes.
func (w *warner) file(shown string, size int64, r io.Reader) {
	head, err := io.ReadAll(io.LimitReader(r, 4<<10))
	if err != nil {
		return
	}
	if mayBeKey(shown) && bytes.Contains(head, []byte("PRIVATE KEY-----")) {
		w.warn(shown, "is a private key, readable by whoever holds a robot; give each robot its own")
	}
	// Below the size of a chunk a delta could not save anything anyway.
	if size < manifest.AverageChunkBytes {
		return
	}
	if name := PackedAs(head); name != "" {
		w.warn(shown, "is compressed (%s), so each change sends all of its %d bytes; ship it unpacked, chunks are compressed on the way", name, size)
	}
}

// Warnings returns sentences about what is in the tree or file at path and
// probably should not be: .git, .env, private keys, and compressed files, which
// make every update a full download. None of it stops a build. What cannot be
// read is passed over: BuildImage says why. Look does the same for archives.
func Warnings(path string) []string {
	var w warner
	// The callback returns no error but SkipDir, which WalkDir keeps to itself.
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case w.name(p, p):
			if d.IsDir() {
				return fs.SkipDir
			}
		case p == path || d.Type().IsRegular():
			w.path(p)
		}
		return nil
	})
	return w.all()
}

// path looks into the file at p.
func (w *warner) path(p string) {
	info, err := os.Stat(p)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := os.Open(p)
	if err != nil {
		return
	}
	defer f.Close()
	w.file(p, info.Size(), f)
}

// PackedAs names the compression of a file that starts with head, or is empty.
func PackedAs(head []byte) string {
	for _, m := range packedMagic {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.name
		}
	}
	return ""
}

// mayBeKey goes by the name: looking for keys in every file would find examples.
func mayBeKey(p string) bool {
	name := strings.ToLower(path.Base(filepath.ToSlash(p)))
	return strings.HasSuffix(name, ".pem") || strings.Contains(name, "key") || strings.HasPrefix(name, "id_")
}

// A Found is what an archive holds.
type Found struct {
	Entries  []manifest.Entry // sorted by path
	Warnings []string         // as those of Warnings, and what the image does not keep
}

// Look lists what is in an archive (see IsArchive), and what is odd there. platform is
// as in VariantSpec.Match. Errors are those of Build.
func Look(path, platform string) (*Found, error) {
	t, err := openTree(path, platform)
	if err != nil {
		return nil, err
	}
	defer t.close() //nolint:errcheck // open for reading only
	w := warner{}
	git := ""
	for i := range t.entries {
		e := &t.entries[i]
		shown := path + ":" + e.Path
		if git != "" && strings.HasPrefix(e.Path, git) {
			continue
		}
		switch {
		case w.name(shown, e.Path):
			if e.Kind == manifest.Dir {
				git = e.Path + "/"
			}
		case e.Kind == manifest.File && e.Bytes > 0:
			f, err := t.from.open(e)
			if err != nil {
				return nil, err
			}
			w.file(shown, int64(e.Bytes), f)
			if err := f.Close(); err != nil {
				return nil, err
			}
		}
	}
	return &Found{Entries: t.entries, Warnings: append(t.notes, w.all()...)}, nil
}
