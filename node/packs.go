package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/join"
)

// PacksSchema is the schema of Packs.
const PacksSchema = "starling.packs/v1"

// newPack begins the names of folders beside images in which packs are made, and of
// images that are being removed: the next start removes what is left of both.
const newPack = "pack-"

// ErrNoImage is returned for an image that this node does not serve: import its .star
// file.
var ErrNoImage = errors.New("node: image not here")

// Packs are the packs from one release to another, by the variants of the newer one.
type Packs struct {
	Schema string     `json:"schema"`
	From   string     `json:"from"`
	To     string     `json:"to"`
	Packs  []PackView `json:"packs"`
}

// A PackView says what robots of one variant save.
type PackView struct {
	Variant string `json:"variant"`
	Image   int64  `json:"image_bytes"`
	Missing int64  `json:"missing_bytes"` // of the image, which the older one does not have
	Wire    int64  `json:"wire_bytes"`    // what those take on the wire as chunks
	Fetch   int64  `json:"fetch_bytes"`   // what a robot fetches instead: the pack, and chunks that are not in it
	Text    string `json:"text"`
}

// Pack makes, signs and serves the packs that take robots from one release to another.
// Both must be served here. It takes a second or two for each 20 MB that have changed,
// and some 200 MiB of memory while it runs. Packs that are here already are not made
// again. Errors are ErrNotOperator, ErrRequest for a release that is not here,
// ErrNoImage, or those of the disk.
func (n *Node) Pack(ctx context.Context, from, to manifest.Digest) (*Packs, error) {
	if n.operator == nil {
		return nil, ErrNotOperator
	}
	if !n.taking() {
		return nil, ErrNotReady
	}
	old, fresh := n.releases.get(n.docs, from), n.releases.get(n.docs, to)
	if old == nil || fresh == nil || old.Component != fresh.Component {
		return nil, fmt.Errorf("%w: releases %s and %s of one component must be here: starling release import FILE.star", ErrRequest, from.Short(), to.Short())
	}
	done, err := n.stock.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	out := &Packs{Schema: PacksSchema, From: old.Version, To: fresh.Version, Packs: []PackView{}}
	for _, v := range fresh.Variants {
		w := variantBefore(old, &v)
		if w == nil || w.Manifest == v.Manifest {
			continue
		}
		p, err := n.packImage(ctx, w.Manifest, v.Manifest)
		if err != nil {
			return nil, fmt.Errorf("pack from %s to %s, variant %s: %w", old.Version, fresh.Version, v.Name, err)
		}
		p.Variant, p.Image = v.Name, int64(v.Bytes)
		out.Packs = append(out.Packs, *p)
	}
	return out, nil
}

// variantBefore is what the robots of variant v had in the older release: the variant
// of that name, or the only one.
func variantBefore(old *manifest.Release, v *manifest.Variant) *manifest.Variant {
	for i := range old.Variants {
		if old.Variants[i].Name == v.Name || len(old.Variants) == 1 {
			return &old.Variants[i]
		}
	}
	return nil
}

// packImage makes one pack, unless it does not pay.
func (n *Node) packImage(ctx context.Context, from, to manifest.Digest) (*PackView, error) {
	if x := n.servedPack(from, to); x != nil {
		return &PackView{Missing: int64(x.Covers), Wire: int64(x.Wire), Fetch: int64(x.Bytes), Text: "the pack is here already"}, nil
	}
	old, err := n.openImage(from)
	if err != nil {
		return nil, err
	}
	defer old.Close() //nolint:errcheck // open for reading only
	fresh, err := n.openImage(to)
	if err != nil {
		return nil, err
	}
	defer fresh.Close() //nolint:errcheck // open for reading only
	dir, err := os.MkdirTemp(n.dir.path("images"), newPack)
	if err != nil {
		return nil, fmt.Errorf("make a pack: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the next start removes what is left
	s, err := buildPack(ctx, old, fresh, filepath.Join(dir, delta.PackFile))
	if err != nil {
		return nil, err
	}
	p := &PackView{Missing: s.Missing, Wire: s.Wire, Fetch: s.Wire - s.Saved + s.Pack}
	if s.Missing < patchWorth || s.Covered == 0 || p.Fetch*1000 > s.Wire*delta.WorthPermille {
		p.Fetch, p.Text = s.Wire, "a pack would save little: the chunks are as good"
		return p, nil
	}
	p.Text = "the pack is signed and served here"
	return p, n.keepPack(ctx, dir, delta.Notice{From: from, To: to, Bytes: uint64(s.Pack), Covers: uint64(s.Covered), Wire: uint64(s.Saved)})
}

// servedPack is the notice of a pack that is signed and served here, or nil.
func (n *Node) servedPack(from, to manifest.Digest) *delta.Notice {
	x, err := n.heldNotice(n.keeper.View(), from, to)
	if err != nil {
		return nil
	}
	if _, held := n.exchange.Stats(x.Pack); !held {
		return nil
	}
	return x
}

func buildPack(ctx context.Context, old, fresh delta.Image, path string) (delta.Stats, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return delta.Stats{}, fmt.Errorf("make a pack: %w", err)
	}
	s, err := delta.Build(ctx, old, fresh, f, nil)
	if err == nil {
		err = f.Sync()
	}
	return s, errors.Join(err, f.Close())
}

// keepPack makes the pack in dir an image that is served, and signs the notice of it.
func (n *Node) keepPack(ctx context.Context, dir string, notice delta.Notice) error {
	m, err := bundle.BuildImage(ctx, dir, nil)
	if err != nil {
		return err
	}
	notice.Format, notice.Pack = delta.NoticeFormat, m.Digest()
	place, _ := n.imagePaths(notice.Pack)
	if _, err := os.Stat(place); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(dir, place); err != nil {
			return fmt.Errorf("keep a pack: %w", err)
		}
		if err := durable.SyncDir(n.dir.path("images")); err != nil {
			return err
		}
		if _, err := n.docs.put(join.ManifestDocument, m.Encode()); err != nil {
			return err
		}
		if err := n.seed(notice.Pack); err != nil {
			return err
		}
	}
	v := n.keeper.View()
	sealed := notice.Seal(v.Root, n.operator.key).Encode()
	if _, err := delta.OpenNotice(sealed, v.Root, v.Trust.Roles().Plan, notice.From, notice.To); err != nil {
		return fmt.Errorf("the operator's key here cannot sign packs for this swarm: %w", err)
	}
	return n.docs.replace(join.DeltaDocument, sealed)
}
