package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/join"
	"github.com/starling-swarm/starling/node/update"
)

const (
	// patchWorth is how much must be missing before anybody is asked for a pack: less
	// is as soon fetched.
	patchWorth = 64 << 10
	// patchShare of the progress, in per mille, is the fetch of the pack; the rest is
	// applying it.
	patchShare = 900
	// noticeAsks is how many members are asked for a notice: whoever made it comes
	// first, and those who used it have it too.
	noticeAsks = 8
	// packStill is how many calls' time may pass without a piece of a pack before the
	// chunks are fetched instead: nobody may have it any more.
	packStill = 12
	// seedsTold is how many members are told of an image that did not come from any:
	// operators' nodes, which come first, wait for that before they say that they may leave.
	seedsTold = 2
)

// errStill says that no piece of a pack has come for a long time.
var errStill = errors.New("node: nobody sends the pack")

// patch makes what it can of img from the installed image and a pack, if the operator
// has signed one for these two. It is only a short cut: whatever goes wrong is logged,
// and what is missing afterwards is fetched.
func (r *robot) patch(ctx context.Context, release manifest.Digest, into update.Slot, img *store.Image, progress func(permille int)) {
	old := r.images.at(into.Other())
	_, missing := img.Missing()
	if old == nil || missing < patchWorth {
		return
	}
	x, err := r.n.notice(ctx, old.Digest(), img.Digest())
	if err != nil {
		r.log.Debug("no pack", "err", err)
		return
	}
	if !x.Worth(missing) || r.images.isBad(x.Pack) {
		return
	}
	bytes := img.Manifest().Bytes()
	share := func(permille int64) { progress(int(((bytes-missing)*1000 + missing*permille) / bytes)) }
	pack, err := r.fetchPack(ctx, release, x, img, packStill*r.n.time.call, func(permille int) { share(int64(permille) * patchShare / 1000) })
	if err != nil {
		r.log.Warn("pack not used", "pack", x.Pack.Short(), "err", err)
		return
	}
	a, err := applyPack(ctx, x, pack, old, img, func(done, total int64) {
		share(patchShare + (1000-patchShare)*done/total)
	})
	if a.Chunks > 0 {
		r.log.Info("made from a pack", "chunks", a.Chunks, "bytes", a.Bytes, "fetched", x.Bytes)
		r.n.note(Event{Kind: "patched", Text: fmt.Sprintf("%d bytes of the image were made from a pack of %d bytes", a.Bytes, x.Bytes)})
	}
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, delta.ErrBad) || errors.Is(err, delta.ErrNotPack):
		r.log.Error("pack is of no use, fetching chunks instead", "pack", x.Pack.Short(), "err", err)
		r.n.note(Event{Kind: "pack-dropped", Text: fmt.Sprintf("pack %s does not make what its notice says; the chunks are fetched instead", x.Pack.Short())})
		if err := r.images.dropBad(x.Pack); err != nil {
			r.log.Warn("pack not removed", "err", err)
		}
	case err != nil:
		r.log.Warn("pack not applied to its end", "err", err)
	}
}

// applyPack applies a pack that is here.
func applyPack(ctx context.Context, x *delta.Notice, pack, old, img *store.Image, progress func(done, total int64)) (delta.Applied, error) {
	p, err := delta.Open(delta.NewReader(pack), int64(x.Bytes))
	if err != nil {
		return delta.Applied{}, err
	}
	a, err := p.Apply(ctx, old, img, progress)
	if err != nil {
		return a, err
	}
	_, _, err = img.CopyFrom(img) // chunks that stand at several places are made once
	return a, err
}

// fetchPack brings the pack that a notice names, and gives up when no piece of it has
// come for as long as patience. What came stays for the next try, and is served.
func (r *robot) fetchPack(ctx context.Context, release manifest.Digest, x *delta.Notice, img *store.Image, patience time.Duration, progress func(permille int)) (*store.Image, error) {
	m, err := r.n.manifest(ctx, x.Pack)
	if err != nil {
		return nil, err
	}
	if err := x.Fits(m); err != nil {
		return nil, err
	}
	pack, err := r.images.openPack(m, img.Digest())
	if err != nil {
		return nil, err
	}
	r.n.copyImported(pack) // it may have come in a .star file
	need := store.Need(m, pack) + store.Need(img.Manifest(), img)
	if err := store.Admit(r.images.state, need, r.n.cfg.ReserveBytes); err != nil {
		return nil, errors.Join(err, r.images.dropPack(manifest.Digest{}))
	}
	return pack, r.underConditions(ctx, release, func(ctx context.Context) error { return r.n.fetchPatiently(ctx, pack, patience, progress) })
}

// fetchPatiently is Fetch, but gives up when no piece has come for as long as patience.
func (n *Node) fetchPatiently(ctx context.Context, pack *store.Image, patience time.Duration, progress func(permille int)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	still := time.AfterFunc(patience, func() { cancel(errStill) })
	defer still.Stop()
	err := n.exchange.Fetch(ctx, pack, func(permille int) {
		still.Reset(patience)
		progress(permille)
	})
	if err != nil && errors.Is(context.Cause(ctx), errStill) {
		err = errStill
	}
	return err
}

// heldNotice is the notice of a pack between two images that lies here, verified.
func (n *Node) heldNotice(v *View, from, to manifest.Digest) (*delta.Notice, error) {
	data, err := n.docs.get(join.DeltaDocument, delta.Name(from, to))
	if err != nil {
		return nil, err
	}
	return v.openNotice(data, from, to)
}

// openNotice verifies a notice.
func (v *View) openNotice(data []byte, from, to manifest.Digest) (*delta.Notice, error) {
	if v.Trust == nil {
		return nil, fmt.Errorf("%w: no trust metadata to verify a notice by", ErrNoDocument)
	}
	return delta.OpenNotice(data, v.Root, v.Trust.Roles().Plan, from, to)
}

// notice returns the verified notice of a pack between two images, from here or from
// a few members. Unlike other documents it is asked for by what it is about, so it is
// verified before it is kept.
func (n *Node) notice(ctx context.Context, from, to manifest.Digest) (*delta.Notice, error) {
	v := n.keeper.View()
	if x, err := n.heldNotice(v, from, to); err == nil {
		return x, nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.time.call)
	defer cancel()
	q := join.DocumentRequest{Format: join.MetaFormat, Kind: join.DeltaDocument, Digest: delta.Name(from, to)}
	whom := n.candidates()
	whom = whom[:min(len(whom), noticeAsks)]
	data, err := hedged(ctx, whom, n.time.call/askShare, func(ctx context.Context, peer envelope.Key) ([]byte, error) {
		data, err := n.callDocument(ctx, peer, canonical.Encode(q), join.DeltaDocument.Limit())
		if err == nil {
			_, err = v.openNotice(data, from, to)
		}
		return data, err
	})
	if err != nil {
		return nil, err
	}
	if err := n.docs.replace(join.DeltaDocument, data); err != nil {
		return nil, err
	}
	return v.openNotice(data, from, to)
}

// packDir is where the pack of a component lies, and its journal.
func (s *slotImages) packDir() (dir, journal string) {
	return filepath.Join(s.state, "pack"), filepath.Join(s.state, "pack.journal")
}

// openPack makes the pack's place that of the pack with manifest m, which makes the
// image into. What is there of it already is kept, anything else goes.
func (s *slotImages) openPack(m *manifest.Manifest, into manifest.Digest) (*store.Image, error) {
	s.mu.Lock()
	held := s.pack.img
	s.mu.Unlock()
	if held != nil && held.Digest() == m.Digest() {
		return held, nil
	}
	if err := s.releasePack(); err != nil {
		return nil, err
	}
	dir, journal := s.packDir()
	img, err := store.Open(store.Config{Dir: dir, Journal: journal, Manifest: m, Log: s.n.log})
	if err != nil {
		return nil, err
	}
	h := heldImage{img: img, release: s.n.exchange.Hold(img)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pack, s.into = h, into
	return img, nil
}

// releasePack stops serving the pack.
func (s *slotImages) releasePack() error {
	s.mu.Lock()
	h := s.pack
	s.pack, s.into = heldImage{}, manifest.Digest{}
	s.mu.Unlock()
	if h.img == nil {
		return nil
	}
	h.release()
	return h.img.Close()
}

// dropPack removes the pack, unless it makes the image except.
func (s *slotImages) dropPack(except manifest.Digest) error {
	s.mu.Lock()
	keep := s.pack.img != nil && s.into == except
	any := s.pack.img != nil
	s.mu.Unlock()
	if keep || !any {
		return nil
	}
	err := s.releasePack()
	dir, journal := s.packDir()
	return errors.Join(err, store.Remove(dir), os.RemoveAll(journal))
}

// dropBad removes the pack for good.
func (s *slotImages) dropBad(pack manifest.Digest) error {
	s.mu.Lock()
	s.bad = pack
	s.mu.Unlock()
	return s.dropPack(manifest.Digest{})
}

func (s *slotImages) isBad(pack manifest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad == pack
}

// sweepPack removes what is left of a pack that nothing needs after a start.
func (s *slotImages) sweepPack() {
	dir, journal := s.packDir()
	if err := errors.Join(store.Remove(dir), os.RemoveAll(journal)); err != nil {
		s.n.log.Warn("pack not removed", "err", err)
	}
}
