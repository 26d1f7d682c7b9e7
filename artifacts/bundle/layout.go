package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// The files of an OCI image layout (image-spec, image-layout.md).
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
)

// isLayout reports whether a directory is an OCI image layout.
func isLayout(dir string, info fs.FileInfo) bool {
	if !info.IsDir() {
		return false
	}
	for _, name := range []string{layoutFile, indexFile} {
		if i, err := os.Lstat(filepath.Join(dir, name)); err != nil || !i.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// isCopy reports whether a directory is how skopeo leaves a container image there with
// dir:, in a form of its own.
func isCopy(dir string, info fs.FileInfo) bool {
	if !info.IsDir() {
		return false
	}
	if i, err := os.Lstat(filepath.Join(dir, "version")); err != nil || !i.Mode().IsRegular() || i.Size() > 100 {
		return false
	}
	text, err := os.ReadFile(filepath.Join(dir, "version"))
	return err == nil && strings.HasPrefix(string(text), "Directory Transport Version:")
}

// A descriptor names a blob (image-spec, descriptor.md).
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	Platform  struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
	Annotations map[string]string `json:"annotations"`
}

// A document is an index, a manifest, or the config that a manifest names: the first has
// manifests, the second layers, the last says a platform.
type document struct {
	Manifests    []descriptor `json:"manifests"`
	Layers       []descriptor `json:"layers"`
	Config       descriptor   `json:"config"`
	OS           string       `json:"os"`
	Architecture string       `json:"architecture"`
}

// blobs opens a file of a layout.
type blobs func(name string) (*io.SectionReader, error)

// openLayout lists the image in a layout that is a directory.
func (t *tree) openLayout(real string) error {
	a := &archive{path: t.path}
	t.from = a
	root, err := os.OpenRoot(real)
	if err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	defer root.Close() //nolint:errcheck // open for reading only
	return t.openLayers(a, func(name string) (*io.SectionReader, error) {
		f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|openFlags, 0)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		a.files, a.before = append(a.files, f), append(a.before, info)
		return io.NewSectionReader(f, 0, info.Size()), nil
	})
}

// openLayers lists the image of a layout: its layers one over the other.
func (t *tree) openLayers(a *archive, open blobs) error {
	index, err := open(indexFile)
	if err != nil {
		return fmt.Errorf("image %s: %w", t.path, err)
	}
	d, err := (&choice{open: open, platform: t.platform, tag: t.tag}).pick(index)
	if err == nil && len(d.Layers) == 0 {
		err = errNoLayers
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", t.path, err)
	}
	names := map[string]*packed{}
	for i, desc := range d.Layers {
		blob, err := desc.open(open)
		if err == nil {
			blob, err = a.unpack(blob)
		}
		var l *layer
		if err == nil {
			l, err = readTar(blob, names)
		}
		if err != nil {
			return fmt.Errorf("image %s: layer %d of %d: %w", t.path, i+1, len(d.Layers), err)
		}
		l.over(names)
	}
	t.contain(names)
	return t.fill(a, names)
}

// open verifies the blob and returns it.
func (d *descriptor) open(open blobs) (*io.SectionReader, error) {
	hex, ok := strings.CutPrefix(d.Digest, "sha256:")
	want, err := manifest.ParseDigest(hex)
	if !ok || err != nil {
		return nil, fmt.Errorf("blob %q: only sha256 digests are read here", d.Digest)
	}
	b, err := open(path.Join("blobs", "sha256", hex))
	if err != nil {
		return nil, fmt.Errorf("blob %s is not in the image (%v); copy the image again", want.Short(), err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(b, 0, b.Size())); err != nil {
		return nil, err
	}
	if manifest.Digest(h.Sum(nil)) != want || b.Size() != d.Size {
		return nil, fmt.Errorf("blob %s is damaged: %w; copy the image again", want.Short(), manifest.ErrDigest)
	}
	return b, nil
}

// contain fits the root directory of a container into an image: links to its
// root, or above it, lead there from where they stand, set-id bits are dropped, and devices,
// pipes and sockets left out, for whoever runs the container makes its own. notes
// says so.
func (t *tree) contain(names map[string]*packed) {
	var setID, special int
	for p, n := range names {
		switch {
		case n.mode.IsRegular() && n.mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
			c := *n // a hard link's other names share it
			c.mode &^= fs.ModeSetuid | fs.ModeSetgid
			names[p] = &c
			setID++
		case n.mode&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0:
			delete(names, p)
			special++
		case n.mode&fs.ModeSymlink != 0 && (path.IsAbs(n.target) || strings.HasPrefix(path.Join(path.Dir(p), n.target), "..")):
			c := *n
			c.target = relative(path.Dir(p), inside(path.Dir(p), n.target))
			names[p] = &c
		}
	}
	if setID > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s: the set-id bit of %d files is not kept: an image holds none; give the right by a systemd unit or a capability", t.path, setID))
	}
	if special > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s: %d devices, pipes or sockets are left out", t.path, special))
	}
}

// relative is the way from a directory to another path, both in the image.
func relative(dir, to string) string {
	if dir == "." {
		dir = ""
	}
	rel, err := filepath.Rel("/"+dir, "/"+to)
	if err != nil {
		return to // both are absolute: it cannot be
	}
	return filepath.ToSlash(rel)
}
