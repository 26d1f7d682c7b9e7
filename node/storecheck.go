package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/update"
)

// StoreCheckSchema is the schema of a StoreCheck.
const StoreCheckSchema = "starling.storecheck/v1"

// A StoreCheck is what reading all images of this node has found.
type StoreCheck struct {
	Schema string         `json:"schema"`
	OK     bool           `json:"ok"`
	Bytes  int64          `json:"bytes"` // read
	Images []CheckedImage `json:"images"`
	Text   string         `json:"text"`
}

// A CheckedImage is one image that was read.
type CheckedImage struct {
	Image    manifest.Digest `json:"image"`
	Place    string          `json:"place"` // "images", or a slot: "app/a"
	Releases []string        `json:"releases"`
	Chunks   int             `json:"chunks"`
	Damaged  int             `json:"damaged"` // chunks that are not what the manifest says
	Missing  int             `json:"missing"` // chunks that were known not to be here
	Text     string          `json:"text"`
}

// VerifyStore reads every byte of every image here, in the slots and beside them. What
// is damaged is not served any more, and an import of its .star file mends it; in a
// slot, the next release does.
func (n *Node) VerifyStore(ctx context.Context) (*StoreCheck, error) {
	v := n.View()
	if v == nil {
		return nil, ErrNotReady
	}
	done, err := n.stock.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	uses, _ := n.uses(v)
	out := &StoreCheck{Schema: StoreCheckSchema, OK: true, Images: []CheckedImage{}}
	images, _, err := n.imageDirs()
	if err != nil {
		return nil, err
	}
	for _, d := range images {
		if err := n.checkSeed(ctx, d, out, uses); err != nil {
			return nil, err
		}
	}
	for _, r := range n.robots {
		for _, slot := range []update.Slot{update.A, update.B} {
			img := r.images.at(slot)
			if img == nil || !img.Sealed() {
				continue // empty, or on its way: the robot reads it back itself
			}
			if _, err := out.read(ctx, img, r.cfg.Name+"/"+slot.String(), uses, "; the robot gets it anew with its next release, or after starling rollback --local"); err != nil {
				return nil, err
			}
		}
	}
	out.Text = fmt.Sprintf("%d images, %d bytes: all is what the manifests say", len(out.Images), out.Bytes)
	if !out.OK {
		out.Text = fmt.Sprintf("%d images, %d bytes: some are damaged", len(out.Images), out.Bytes)
		n.note(Event{Kind: "store", Text: "the images here were read: " + out.Text})
	}
	return out, nil
}

// checkSeed reads an image beside the slots. What is damaged is taken out of its
// journal, so that an import writes it again.
func (n *Node) checkSeed(ctx context.Context, d manifest.Digest, out *StoreCheck, uses map[manifest.Digest][]string) error {
	img := n.stock.at(d)
	if img == nil {
		out.OK = false
		out.Images = append(out.Images, CheckedImage{
			Image: d, Place: "images", Releases: append([]string{}, uses[d]...),
			Text: "not served, its manifest is not here or its import was cut off; import its .star file again, or starling store gc",
		})
		return nil
	}
	bad, err := out.read(ctx, img, "images", uses, "; import its .star file again")
	if err != nil || len(bad) == 0 {
		return err
	}
	dir, journal := n.imagePaths(d)
	w, err := store.Open(store.Config{Dir: dir, Journal: journal, Manifest: img.Manifest(), Log: n.log})
	if err != nil {
		return fmt.Errorf("note the damage of image %s: %w", d.Short(), err)
	}
	for _, c := range bad {
		if _, err := w.ReadChunk(c, nil); err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNotHeld) {
			return errors.Join(fmt.Errorf("note the damage of image %s: %w", d.Short(), err), w.Close())
		}
	}
	return w.Close()
}

// read reads all chunks of an image and adds what it found; mend says what helps
// against damage. It returns the chunks that are damaged.
func (c *StoreCheck) read(ctx context.Context, img *store.Image, place string, uses map[manifest.Digest][]string, mend string) (bad []int, err error) {
	m := img.Manifest()
	out := CheckedImage{Image: img.Digest(), Place: place, Releases: append([]string{}, uses[img.Digest()]...), Chunks: len(m.Chunks)}
	buf := make([]byte, manifest.MaxChunkBytes)
	for i := range m.Chunks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := img.ReadChunk(i, buf)
		switch {
		case err == nil:
			c.Bytes += int64(len(data))
		case errors.Is(err, store.ErrDamaged):
			out.Damaged++
			bad = append(bad, i)
		case errors.Is(err, store.ErrNotHeld):
			out.Missing++
		default:
			return nil, fmt.Errorf("read image %s: %w", img.Digest().Short(), err)
		}
	}
	out.Text = "every byte is what its manifest says"
	if out.Damaged+out.Missing > 0 {
		c.OK = false
		out.Text = fmt.Sprintf("%d of %d chunks are damaged or missing%s", out.Damaged+out.Missing, out.Chunks, mend)
	}
	c.Images = append(c.Images, out)
	return bad, nil
}
