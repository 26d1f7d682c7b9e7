package bundle

import (
	"context"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// MaxPacks bounds the packs of one bundle: as many notices as a node keeps.
const MaxPacks = 64

// A packEntry is a pack in the index. In the data stand its manifest and then its
// bytes, as they are. What it says of itself is not held against the rest: a wrong
// pack is not used, and the bundle is good without it.
type packEntry struct {
	Notice   []byte `cbor:"0,keyasint"` // envelope of kind Delta; opaque here
	Manifest uint32 `cbor:"1,keyasint"` // length of the encoded manifest
	Bytes    uint64 `cbor:"2,keyasint"` // length of what that lists
}

// bytes is the pack's length in the file.
func (e *packEntry) bytes() uint64 { return uint64(e.Manifest) + e.Bytes }

// checkPacks reports whether format and packs agree, and whether the packs can be in
// the data that h promises.
func (x *index) checkPacks(h header) error {
	if len(x.Packs) > MaxPacks {
		return fmt.Errorf("%w: %d packs, the limit is %d", canonical.ErrTooLarge, len(x.Packs), MaxPacks)
	}
	if x.Format == plainFormat && len(x.Packs) > 0 || x.Format == packsFormat && len(x.Packs) == 0 {
		return fmt.Errorf("format %d with %d packs", x.Format, len(x.Packs))
	}
	left := h.data
	for i := range x.Packs {
		e := &x.Packs[i]
		if len(e.Notice) > envelope.MaxBytes(envelope.Delta) || e.Manifest > manifest.MaxBytes {
			return fmt.Errorf("pack %d: %w", i, canonical.ErrTooLarge)
		}
		if e.Bytes > left || e.bytes() > left {
			return fmt.Errorf("pack %d: it has more bytes than the data", i)
		}
		left -= e.bytes()
	}
	return nil
}

// A Pack is a pack of a bundle: what makes the images of its release out of older
// ones. It lives no longer than the bundle.
type Pack struct {
	b     *Bundle
	n     int // which of the bundle
	at    int64
	entry *packEntry
}

// Packs are the packs in the bundle's order. Nothing in them is verified yet.
func (b *Bundle) Packs() []*Pack { return append([]*Pack(nil), b.packs...) }

// locatePacks finds the packs, the first of which lies at the given offset, and returns
// where the last one ends.
func (b *Bundle) locatePacks(at int64) int64 {
	for i := range b.index.Packs {
		p := &Pack{b: b, n: i, at: at, entry: &b.index.Packs[i]}
		b.packs = append(b.packs, p)
		at += int64(p.entry.bytes())
	}
	return at
}

// verifyPacks reads every pack.
func (b *Bundle) verifyPacks(ctx context.Context) error {
	for _, p := range b.packs {
		img, err := p.Image()
		if err != nil {
			return err
		}
		for n := range img.Manifest().Chunks {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, err := img.ReadChunk(n, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Pack) damaged(err error) error { return p.b.damaged(fmt.Sprintf("pack %d", p.n), err) }

// read fills b from the given offset of the pack.
func (p *Pack) read(b []byte, at int64) error {
	if _, err := p.b.file.ReadAt(b, p.at+at); err != nil {
		return p.b.unread(fmt.Sprintf("pack %d", p.n), err)
	}
	return nil
}

// Notice is the sealed notice that came with the pack; only package delta can say what
// it is worth.
func (p *Pack) Notice() []byte { return append([]byte(nil), p.entry.Notice...) }

// Bytes is how many bytes the pack has in the bundle.
func (p *Pack) Bytes() int64 { return int64(p.entry.bytes()) }

// Image is the pack as the image of one file that it travels as: by whatever manifest is
// in the bundle, which the notice must name. Errors are a *DamagedError or those of the
// file system.
func (p *Pack) Image() (*PackImage, error) {
	data := make([]byte, p.entry.Manifest)
	if err := p.read(data, 0); err != nil {
		return nil, err
	}
	m, err := manifest.Decode(data)
	if err != nil {
		return nil, p.damaged(err)
	}
	if uint64(m.Bytes()) != p.entry.Bytes {
		return nil, p.damaged(fmt.Errorf("its manifest lists %d bytes, and it has %d", m.Bytes(), p.entry.Bytes))
	}
	return &PackImage{p: p, layout: manifest.NewLayout(m), m: m}, nil
}

// A PackImage is a pack that can be read chunk by chunk.
type PackImage struct {
	p      *Pack
	m      *manifest.Manifest
	layout *manifest.Layout
}

// Manifest lists the pack. The caller does not change it.
func (i *PackImage) Manifest() *manifest.Manifest { return i.m }

// HasChunk reports whether the pack has a chunk n.
func (i *PackImage) HasChunk(n int) bool { return n >= 0 && n < len(i.m.Chunks) }

// ReadChunk returns the verified bytes of chunk n, in buf if it is large enough. The
// error is ErrNotHeld, a *DamagedError or one of the file system.
func (i *PackImage) ReadChunk(n int, buf []byte) ([]byte, error) {
	if !i.HasChunk(n) {
		return nil, fmt.Errorf("%w: chunk %d of a pack", ErrNotHeld, n)
	}
	c := i.m.Chunks[n]
	if cap(buf) < int(c.Bytes) {
		buf = make([]byte, c.Bytes)
	}
	buf = buf[:c.Bytes]
	if err := i.p.read(buf, int64(i.p.entry.Manifest)+i.layout.Offset(n)); err != nil {
		return nil, err
	}
	if manifest.Sum(buf) != c.Digest {
		return nil, i.p.damaged(manifest.ErrDigest)
	}
	return buf, nil
}

// Carried is a pack that goes along with an export.
type Carried struct {
	Notice []byte // sealed
	Image  Held
}

// entriesOf are the entries of packs in an index.
func entriesOf(packs []Carried) []packEntry {
	var out []packEntry
	for _, p := range packs {
		m := p.Image.Manifest()
		out = append(out, packEntry{Notice: p.Notice, Manifest: uint32(len(m.Encode())), Bytes: uint64(m.Bytes())})
	}
	return out
}
