package node

import (
	"errors"
	"path/filepath"
	"sync"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/join"
	"github.com/starling-swarm/starling/node/update"
)

// slotImages are the images in a component's two slots. What is there is served to
// other members for as long as it lies there.
type slotImages struct {
	n      *Node
	driver install.Driver
	state  string

	mu   sync.Mutex // guards the fields below; never held across I/O
	held [2]heldImage
	pack heldImage       // the pack that was used last, served for others; see patch.go
	into manifest.Digest // the image that it makes
	bad  manifest.Digest // a pack that did not make what it should; not fetched again before a restart
}

type heldImage struct {
	img      *store.Image
	readOnly bool
	release  func()
}

func newSlotImages(n *Node, d install.Driver, state string) *slotImages {
	return &slotImages{n: n, driver: d, state: state}
}

// open makes the slot the place of image m: what it held before is no longer
// served, and what it holds of m is kept.
func (s *slotImages) open(slot update.Slot, m *manifest.Manifest) (*store.Image, error) {
	s.mu.Lock()
	h := s.held[slot]
	s.mu.Unlock()
	if h.img != nil && !h.readOnly && h.img.Digest() == m.Digest() {
		return h.img, nil
	}
	return s.take(slot, m, false)
}

// take opens the slot and serves it. readOnly is for what may be running: nothing
// is ever written there.
func (s *slotImages) take(slot update.Slot, m *manifest.Manifest, readOnly bool) (*store.Image, error) {
	if err := s.drop(slot); err != nil {
		return nil, err
	}
	img, err := store.Open(store.Config{
		Dir: s.driver.SlotDir(slot), Journal: filepath.Join(s.state, "journal-"+slot.String()), Manifest: m, Log: s.n.log,
		ReadOnly: readOnly,
	})
	if err != nil {
		return nil, err
	}
	h := heldImage{img, readOnly, s.n.exchange.Hold(img)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[slot] = h
	return img, nil
}

// drop stops serving what is in the slot.
func (s *slotImages) drop(slot update.Slot) error {
	s.mu.Lock()
	h := s.held[slot]
	s.held[slot] = heldImage{}
	s.mu.Unlock()
	if h.img == nil {
		return nil
	}
	h.release()
	return h.img.Close()
}

func (s *slotImages) at(slot update.Slot) *store.Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[slot].img
}

// copyFrom takes chunks that the other slot has too; whatever goes wrong there is
// fetched instead.
func (s *slotImages) copyFrom(slot update.Slot, into *store.Image) {
	old := s.at(slot)
	if old == nil {
		return
	}
	chunks, bytes, err := into.CopyFrom(old)
	if err != nil {
		s.n.log.Warn("installed image not used as a source", "err", err)
	}
	if chunks > 0 {
		s.n.log.Info("copied from the installed image", "chunks", chunks, "bytes", bytes)
	}
}

// resume serves what the record says is whole, after a start.
func (s *slotImages) resume(rec update.Record) {
	if rec.Phase != member.Fetching {
		s.sweepPack()
	}
	for slot, c := range rec.Slots {
		if c.State != update.Whole || s.at(update.Slot(slot)) != nil {
			continue
		}
		data, err := s.n.docs.get(join.ManifestDocument, c.Manifest)
		if err != nil {
			s.n.log.Warn("image not served: its manifest is not here", "release", c.Release.Version, "err", err)
			continue
		}
		m, err := manifest.Decode(data)
		if err == nil {
			_, err = s.take(update.Slot(slot), m, true)
		}
		if err != nil {
			s.n.log.Warn("image not served", "release", c.Release.Version, "err", err)
		}
	}
}

func (s *slotImages) close() error {
	return errors.Join(s.releasePack(), s.drop(update.A), s.drop(update.B))
}
