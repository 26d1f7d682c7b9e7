package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/starling-swarm/starling/artifacts/durable"
)

// Open opens the image. If the journal is for this manifest it goes on where
// it was; otherwise Dir, and only Dir, is emptied and made anew.
//
// Chunks that the journal vouches for are held without being read. All others
// whose place in the tree holds data (holes of sparse files do not) are hashed,
// and are held if they match: so what Open hashes is bounded by what was
// written since the last flush, or by the image if the journal is torn. A torn
// journal is not an error. A sealed image is only compared by names, kinds, sizes
// and modes; Verify reads it whole.
func Open(cfg Config) (*Image, error) { return open(cfg, nil) }

func open(cfg Config, s seam) (*Image, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	i := &Image{
		digest:   cfg.Manifest.Digest(),
		journal:  cfg.Journal,
		readOnly: cfg.ReadOnly,
		log:      log,
		seam:     s,
		flushing: make(chan struct{}, 1),
		shaping:  make(chan struct{}, 1),
		ledger:   newLedger(cfg.Manifest),
		dirty:    map[int]struct{}{},
		pending:  map[int]struct{}{},
		flushed:  time.Now(),
		idle:     make(chan struct{}),
	}
	start := i.resume
	if cfg.ReadOnly {
		start = i.attach
	}
	t, err := openTree(cfg.Dir, !cfg.ReadOnly, s)
	if err != nil {
		return nil, full(fmt.Errorf("open image: %w", err))
	}
	i.body = newBody(cfg.Manifest, t)
	if err := start(); err != nil {
		return nil, full(fmt.Errorf("open image %s: %w", cfg.Dir, errors.Join(err, t.close())))
	}
	return i, nil
}

// attach takes a tree as it is. What was cut off while it was written or removed is not
// taken for whole: a peer that was promised what is not here leaves us out.
func (i *Image) attach() error {
	i.holdAll()
	if i.journal == "" {
		return nil
	}
	saved, err := loadJournal(i.journal)
	known := err == nil && saved.isFor(i.digest, len(i.m.Chunks))
	if i.sealed = known && saved.sealed; i.sealed {
		return nil
	}
	lost := i.inspect()
	for n := range i.m.Chunks {
		if lost.Has(n) || known && !saved.held.Has(n) {
			i.ledger.drop(n)
		}
	}
	return nil
}

func (i *Image) holdAll() {
	for n := range i.m.Chunks {
		i.ledger.add(n)
	}
}

// resume brings tree and ledger to what the journal and the files allow.
func (i *Image) resume() error {
	saved, err := loadJournal(i.journal)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !saved.isFor(i.digest, len(i.m.Chunks)):
		return i.startAnew()
	case err != nil:
		i.log.Warn("journal unreadable, hashing what the files hold", "path", i.journal, "err", err)
		saved = record{}
	}
	if saved.sealed {
		err := i.compareShape()
		if err == nil {
			i.sealed = true
			i.holdAll()
			return nil
		}
		i.log.Warn("sealed image was changed", "path", i.t.dir, "err", err)
	}
	if err := i.sweepJournals(); err != nil {
		return err
	}
	lost := i.inspect()
	for n := range i.m.Chunks {
		if saved.held.Has(n) && !lost.Has(n) {
			i.ledger.add(n)
		}
	}
	// Files are made anew at their full lengths, so that a later Open would
	// not see that their bytes are gone: the journal must say so first.
	now := record{image: i.digest, held: i.ledger.held.Clone()}
	if saved.sealed || saved.image != now.image || !bytes.Equal(saved.held, now.held) {
		if err := i.saveJournal(now); err != nil {
			return err
		}
	}
	if err := i.prepare(); err != nil {
		return err
	}
	return i.rehash()
}

// startAnew empties the directory and starts a journal. The old journal goes
// first: without one, the next Open empties again.
func (i *Image) startAnew() error {
	if err := i.removeJournal(); err != nil {
		return err
	}
	if err := i.t.wipe(); err != nil {
		return err
	}
	if err := i.saveJournal(record{image: i.digest, held: i.ledger.held.Clone()}); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(filepath.Clean(i.t.dir))); err != nil {
		return err
	}
	return i.prepare()
}

// rehash hashes the chunks that are not held though their place holds data,
// and takes those that match. They may not be synced yet.
func (i *Image) rehash() error {
	var doubtful []int
	for n := range i.m.Chunks {
		if !i.ledger.has(n) && !i.blank(n) {
			doubtful = append(doubtful, n)
		}
	}
	// Open takes no context: the work is bounded by the image, and nothing
	// can be served before it is done.
	bad, err := i.audit(context.Background(), doubtful)
	if err != nil {
		return err
	}
	for _, n := range doubtful {
		if !bad.Has(n) {
			i.written(n)
		}
	}
	if len(doubtful) > 0 {
		i.log.Info("image resumed", "path", i.t.dir, "hashed", len(doubtful), "damaged", bad.Count())
	}
	return nil
}
