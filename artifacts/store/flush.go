package store

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// FlushBytes is how much is written before WriteChunk flushes by itself:
	// what a power cut may cost, a second or so of a good link.
	FlushBytes = 8 << 20
	// FlushApart is how far apart flushes are at least on a link that brings FlushBytes
	// sooner, up to FlushMost: each costs three syncs however little there is to sync.
	FlushApart = 250 * time.Millisecond
	FlushMost  = 4 * FlushBytes
	// FlushAfter is how old the last flush may be before WriteChunk flushes
	// by itself, if anything was written: the same for a slow link.
	FlushAfter = time.Second

	// maxFileSyncs bounds how many files are synced one by one. Each costs a
	// commit of the file system's own journal, so beyond a few it is
	// cheaper to sync the file system in one go.
	maxFileSyncs = 16
)

// Flush makes everything written so far survive a power cut: first the bytes,
// then the journal that vouches for them. If bytes cannot be synced, the chunks
// written since the last flush are dropped from what is held, for the
// kernel may have dropped them too; if only the journal cannot be written,
// nothing is dropped. Either way the error says so.
func (i *Image) Flush() error {
	if err := i.enter(); err != nil {
		return err
	}
	defer i.leave()
	if i.readOnly {
		return nil
	}
	return i.flush()
}

// flushDue reports whether WriteChunk should flush before it writes.
func (i *Image) flushDue() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch age := time.Since(i.flushed); {
	case i.unflushed >= FlushMost:
		return true
	case i.unflushed >= FlushBytes:
		return age >= FlushApart
	default:
		return i.unflushed > 0 && age >= FlushAfter
	}
}

// A batch is what one flush is about.
type batch struct {
	record   record
	dirty    map[int]struct{}
	pending  map[int]struct{}
	reshaped bool
}

func (i *Image) flush() error { return i.flushAs(false) }

// flushAs flushes, and seals the image if seal is set and it is complete: it
// counts as sealed once the journal says so.
func (i *Image) flushAs(seal bool) error {
	i.flushing <- struct{}{}
	defer func() { <-i.flushing }()
	b, work := i.takeBatch(seal)
	if !work {
		return nil
	}
	if err := i.syncBatch(&b); err != nil {
		i.giveUp(b)
		return full(fmt.Errorf("flush image: %d chunks count as not written: %w", len(b.pending), err))
	}
	err := i.saveJournal(b.record)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.unsaved = true
		return full(fmt.Errorf("flush image: %w", err))
	}
	if b.record.sealed {
		i.sealed = i.ledger.chunks == 0
		i.unsaved = i.unsaved || !i.sealed
	}
	return nil
}

// takeBatch takes what is not flushed yet; what is written from now on belongs
// to the next flush.
func (i *Image) takeBatch(seal bool) (batch, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.flushed = time.Now()
	seal = seal && i.ledger.chunks == 0
	if !seal && !i.unsaved && !i.reshaped && len(i.dirty) == 0 {
		return batch{}, false
	}
	b := batch{
		record:   record{image: i.digest, held: i.ledger.held.Clone(), sealed: i.sealed || seal},
		dirty:    i.dirty,
		pending:  i.pending,
		reshaped: i.reshaped,
	}
	i.dirty, i.pending = map[int]struct{}{}, map[int]struct{}{}
	i.unflushed, i.unsaved, i.reshaped = 0, false, false
	return b, true
}

// drop takes the chunks first to end-1 out of what the record will vouch for.
func (b *batch) drop(first, end int) {
	for n := first; n < end; n++ {
		b.record.held = b.record.held.Without(n)
		b.record.sealed = false
	}
}

// giveUp takes back what b promised.
func (i *Image) giveUp(b batch) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := range b.pending {
		i.ledger.drop(n)
	}
	i.unsaved = true
	i.reshaped = i.reshaped || b.reshaped
	i.sealed = false
	// Bytes of chunks written since may share these files.
	maps.Copy(i.dirty, b.dirty)
}

// syncBatch makes the bytes, and if need be the names, of b durable.
// A file that is gone or replaced takes its chunks with it and nothing else.
func (i *Image) syncBatch(b *batch) error {
	if b.reshaped || len(b.dirty) > maxFileSyncs {
		if err := i.t.syncAll(); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	for e := range b.dirty {
		err := i.t.syncFile(i.m.Entries[e].Path)
		switch {
		case err == nil:
		case inTheWay(err):
			i.log.Warn("file in the slot was changed, dropping its chunks", "path", i.m.Entries[e].Path, "err", err)
			i.loseEntry(e)
			b.drop(i.chunksOf(e))
		default:
			return err
		}
	}
	if !b.reshaped {
		return nil
	}
	return i.syncNames()
}

// syncNames syncs every directory of the tree.
func (i *Image) syncNames() error {
	for e := range i.m.Entries {
		if i.m.Entries[e].Kind == manifest.Dir {
			if err := i.t.syncDir(i.m.Entries[e].Path); err != nil {
				return err
			}
		}
	}
	return i.t.syncDir(".")
}
