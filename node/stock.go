package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/join"
)

// stock is the images beside the slots: what was imported here, and packs. All of
// them are served.
type stock struct {
	turn chan struct{} // holds one token, taken by whoever adds or removes images
	came chan struct{} // of depth 1: an image was added

	lent lent

	mu    sync.Mutex // guards all below; not held across I/O
	held  map[manifest.Digest]seeded
	waits []*waiter // fetches, in the order in which they began
}

// A waiter is told when an image is served here.
type waiter struct {
	image manifest.Digest
	tell  func() // does not block
}

// A seeded image is served until release is called.
type seeded struct {
	img     *store.Image
	release func()
}

func newStock() *stock {
	return &stock{turn: make(chan struct{}, 1), came: make(chan struct{}, 1), held: map[manifest.Digest]seeded{}}
}

// take waits for the turn to add or remove images, and returns what gives it back.
func (s *stock) take(ctx context.Context) (done func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// watch calls tell whenever the image with this digest is added, until done is called.
func (s *stock) watch(d manifest.Digest, tell func()) (done func()) {
	w := &waiter{d, tell}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = append(s.waits, w)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waits = slices.DeleteFunc(s.waits, func(o *waiter) bool { return o == w })
	}
}

// tell calls those who watch for an image.
func (s *stock) tell(d manifest.Digest) {
	s.mu.Lock()
	all := slices.Clone(s.waits)
	s.mu.Unlock()
	for _, w := range all {
		if w.image == d {
			w.tell()
		}
	}
}

func (s *stock) at(d manifest.Digest) *store.Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[d].img
}

// swap puts an image in place of the one with its digest, which is served no longer; a
// zero one only ends that.
func (s *stock) swap(d manifest.Digest, next seeded) error {
	s.mu.Lock()
	old := s.held[d]
	delete(s.held, d)
	if next.img != nil {
		s.held[d] = next
	}
	s.mu.Unlock()
	if old.img == nil {
		return nil
	}
	old.release()
	return old.img.Close()
}

func (s *stock) close() error {
	s.mu.Lock()
	var all []manifest.Digest
	for d := range s.held {
		all = append(all, d)
	}
	s.mu.Unlock()
	var errs []error
	for _, d := range all {
		errs = append(errs, s.swap(d, seeded{}))
	}
	return errors.Join(errs...)
}

func (n *Node) imagePaths(d manifest.Digest) (dir, journal string) {
	return n.dir.path("images", d.String()), n.dir.path("images", d.String()+".journal")
}

// seed serves an image beside the slots until it is removed, or the node closed.
func (n *Node) seed(d manifest.Digest) error {
	img, err := n.openImage(d)
	if err != nil {
		return err
	}
	if err := n.stock.swap(d, seeded{img, n.exchange.Hold(img)}); err != nil {
		return err
	}
	n.stock.tell(d)
	select {
	case n.stock.came <- struct{}{}:
	default:
	}
	return nil
}

// openImage opens an image beside the slots for reading.
func (n *Node) openImage(d manifest.Digest) (*store.Image, error) {
	dir, journal := n.imagePaths(d)
	data, err := n.docs.get(join.ManifestDocument, d)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNoImage, d.Short())
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoImage, d.Short())
	}
	m, err := manifest.Decode(data)
	if err != nil {
		return nil, err
	}
	return store.Open(store.Config{Dir: dir, Journal: journal, Manifest: m, ReadOnly: true, Log: n.log})
}

// imageDirs lists the images beside the slots, served or not, by digest.
func (n *Node) imageDirs() (images []manifest.Digest, unfinished []string, err error) {
	entries, err := os.ReadDir(n.dir.path("images"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), newPack) {
			unfinished = append(unfinished, n.dir.path("images", e.Name()))
		} else if d, err := manifest.ParseDigest(e.Name()); err == nil && e.IsDir() { // else a journal
			images = append(images, d)
		}
	}
	slices.SortFunc(images, func(a, b manifest.Digest) int { return strings.Compare(a.String(), b.String()) })
	return images, unfinished, nil
}

// resumeSeeds serves what was here before.
func (n *Node) resumeSeeds(ctx context.Context) error {
	done, err := n.stock.take(ctx)
	if err != nil {
		return nil // the node ends
	}
	defer done()
	images, unfinished, err := n.imageDirs()
	if err != nil {
		return err
	}
	for _, dir := range unfinished {
		if err := store.Remove(dir); err != nil {
			return fmt.Errorf("remove what was left half made, or half removed: %w", err)
		}
	}
	for _, d := range images {
		if err := n.seed(d); err != nil {
			n.log.Warn("image not served", "image", d.Short(), "err", err)
		}
	}
	return nil
}

// removeImage ends the serving of an image beside the slots, and deletes it. Whoever
// calls it has the turn.
func (n *Node) removeImage(d manifest.Digest) error {
	dir, journal := n.imagePaths(d)
	if err := errors.Join(n.stock.swap(d, seeded{}), clearFile(journal)); err != nil {
		return err
	}
	// The tree goes in one step: half of one would be served as the whole after a crash.
	gone := n.dir.path("images", newPack+d.String())
	if err := errors.Join(store.Remove(gone), os.Rename(dir, gone), durable.SyncDir(n.dir.path("images"))); err != nil {
		return err
	}
	return store.Remove(gone)
}
