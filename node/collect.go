package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// ErrNeeded is returned for the release that the swarm runs, goes to or may go back to.
// Its images stay until another has taken its place.
var ErrNeeded = errors.New("node: still needed")

// CollectedSchema is the schema of a Collected.
const CollectedSchema = "starling.collected/v1"

// A Watermark is a limit for images beside the slots: a share of the disk that all
// together use on it, or bytes that these images take. Zero is none.
type Watermark struct {
	Permille int
	Bytes    int64
}

// IsZero reports whether w limits nothing.
func (w Watermark) IsZero() bool { return w == Watermark{} }

// over is how many bytes must go until the limit holds, at most zero if it does.
func (w Watermark) over(free, disk, images int64) int64 {
	if w.Permille > 0 {
		return disk - free - disk/1000*int64(w.Permille)
	}
	return images - w.Bytes
}

// A Collected is what was removed, or with DryRun would be.
type Collected struct {
	Schema  string        `json:"schema"`
	DryRun  bool          `json:"dry_run"`
	Removed []StoredImage `json:"removed"`
	Bytes   int64         `json:"bytes"`
	Text    string        `json:"text"`
}

// Collect removes all images beside the slots that nobody needs: not those of what the
// swarm runs, goes to or may go back to, nor what is newer, nor stepping stones.
// With dryRun it only says which.
func (n *Node) Collect(ctx context.Context, dryRun bool) (*Collected, error) {
	return n.collect(ctx, dryRun, func(_ *StoreView, s *StoredImage, _ int64) bool { return s.Needed == "" })
}

// RemoveRelease removes the images of a release from beside the slots. It stays signed,
// and can be imported again. ErrNeeded is returned for one that the swarm runs, goes to
// or may go back to.
func (n *Node) RemoveRelease(ctx context.Context, component, version string) (*Collected, error) {
	if !n.taking() {
		return nil, ErrNotReady
	}
	rel, err := n.releaseNamed(component, version)
	if err != nil {
		return nil, err
	}
	if why := n.whyNeeded(n.keeper.View(), rel); why.must {
		return nil, fmt.Errorf("%w: %s (%s)", ErrNeeded, called(rel), why.why)
	}
	out, err := n.collect(ctx, false, func(_ *StoreView, s *StoredImage, _ int64) bool {
		return !s.must && slices.ContainsFunc(rel.Variants, func(v manifest.Variant) bool { return v.Manifest == s.Image })
	})
	if err != nil {
		return nil, err
	}
	if len(out.Removed) == 0 {
		for _, v := range rel.Variants {
			if n.inSlot(v.Manifest) {
				return nil, fmt.Errorf("%w: %s is in a slot of this robot, and gives way to the next release there", ErrNeeded, called(rel))
			}
		}
		return nil, fmt.Errorf("%w: none of %s, or another release that is in use has the same", ErrNoImage, called(rel))
	}
	return out, nil
}

// collect removes the images that pick picks, oldest first; it is told how many bytes
// went before.
func (n *Node) collect(ctx context.Context, dryRun bool, pick func(v *StoreView, s *StoredImage, gone int64) bool) (*Collected, error) {
	done, err := n.stock.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := n.Stored()
	if err != nil {
		return nil, err
	}
	out := &Collected{Schema: CollectedSchema, DryRun: dryRun, Removed: []StoredImage{}}
	var names []string
	for i := range all.Images {
		s := &all.Images[i]
		if !pick(all, s, out.Bytes) {
			continue
		}
		if !dryRun {
			gone, err := n.stock.lent.unless(s.Image, func() error { return n.removeImage(s.Image) })
			if err != nil {
				return nil, fmt.Errorf("remove image %s: %w", s.Image.Short(), err)
			}
			if !gone { // an export has begun since it was listed
				continue
			}
		}
		out.Removed = append(out.Removed, *s)
		out.Bytes += s.Bytes
		names = append(names, s.name())
	}
	out.Text = "nothing is here that nobody needs"
	if len(names) > 0 {
		out.Text = fmt.Sprintf("removed %d images, %d bytes: %s", len(names), out.Bytes, strings.Join(names, ", "))
		if dryRun {
			out.Text = "would have " + out.Text
		} else {
			n.log.Info("images removed", "bytes", out.Bytes, "images", strings.Join(names, ", "))
			n.note(Event{Kind: "store", Text: out.Text})
		}
	}
	return out, nil
}

// name is what people know an image by.
func (s *StoredImage) name() string {
	if len(s.Releases) == 0 {
		return "image " + s.Image.Short()
	}
	return strings.Join(s.Releases, " and ")
}

// tendStore keeps the images beside the slots between the watermarks. What is above
// the higher one and cannot be helped is said once.
func (n *Node) tendStore(ctx context.Context) error {
	if n.cfg.StoreHigh.IsZero() {
		return nil
	}
	tick := time.NewTicker(n.time.meta)
	defer tick.Stop()
	told := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-n.stock.came:
		}
		if n.View() == nil {
			continue
		}
		over, err := n.collectAbove(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Warn("images not collected", "err", err)
			continue
		}
		if over > 0 && !told {
			n.log.Warn("above the store's high watermark, and everything here is needed", "bytes", over)
			n.note(Event{Kind: "store", Text: fmt.Sprintf("images are %d bytes above the low watermark, and all that is left here is needed; make room on the disk, or starling release rm VERSION", over)})
		}
		told = over > 0
	}
}

// collectAbove removes what nobody needs if the high watermark is passed, until the low
// one holds, and returns by how many bytes it still does not.
func (n *Node) collectAbove(ctx context.Context) (over int64, err error) {
	all, err := n.Stored()
	if err != nil || n.cfg.StoreHigh.over(all.Free, all.Disk, all.bytes()) <= 0 {
		return 0, err
	}
	out, err := n.collect(ctx, false, func(v *StoreView, s *StoredImage, gone int64) bool {
		return s.Needed == "" && n.cfg.StoreLow.over(v.Free, v.Disk, v.bytes())-gone > 0
	})
	if err != nil {
		return 0, err
	}
	return n.cfg.StoreLow.over(all.Free, all.Disk, all.bytes()) - out.Bytes, nil
}

func (v *StoreView) bytes() (sum int64) {
	for i := range v.Images {
		sum += v.Images[i].Bytes
	}
	return sum
}
