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

// Warnings returns sentences about what is in the tree or file at path and
// probably should not be: .git, .env, private keys, and compressed files, which
// make every update a full download. None of it stops a build. What cannot be
// read is passed over: BuildImage says why.
func Warnings(path string) []string {
	var out []string
	more := 0
	warn := func(p, format string, args ...any) {
		if len(out) == MaxWarnings {
			more++
			return
		}
		out = append(out, fmt.Sprintf("%s: ", p)+fmt.Sprintf(format, args...))
	}
	// The callback returns no error but SkipDir, which WalkDir keeps to itself.
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case d.Name() == ".git":
			warn(p, "the history of the source would go to every robot; build from an export, or leave it out")
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Name() == ".env" || strings.HasPrefix(d.Name(), ".env."):
			warn(p, "looks like settings with secrets, readable by whoever holds a robot; use the robot's own configuration")
		case p == path || d.Type().IsRegular():
			warnFile(p, warn)
		}
		return nil
	})
	if more > 0 {
		out = append(out, fmt.Sprintf("%d more warnings", more))
	}
	return out
}

// warnFile looks into one file.
func warnFile(p string, warn func(p, format string, args ...any)) {
	info, err := os.Stat(p)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := os.Open(p)
	if err != nil {
		return
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return
	}
	if mayBeKey(p) && bytes.Contains(head, []byte("PRIVATE KEY-----")) {
		warn(p, "is a private key, readable by whoever holds a robot; give each robot its own")
	}
	// Below the size of a chunk a delta could not save anything anyway.
	if info.Size() < manifest.AverageChunkBytes {
		return
	}
	if name := PackedAs(head); name != "" {
		warn(p, "is compressed (%s), so each change sends all of its %d bytes; ship it unpacked, chunks are compressed on the way", name, info.Size())
	}
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
