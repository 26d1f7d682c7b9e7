// Package store keeps images on disk and knows which of their chunks are there
// and verified.
//
// An Image is one copy of one manifest's tree in a directory, usually an
// inactive slot. Chunks are hashed, written at their final places in that tree,
// and served from there: nothing is unpacked later and nothing is stored
// twice. What is held is remembered in a journal beside the directory:
//
//	img, err := store.Open(store.Config{Dir: slot, Journal: slot + ".journal", Manifest: m})
//	…
//	err = img.WriteChunk(n, data)    // wrong bytes are refused
//	data, err = img.ReadChunk(n, buf) // wrong bytes are never returned
//	…
//	err = img.Seal(ctx)              // whole, read-only, synced, read back
//
// The guarantees: a chunk counts as held only after its bytes were hashed; after
// Flush it stays held through a power cut, and the journal never vouches for
// bytes that were not synced before it. After the death of the process alone,
// chunks that were written but not yet journaled are found again by hashing
// what the files hold. Files are opened without following symbolic links at
// any level below the directory, so a payload that scribbled there cannot
// lead the store out of it.
//
// The robot's node owns each Image and sees to it that a directory has one.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

var (
	// ErrNotHeld is returned by ReadChunk for a chunk that is not held. Fetch it.
	ErrNotHeld = errors.New("store: chunk not held")
	// ErrDamaged says that bytes on disk are not what the manifest promises.
	// The chunks concerned are no longer held: fetch them again.
	ErrDamaged = errors.New("store: damaged on disk")
	// ErrIncomplete is returned by Seal while chunks are missing. Fetch them first.
	ErrIncomplete = errors.New("store: image is incomplete")
	// ErrFull says that the disk, or the user's quota, has no room. Make room
	// and repeat the call; what was held is still held.
	ErrFull = errors.New("store: no space left")
	// ErrReadOnly is returned by calls that would change an image opened with
	// Config.ReadOnly. Open it without.
	ErrReadOnly = errors.New("store: image is open read-only")
	// ErrNoChunk is returned by WriteChunk for an index that the manifest does
	// not have: the caller mixed up two manifests.
	ErrNoChunk = errors.New("store: no such chunk in the manifest")
	// ErrClosed is returned by calls after Close. Open the image again.
	ErrClosed = errors.New("store: image is closed")
)

// A DigestError reports bytes that are not what the manifest promised. Nothing
// was written. Ask another source.
type DigestError struct {
	Chunk     int // index in Manifest.Chunks
	Want, Got manifest.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("store: chunk %d: bytes hash to %s, the manifest wants %s: fetch it from another source",
		e.Chunk, e.Got.Short(), e.Want.Short())
}

// Unwrap is manifest.ErrDigest, for those who do not know this package.
func (e *DigestError) Unwrap() error { return manifest.ErrDigest }

// Config says where an image lies.
type Config struct {
	// Dir is where the tree goes. It is created if absent, and emptied if the
	// journal is not for Manifest. It must not be a symbolic link unless
	// ReadOnly is set: what is behind a link is never emptied.
	Dir string
	// Journal is the file that remembers what is held. It lies outside Dir, in
	// a directory that exists, on storage that survives a restart. An image
	// opened ReadOnly may do without.
	Journal string
	// Manifest is the image to hold. It must pass Check and must not change.
	Manifest *manifest.Manifest
	// Log takes what healed by itself: damaged chunks, a torn journal. Nil discards.
	Log *slog.Logger
	// ReadOnly promises that nothing is ever written: for a sealed slot that
	// runs, or an operator's image that is only served. Every chunk counts as
	// held until a read proves otherwise, but for those that Journal, if it is set,
	// says are missing, and those of files that are not there.
	ReadOnly bool
}

func (c *Config) validate() error {
	if c.Manifest == nil || c.Dir == "" {
		return errors.New("open image: Dir and Manifest must be set")
	}
	if err := c.Manifest.Check(); err != nil {
		return fmt.Errorf("open image %s: %w", c.Dir, err)
	}
	if c.ReadOnly {
		return nil
	}
	if c.Journal == "" {
		return fmt.Errorf("open image %s: Journal must be set unless ReadOnly is", c.Dir)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("open image %s: %w", c.Dir, err)
	}
	journal, err := filepath.Abs(c.Journal)
	if err != nil {
		return fmt.Errorf("open image %s: %w", c.Dir, err)
	}
	if journal == dir || strings.HasPrefix(journal, strings.TrimSuffix(dir, "/")+"/") {
		return fmt.Errorf("open image %s: journal %s lies inside the tree, where the payload can reach it: move it out", c.Dir, c.Journal)
	}
	return nil
}

// An Image is one image on disk. It is safe for concurrent use: chunks may be
// read while others are written. Close it when done.
type Image struct {
	body
	digest   manifest.Digest
	journal  string
	readOnly bool
	log      *slog.Logger
	seam     seam

	// flushing and shaping hold one token each, taken by whoever syncs and
	// journals, and by whoever makes or removes entries of the tree.
	flushing, shaping chan struct{}

	mu        sync.Mutex // guards the fields below; never held across I/O
	ledger    *ledger
	sealed    bool
	unsaved   bool             // the journal does not say what ledger and sealed say
	reshaped  bool             // entries were made since the last sync
	dirty     map[int]struct{} // file entries with bytes that are not synced
	pending   map[int]struct{} // chunks whose bytes are not synced
	unflushed int64            // bytes in pending
	flushed   time.Time        // start of the last flush
	users     int              // calls that are using the directory
	closed    bool             // no call may start
	idle      chan struct{}    // closed by the last user once closed is set
}

// enter must precede, and leave follow, all use of the directory, so that Close
// does not pull it away.
func (i *Image) enter() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return ErrClosed
	}
	i.users++
	return nil
}

func (i *Image) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users--
	if i.closed && i.users == 0 {
		close(i.idle)
	}
}

// Close flushes, waits for calls that are under way and frees the directory.
// Calls that start later return ErrClosed. A second Close does nothing.
func (i *Image) Close() error {
	err := i.Flush()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	i.mu.Lock()
	if i.closed {
		i.mu.Unlock()
		return err
	}
	i.closed = true
	if i.users == 0 {
		close(i.idle)
	}
	i.mu.Unlock()
	<-i.idle
	return errors.Join(err, i.t.close())
}

// Remove deletes the tree at dir, and dir itself, read-only directories
// included. It follows no link. A dir that does not exist is fine.
func Remove(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	t, err := openTree(dir, true, nil)
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	if err := errors.Join(t.wipe(), t.close()); err != nil {
		return fmt.Errorf("remove image %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	return nil
}
