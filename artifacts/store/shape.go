package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	writeBits = 0o222
	// ownerFile and ownerDir are what the owner needs while an image is
	// written.
	ownerFile, ownerDir = 0o600, 0o700
)

// sealedMode is the mode of an entry in a sealed image: as listed, without
// write bits, and readable to its owner, or it could not be served.
func sealedMode(e *manifest.Entry) uint32 {
	if e.Kind == manifest.Dir {
		return uint32(e.Mode)&^writeBits | 0o500
	}
	return uint32(e.Mode)&^writeBits | 0o400
}

// prepare gives the tree its directories and files, the files at their full
// lengths though sparse, all writable. Links and strays are left to Seal.
func (i *Image) prepare() error {
	i.shaping <- struct{}{}
	defer func() { <-i.shaping }()
	if err := i.t.chmod(".", 0o755); err != nil {
		return err
	}
	for e := range i.m.Entries {
		if i.m.Entries[e].Kind == manifest.Link {
			continue
		}
		if err := i.ensure(e); err != nil {
			return err
		}
	}
	return nil
}

// inspect returns the chunks that lie in files which ensure would make or
// resize.
func (i *Image) inspect() (lost manifest.Bitmap) {
	for e := range i.m.Entries {
		if i.m.Entries[e].Bytes == 0 || i.stands(e) {
			continue
		}
		for n, end := i.chunksOf(e); n < end; n++ {
			lost = lost.With(n)
		}
	}
	return lost
}

// stands reports whether ensure would keep the bytes of the file entry e.
func (i *Image) stands(e int) bool {
	s, err := i.t.stat(i.m.Entries[e].Path)
	return err == nil && s.kind == manifest.File && s.links == 1 && s.size == int64(i.m.Entries[e].Bytes)
}

// restore puts right the file entry e and the directories above it while the
// image is in use. Chunks in it are no longer held if it had to be made anew.
func (i *Image) restore(e int) error {
	i.shaping <- struct{}{}
	defer func() { <-i.shaping }()
	if err := i.t.chmod(".", 0o755); err != nil {
		return err
	}
	p := i.m.Entries[e].Path
	for k := range p {
		if p[k] != '/' {
			continue
		}
		if err := i.ensure(i.find(p[:k])); err != nil {
			return err
		}
	}
	if !i.stands(e) && i.loseEntry(e) {
		if err := i.flush(); err != nil {
			return err
		}
	}
	return i.ensure(e)
}

// loseEntry drops the chunks that lie in the file entry e, and reports whether
// there were any.
func (i *Image) loseEntry(e int) (any bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, end := i.chunksOf(e); n < end; n++ {
		any = i.ledger.drop(n) || any
	}
	if any {
		i.unsaved, i.sealed = true, false
	}
	return any
}

// ensure makes entry e what the manifest says, and writable, provided the
// directories above it are right. Whatever else stands there is removed. The
// caller holds the shaping token.
func (i *Image) ensure(e int) error {
	entry := &i.m.Entries[e]
	s, err := i.t.stat(entry.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		right, err := i.fits(entry, s)
		if err != nil {
			return err
		}
		if right {
			return i.adjust(entry, s)
		}
		if err := i.t.remove(entry.Path); err != nil {
			return err
		}
	}
	i.mu.Lock()
	i.reshaped = true
	i.mu.Unlock()
	switch entry.Kind {
	case manifest.Dir:
		return i.t.mkdir(entry.Path)
	case manifest.Link:
		return i.t.symlink(entry.Path, entry.Target)
	}
	return i.t.create(entry.Path, int64(entry.Bytes))
}

// fits reports whether what stands at entry's path can stay. A file with a
// second name cannot: that name may lie outside the tree.
func (i *Image) fits(entry *manifest.Entry, s status) (bool, error) {
	if s.kind != entry.Kind {
		return false, nil
	}
	switch s.kind {
	case manifest.Link:
		target, err := i.t.readlink(entry.Path)
		return target == entry.Target, err
	case manifest.File:
		return s.links == 1, nil
	}
	return true, nil
}

// adjust gives an entry of the right kind its length and its owner's permissions.
func (i *Image) adjust(entry *manifest.Entry, s status) error {
	var need uint32
	switch entry.Kind {
	case manifest.File:
		need = ownerFile
	case manifest.Dir:
		need = ownerDir
	}
	if s.mode&need != need {
		if err := i.t.chmod(entry.Path, s.mode&0o777|need); err != nil {
			return err
		}
	}
	if entry.Kind == manifest.File && s.size != int64(entry.Bytes) {
		return i.t.resize(entry.Path, int64(entry.Bytes))
	}
	return nil
}

// complete makes every entry, links too, and removes what the manifest does not
// list. The caller holds the shaping token.
func (i *Image) complete() error {
	if err := i.t.chmod(".", 0o755); err != nil {
		return err
	}
	for e := range i.m.Entries {
		if err := i.ensure(e); err != nil {
			return err
		}
	}
	return i.strays(func(p string) error {
		i.log.Warn("stray file removed", "path", p)
		return i.t.remove(p)
	})
}

// strays calls f for each name in the tree's directories that the manifest does
// not list.
func (b *body) strays(f func(p string) error) error {
	check := func(dir string) error {
		names, err := b.t.names(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if p := path.Join(dir, name); b.find(p) < 0 {
				if err := f(p); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for e := range b.m.Entries {
		if b.m.Entries[e].Kind == manifest.Dir {
			if err := check(b.m.Entries[e].Path); err != nil {
				return err
			}
		}
	}
	return check(".")
}

// compareShape reports the first difference between the tree and the manifest
// in names, kinds, lengths, link targets, and modes modulo write bits.
func (b *body) compareShape() error {
	for e := range b.m.Entries {
		if err := b.compareEntry(&b.m.Entries[e]); err != nil {
			return err
		}
	}
	return b.strays(func(p string) error { return fmt.Errorf("%w: %q is not in the manifest", ErrDamaged, p) })
}

func (b *body) compareEntry(e *manifest.Entry) error {
	s, err := b.t.stat(e.Path)
	if err != nil {
		if passing(err) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s.kind != e.Kind {
		return fmt.Errorf("%w: %q is %s, the manifest lists %s", ErrDamaged, e.Path, kindName(s.kind), kindName(e.Kind))
	}
	switch e.Kind {
	case manifest.Link:
		if target, err := b.t.readlink(e.Path); err != nil || target != e.Target {
			return fmt.Errorf("%w: link %q leads to %q, the manifest says %q", ErrDamaged, e.Path, target, e.Target)
		}
		return nil
	case manifest.File:
		if s.size != int64(e.Bytes) {
			return fmt.Errorf("%w: %q has %d bytes, the manifest says %d", ErrDamaged, e.Path, s.size, e.Bytes)
		}
	}
	floor := sealedMode(&manifest.Entry{Kind: e.Kind})
	if got := s.mode&^writeBits | floor; got != sealedMode(e) {
		return fmt.Errorf("%w: %q has mode %#o, the manifest says %#o", ErrDamaged, e.Path, s.mode, e.Mode)
	}
	return nil
}

func kindName(k manifest.Kind) string {
	return [...]string{"a special file", "a file", "a directory", "a link"}[k&3]
}
