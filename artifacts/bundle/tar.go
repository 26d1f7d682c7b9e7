package bundle

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	// whiteout before a name in a layer takes the name away from the layers below;
	// opaque takes all in its directory (OCI image specification, "Whiteouts").
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// A layer is what one tar file says.
type layer struct {
	names map[string]*packed
	gone  []string // names, and all below them, that are taken from the layers below
	clear []string // directories of which all is taken from the layers below
}

// readTar lists the names in a tar file. With below, which is what lies under it, it
// is a layer of a container image: with whiteouts, hard links to what is below,
// and names that lie behind links.
func readTar(r *io.SectionReader, below map[string]*packed) (*layer, error) {
	l := &layer{names: map[string]*packed{}}
	at := io.NewSectionReader(r, 0, r.Size()) // a Seeker: contents are passed over
	end := int64(0)                           // of what was read
	for tr := tar.NewReader(at); ; {
		h, err := tr.Next()
		if err == io.EOF && below == nil {
			return l, ended(r, end)
		}
		if err == io.EOF { // of a layer the digest says whether it is whole
			return l, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is no whole tar file: %w", err)
		}
		offset, err := at.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		end = offset
		if h.Typeflag == tar.TypeXGlobalHeader { // git archive writes one
			continue
		}
		if h.Typeflag == tar.TypeReg { // others have a size at most, and no bytes
			end += h.Size
		}
		if err := l.add(h, io.NewSectionReader(r, offset, h.Size), below); err != nil {
			return nil, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// tarBlock is what all in a tar file is a multiple of, in bytes.
const tarBlock = 512

// ended looks for the block of zeros that ends a tar file whose last name ends at end:
// one that was cut off between two names has none, and is read without complaint.
func ended(r io.ReaderAt, end int64) error {
	var block [tarBlock]byte
	n, err := r.ReadAt(block[:], (end+tarBlock-1)/tarBlock*tarBlock)
	if err != nil && err != io.EOF {
		return err
	}
	if n < len(block) || block != [tarBlock]byte{} {
		return errors.New("it is no whole tar file: its end is missing; copy or pack it again")
	}
	return nil
}

// add takes in one name, whose bytes are body.
func (l *layer) add(h *tar.Header, body *io.SectionReader, below map[string]*packed) error {
	name, err := tarName(h.Name)
	if err != nil || name == "" {
		return err
	}
	if below != nil {
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		// What is taken away lies below, behind links that stand there: where the layer
		// puts a link in place of a directory, umoci names what was in it through the link.
		switch {
		case base == opaque:
			l.clear = append(l.clear, path.Join(".", resolve(dir, nil, below)))
			return nil
		case strings.HasPrefix(base, whiteout):
			l.gone = append(l.gone, path.Join(resolve(dir, nil, below), strings.TrimPrefix(base, whiteout)))
			return nil
		}
		name = path.Join(resolve(dir, l.names, below), base)
	}
	p := &packed{mode: h.FileInfo().Mode()}
	switch h.Typeflag {
	case tar.TypeReg:
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				return errors.New("it is stored sparse, which is not read here; pack it without --sparse")
			}
		}
		p.bytes = body
	case tar.TypeLink:
		to, err := tarName(h.Linkname)
		if err != nil {
			return err
		}
		old := l.names[to]
		if old == nil {
			old = below[to]
		}
		if old == nil || old.bytes == nil {
			return fmt.Errorf("it is a hard link to %q, and no such file stands before it", h.Linkname)
		}
		p = old
	case tar.TypeSymlink:
		p.target = h.Linkname
	case tar.TypeDir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
	default:
		return fmt.Errorf("it is of a kind that is not read here (%q)", h.Typeflag)
	}
	l.names[name] = p
	return nil
}

// tarName is a name in a tar file as a path in the image; empty is the image itself.
func tarName(name string) (string, error) {
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", errors.New("its name leads out of the image; pack it from within the directory (tar -C)")
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// maxLinks bounds the links on the way to a directory.
const maxLinks = 40

// resolve follows the links in the path of a directory, as they stand in the layer or
// below, within the image. What cannot be followed stays as it is.
func resolve(dir string, layer, below map[string]*packed) string {
	done, rest := "", dir
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := path.Join(done, part)
		p := layer[next]
		if p == nil {
			p = below[next]
		}
		if p == nil || p.mode&fs.ModeSymlink == 0 || links == maxLinks {
			done = next
			continue
		}
		links++
		rest = strings.Trim(path.Join(inside(done, p.target), rest), "/")
		done = ""
	}
	return done
}

// inside is where a link in the directory dir leads, in an image that is all there is:
// above it is nothing.
func inside(dir, target string) string {
	if path.IsAbs(target) {
		dir = ""
	}
	return strings.TrimPrefix(path.Clean("/"+path.Join(dir, target)), "/")
}

// over puts l over what is below it.
func (l *layer) over(below map[string]*packed) {
	drop := func(dir string, self bool) {
		if self {
			delete(below, dir)
		}
		for p := range below {
			if dir == "." || strings.HasPrefix(p, dir+"/") {
				delete(below, p)
			}
		}
	}
	for _, p := range l.gone {
		drop(p, true)
	}
	for _, p := range l.clear {
		drop(p, false)
	}
	for name, p := range l.names {
		if old := below[name]; old != nil && old.mode.IsDir() && !p.mode.IsDir() {
			drop(name, false)
		}
	}
	for name, p := range l.names {
		below[name] = p
	}
}
