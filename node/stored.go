package node

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/join"
	"github.com/starling-swarm/starling/node/update"
)

// StoreSchema is the schema of a StoreView.
const StoreSchema = "starling.store/v1"

// A StoreView is what images this node keeps beside its slots, oldest first.
type StoreView struct {
	Schema string        `json:"schema"`
	Free   int64         `json:"free_bytes"` // on the disk of the node's directory
	Disk   int64         `json:"disk_bytes"`
	Images []StoredImage `json:"images"`
}

// A StoredImage is one of them.
type StoredImage struct {
	Image    manifest.Digest `json:"image"`
	Releases []string        `json:"releases"` // "app 1.2 mk1" for each variant that it is, or the two of a pack
	Pack     bool            `json:"pack"`
	Bytes    int64           `json:"bytes"` // on the disk
	Since    time.Time       `json:"since"`
	Served   bool            `json:"served"`
	// Needed says who needs it; empty is nobody: then it may be collected.
	Needed string `json:"needed,omitempty"`
	must   bool   // it may not be removed by hand either
}

// A need is why an image is kept. What the swarm runs, goes to or goes back to must be;
// the rest may be removed by hand.
type need struct {
	why  string
	must bool
}

// Stored lists the images beside the slots.
func (n *Node) Stored() (*StoreView, error) {
	v := n.View()
	if v == nil {
		return nil, ErrNotReady
	}
	out := &StoreView{Schema: StoreSchema, Images: []StoredImage{}}
	var err error
	if out.Free, out.Disk, err = store.Disk(n.cfg.Dir); err != nil {
		return nil, err
	}
	images, _, err := n.imageDirs()
	if err != nil {
		return nil, err
	}
	uses, needs := n.uses(v)
	unknown := n.unknown(v.Order)
	for _, d := range images {
		s := StoredImage{Image: d, Releases: append([]string{}, uses[d]...), Served: n.stock.at(d) != nil, Needed: needs[d].why, must: needs[d].must}
		if len(uses[d]) == 0 {
			s.Needed = unknown
		}
		if n.stock.lent.has(d) && !s.must {
			s.Needed, s.must = "being exported", true
		}
		s.Pack = len(uses[d]) > 0 && strings.HasPrefix(uses[d][0], packWord)
		dir, _ := n.imagePaths(d)
		info, err := os.Stat(dir)
		if err == nil {
			s.Since = info.ModTime().UTC()
			s.Bytes, err = store.Size(dir)
		}
		if err != nil {
			return nil, fmt.Errorf("look at image %s: %w", d.Short(), err)
		}
		out.Images = append(out.Images, s)
	}
	slices.SortStableFunc(out.Images, func(a, b StoredImage) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// packWord begins what a pack is called among releases.
const packWord = "pack "

// uses says of each image what it is, and whether it is needed.
func (n *Node) uses(v *View) (uses map[manifest.Digest][]string, needs map[manifest.Digest]need) {
	uses, needs = map[manifest.Digest][]string{}, map[manifest.Digest]need{}
	all := n.knownReleases()
	for _, rel := range all {
		why := n.whyNeeded(v, rel)
		for _, variant := range rel.Variants {
			d := variant.Manifest
			uses[d] = append(uses[d], rel.Component+" "+rel.Version+" "+variant.Name)
			if old := needs[d]; why.why != "" && !n.inSlot(d) && (old.why == "" || why.must && !old.must) {
				needs[d] = why
			}
		}
	}
	for _, to := range all {
		for _, from := range all {
			n.packUses(v, from, to, uses, needs)
		}
	}
	return uses, needs
}

// packUses adds the packs from one release to another: they are needed like what they
// make, but can be made again.
func (n *Node) packUses(v *View, from, to *manifest.Release, uses map[manifest.Digest][]string, needs map[manifest.Digest]need) {
	if from.Component != to.Component || from.Counter == to.Counter {
		return
	}
	for i := range to.Variants {
		w := variantBefore(from, &to.Variants[i])
		if w == nil || w.Manifest == to.Variants[i].Manifest {
			continue
		}
		x, err := n.heldNotice(v, w.Manifest, to.Variants[i].Manifest)
		if err != nil {
			continue
		}
		uses[x.Pack] = append(uses[x.Pack], packWord+to.Component+" "+from.Version+" → "+to.Version+" "+to.Variants[i].Name)
		if why := n.whyNeeded(v, to).why; why != "" {
			needs[x.Pack] = need{why: why}
		}
	}
}

// knownReleases are those whose documents are here, by component and counter.
func (n *Node) knownReleases() []*manifest.Release {
	entries, err := os.ReadDir(n.dir.path("docs", string(join.ReleaseDocument)))
	if err != nil {
		return nil // none was ever put
	}
	var out []*manifest.Release
	for _, e := range entries {
		d, err := manifest.ParseDigest(e.Name())
		if err != nil {
			continue
		}
		if rel := n.releases.get(n.docs, d); rel != nil {
			out = append(out, rel)
		}
	}
	slices.SortFunc(out, func(a, b *manifest.Release) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Counter, b.Counter), cmp.Compare(a.Digest().String(), b.Digest().String()))
	})
	return out
}

// whyNeeded says who needs a release, as far as the order tells.
func (n *Node) whyNeeded(v *View, rel *manifest.Release) need {
	o, d := v.Order, rel.Digest()
	if o == nil {
		return need{why: "the swarm has not started"}
	}
	if r := o.Rollout; r != nil && !r.Status.Final() && (r.Release.Digest == d || r.From.Digest == d) {
		return need{fmt.Sprintf("rollout %d", r.ID), true}
	}
	c := o.Component(rel.Component)
	switch {
	case c == nil:
		return need{why: "nothing of this component runs yet"}
	case c.Active.Digest == d:
		return need{"active", true}
	case c.Previous.Digest == d:
		return need{"the way back from what is active", true}
	case o.Quarantined(d):
		return need{}
	case rel.Counter > c.Active.Counter:
		return need{why: "newer than what is active"}
	case n.mayGoBack(c.Active, d):
		return need{why: "a fallback of what is active"}
	case o.Rollout != nil && !o.Rollout.Status.Final() && o.Rollout.Component == rel.Component && n.mayGoBack(o.Rollout.Release, d):
		return need{why: "a fallback of what the swarm goes to"}
	}
	if n.isStone(v, c.Active, d) {
		return need{why: "a stepping stone to what is active"}
	}
	return need{}
}

// mayGoBack reports whether d is a fallback of a release; of one whose document is not
// here everything is.
func (n *Node) mayGoBack(from manifest.Ref, d manifest.Digest) bool {
	rel := n.releases.get(n.docs, from.Digest)
	return rel == nil || slices.ContainsFunc(rel.Fallbacks, func(f manifest.Ref) bool { return f.Digest == d })
}

// unknown says which release of the order has no document here, empty if all have: then
// nobody here can tell whether an image is of that release. It is asked for.
func (n *Node) unknown(o *order.Order) (why string) {
	if o == nil {
		return ""
	}
	var refs []manifest.Ref
	for _, c := range o.Components {
		refs = append(refs, c.Active, c.Previous)
	}
	if r := o.Rollout; r != nil && !r.Status.Final() {
		refs = append(refs, r.Release, r.From)
	}
	for _, r := range refs {
		if _, err := n.docs.get(join.ReleaseDocument, r.Digest); !r.Digest.IsZero() && err != nil {
			n.want(join.ReleaseDocument, r.Digest)
			why = "maybe of release " + r.Digest.Short() + ", whose document is not here"
		}
	}
	return why
}

// inSlot reports whether a slot of this robot has the whole image: it is served from
// there.
func (n *Node) inSlot(d manifest.Digest) bool { return n.slotImage(d) != nil }

// slotImage is the whole image with this digest in a slot of this robot, or nil.
func (n *Node) slotImage(d manifest.Digest) *store.Image {
	for _, r := range n.robots {
		for _, slot := range []update.Slot{update.A, update.B} {
			if img := r.images.at(slot); img != nil && img.Digest() == d && img.Sealed() && img.Complete() {
				return img
			}
		}
	}
	return nil
}

// ErrNoRelease is returned for a release that this node does not know; its list is
// that of Releases.
var ErrNoRelease = errors.New("node: no such release")

// releaseNamed finds a release whose document is here; of two that were never signed
// and go by one name, the one with the higher counter.
func (n *Node) releaseNamed(component, version string) (*manifest.Release, error) {
	if v := n.View(); v != nil && v.Trust != nil {
		if l, ok := v.Trust.Release(component, version); ok {
			if rel := n.releases.get(n.docs, l.Ref.Digest); rel != nil {
				return rel, nil
			}
		}
	}
	var found *manifest.Release
	for _, rel := range n.knownReleases() {
		if rel.Component == component && rel.Version == version {
			found = rel
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s %s is not here", ErrNoRelease, component, version)
	}
	return found, nil
}

// called is what people call a release: "app 1.2".
func called(r *manifest.Release) string { return r.Component + " " + r.Version }
