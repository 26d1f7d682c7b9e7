package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node/join"
)

// ErrOvertaken is returned for what was signed here against trust metadata or a roster
// that another laptop replaced first. Sign it again: it is then made from what is
// current.
var ErrOvertaken = errors.New("node: another laptop was first")

// storedBase is the file "trust-base": it says that the metadata with this digest was
// taken before any order named it, and what the swarm went by then. Of other
// metadata in the file "trust" it says nothing.
type storedBase struct {
	Format    uint            `cbor:"0,keyasint"`
	Undecided manifest.Digest `cbor:"1,keyasint"`
	Base      []byte          `cbor:"2,keyasint"` // encoded bundle; empty if none was decided before
}

// takeTrust takes trust metadata that the newest order names, or that was made here,
// or any before there are orders. Publishing is compare-and-swap: of two operators who
// publish at once the order names one, and the other's metadata gives way, here too.
func (k *keeper) takeTrust(r *join.MetaReply, keep bool) error {
	if len(r.Trust) == 0 || (k.bundle != nil && manifest.Sum(r.Trust) == k.bundle.Digest()) {
		return nil
	}
	b, err := trust.DecodeBundle(r.Trust)
	if err != nil {
		return err
	}
	if k.bundle != nil && k.ledger != nil {
		switch {
		case k.ledger.Newest().Order.Trust.Digest == b.Digest():
			return k.takeNamedTrust(b, keep)
		case !k.own:
			// Not decided (yet). Kept, so that a voter can look at it.
			if _, err := trust.Open(k.now.Root, b, nil, k.now.floor()); err != nil {
				return fmt.Errorf("trust metadata refused: %w", err)
			}
			_, err := k.docs.put(join.TrustDocument, r.Trust)
			return err
		}
	}
	s, err := trust.Open(k.now.Root, b, k.bundle, k.now.floor())
	if err != nil {
		return fmt.Errorf("trust metadata refused: %w", err)
	}
	if !keep { // read back, and loadBase knows whether it is decided
		k.bundle, k.now.Trust = b, s
		return nil
	}
	base := k.base
	if k.bundle != nil && !k.undecided {
		base = k.bundle
	}
	if err := k.saveBase(b, base); err != nil {
		return err
	}
	if err := k.saveTrust(b); err != nil {
		return err
	}
	k.bundle, k.now.Trust, k.undecided, k.base = b, s, true, base
	return nil
}

// takeNamedTrust takes what the newest order names. It must go on from what was
// decided before, not from what was only signed here; the latter stays if it goes on
// from b, and else is lost.
func (k *keeper) takeNamedTrust(b *trust.Bundle, keep bool) error {
	if k.undecided && k.base != nil && k.base.Digest() == b.Digest() {
		return nil // what is here was made from it, and waits to be decided
	}
	before := k.bundle
	if k.undecided {
		before = k.base
	}
	s, err := trust.Open(k.now.Root, b, before, k.now.floor())
	if err != nil {
		return fmt.Errorf("trust metadata refused: %w", err)
	}
	ours, base := k.now.Trust, k.baseSet()
	if k.undecided && goesOn(s, ours, base) {
		if keep {
			if err := k.saveBase(k.bundle, b); err != nil {
				return err
			}
			if _, err := k.docs.put(join.TrustDocument, b.Encode()); err != nil {
				return err
			}
		}
		k.base = b
		return nil
	}
	if keep {
		if err := k.saveTrust(b); err != nil {
			return err
		}
	}
	lost := k.undecided && !goesOn(ours, s, base)
	k.bundle, k.now.Trust = b, s
	if lost && k.lost != nil {
		k.lost(Event{Kind: "not-published", Member: string(k.now.ID), Text: lostTrust(ours, s)})
	}
	return k.decided()
}

// settleTrust notes that an order names the metadata that is here.
func (k *keeper) settleTrust(*join.MetaReply, bool) error {
	if !k.undecided || k.ledger == nil || k.ledger.Newest().Order.Trust.Digest != k.bundle.Digest() {
		return nil
	}
	return k.decided()
}

// decided ends the time in which the metadata here was ours alone.
func (k *keeper) decided() error {
	k.undecided, k.base = false, nil
	return clearFile(k.dir.path("trust-base"))
}

func (k *keeper) saveTrust(b *trust.Bundle) error {
	if _, err := k.docs.put(join.TrustDocument, b.Encode()); err != nil {
		return err
	}
	return durable.WriteFile(k.dir.path("trust"), b.Encode(), 0o600)
}

// saveBase is called before saveTrust: without power in between, it names metadata
// that is not there, and says nothing.
func (k *keeper) saveBase(undecided, base *trust.Bundle) error {
	s := storedBase{Format: 1, Undecided: undecided.Digest(), Base: []byte{}}
	if base != nil {
		s.Base = base.Encode()
	}
	return durable.WriteFile(k.dir.path("trust-base"), canonical.Encode(s), 0o600)
}

// loadBase reads what saveBase wrote about the metadata in stored. What cannot be read
// makes that count as decided, which protects best from going back.
func (k *keeper) loadBase(stored []byte) error {
	data, err := optional(k.dir.path("trust-base"))
	if err != nil {
		return fmt.Errorf("read trust-base: %w", err)
	}
	if len(data) == 0 {
		return nil
	}
	var s storedBase
	err = canonical.DecodeFormat(data, trust.MaxBundleBytes+1<<10, "trust base", 1, &s)
	var base *trust.Bundle
	if err == nil && len(s.Base) > 0 {
		base, err = trust.DecodeBundle(s.Base)
	}
	if err == nil && base != nil {
		_, err = trust.Open(k.now.Root, base, nil, k.now.floor())
	}
	if err != nil {
		k.log.Error("trust-base unreadable, what was signed here counts as decided", "err", err)
		return nil
	}
	if s.Undecided == manifest.Sum(stored) {
		k.undecided, k.base = true, base
	}
	return nil
}

// baseSet is base as a set, or nil.
func (k *keeper) baseSet() *trust.Set {
	if k.base == nil {
		return nil
	}
	s, err := trust.Open(k.now.Root, k.base, nil, k.now.floor())
	if err != nil {
		k.log.Error("the trust metadata before this one does not open any more", "err", err)
		return nil
	}
	return s
}

// goesOn reports whether next takes up all that prev says: its versions go on from
// prev's, it lists every release that prev lists, and the roles are those of prev
// unless prev left them as they were in base. Without base (nil) they must be equal.
func goesOn(prev, next, base *trust.Set) bool {
	_, err := trust.Open(prev.Root(), next.Bundle(), prev.Bundle(), prev.SignedAt())
	return err == nil && len(unlisted(prev, next)) == 0 && (sameRoles(prev, next) || (base != nil && sameRoles(prev, base)))
}

func sameRoles(a, b *trust.Set) bool {
	return slices.Equal(canonical.Encode(a.Roles()), canonical.Encode(b.Roles()))
}

// unlisted are the releases that in lists and from does not.
func unlisted(in, from *trust.Set) []trust.Listed {
	there := from.Releases()
	return slices.DeleteFunc(in.Releases(), func(l trust.Listed) bool { return slices.Contains(there, l) })
}

// lostTrust says what of ours the swarm's metadata does not have, and what to do.
func lostTrust(ours, swarms *trust.Set) string {
	var names []string
	for _, l := range unlisted(ours, swarms) {
		names = append(names, l.Ref.Version+" of "+l.Component)
	}
	const more = 4 // a line for people
	switch n := len(names); {
	case n == 0 && !sameRoles(ours, swarms):
		names = []string{"a change of roles"}
	case n == 0:
		names = []string{"trust metadata that was signed here"}
	case n > more:
		names = append(names[:more], fmt.Sprintf("%d more", n-more))
	}
	was := " was"
	if len(names) > 1 {
		was = " were"
	}
	return strings.Join(names, ", ") + was + " not published: another laptop published first; publish it again"
}
