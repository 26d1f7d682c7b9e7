package store

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// Seal makes a complete image ready to run: it makes empty files and links,
// removes what the manifest does not list, sets the modes without write bits,
// syncs everything, and then reads the image back from the disk and
// hashes it. It returns ErrIncomplete while chunks are missing, and ErrDamaged if
// the read found wrong bytes: those chunks are no longer held, so fetch them and
// call Seal again. Of an image that is sealed already only names, kinds, lengths,
// links and modes are compared; if they are right, Seal returns nil at once.
func (i *Image) Seal(ctx context.Context) error {
	if err := i.enter(); err != nil {
		return err
	}
	defer i.leave()
	if i.readOnly {
		return ErrReadOnly
	}
	if i.Sealed() && i.compareShape() == nil {
		return nil
	}
	if chunks, bytes := i.Missing(); chunks > 0 {
		return fmt.Errorf("%w: %d chunks of %d bytes are missing", ErrIncomplete, chunks, bytes)
	}
	i.shaping <- struct{}{}
	defer func() { <-i.shaping }()
	if err := i.settle(ctx); err != nil {
		return full(fmt.Errorf("seal image: %w", err))
	}
	if err := i.flushAs(true); err != nil {
		return fmt.Errorf("seal image: %w", err)
	}
	if !i.Sealed() {
		return fmt.Errorf("seal image: %w: a chunk was found damaged meanwhile: fetch it again", ErrDamaged)
	}
	return nil
}

// settle brings the tree to its final form and proves it.
func (i *Image) settle(ctx context.Context) error {
	if err := i.complete(); err != nil {
		return err
	}
	if err := i.setModes(); err != nil {
		return err
	}
	if err := i.flush(); err != nil {
		return err
	}
	if err := i.syncTree(); err != nil {
		return err
	}
	for e := range i.m.Entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		i.dropCache(&i.m.Entries[e])
	}
	all := make([]int, len(i.m.Chunks))
	for n := range all {
		all[n] = n
	}
	bad, err := i.audit(ctx, all)
	if err != nil {
		return err
	}
	if bad.Count() == 0 {
		return i.compareShape()
	}
	i.dropAll(bad)
	return errors.Join(fmt.Errorf("%w: %d chunks, the first is %d: fetch them again", ErrDamaged, bad.Count(), bad.All()[0]), i.flush())
}

// setModes gives every entry its final mode, what is in a directory before the
// directory.
func (i *Image) setModes() error {
	for e := len(i.m.Entries) - 1; e >= 0; e-- {
		entry := &i.m.Entries[e]
		if entry.Kind == manifest.Link {
			continue
		}
		if err := i.t.chmod(entry.Path, sealedMode(entry)); err != nil {
			return err
		}
	}
	return i.t.chmod(".", 0o555)
}

// syncTree syncs every file and directory.
func (i *Image) syncTree() error {
	if err := i.t.syncAll(); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for e := range i.m.Entries {
		if i.m.Entries[e].Kind == manifest.File {
			if err := i.t.syncFile(i.m.Entries[e].Path); err != nil {
				return err
			}
		}
	}
	return i.syncNames()
}

// dropCache makes the coming read of a file go to the disk, where possible.
func (i *Image) dropCache(e *manifest.Entry) {
	if e.Kind != manifest.File || e.Bytes == 0 {
		return
	}
	if fd, _, err := i.t.open(e.Path, unix.O_RDONLY); err == nil {
		forget(fd)
		unix.Close(fd) // open for reading only
	}
}

func (i *Image) dropAll(bad manifest.Bitmap) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range bad.All() {
		i.ledger.drop(n)
	}
	i.unsaved = true
	i.log.Warn("image damaged on disk", "path", i.t.dir, "chunks", bad.Count())
}

// Verify reads the whole tree at dir and compares it with m: exactly the entries
// that m lists, their kinds, link targets, modes modulo write bits (and the
// owner's permission to read), and every byte. It changes nothing. The error is
// ErrDamaged, with the first difference, if the tree is not the image.
func Verify(ctx context.Context, dir string, m *manifest.Manifest) error {
	if err := m.Check(); err != nil {
		return fmt.Errorf("verify %s: %w", dir, err)
	}
	t, err := openTree(dir, false, nil)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	b := newBody(m, t)
	if err := errors.Join(b.verify(ctx), t.close()); err != nil {
		return fmt.Errorf("verify %s: %w", dir, err)
	}
	return nil
}

func (b *body) verify(ctx context.Context) error {
	if err := b.compareShape(); err != nil {
		return err
	}
	all := make([]int, len(b.m.Chunks))
	for n := range all {
		all[n] = n
	}
	bad, err := b.audit(ctx, all)
	if err != nil || bad.Count() == 0 {
		return err
	}
	first := bad.All()[0]
	at := b.layout.Extents(first)[0]
	return fmt.Errorf("%w: %d chunks, the first in %q at byte %d", ErrDamaged, bad.Count(), b.m.Entries[at.Entry].Path, at.Offset)
}
