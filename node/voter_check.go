package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// maxAhead is how far an order's time may be ahead of a voter's own idea of it.
const maxAhead = rollout.MaxAheadSeconds * time.Second

// check decides whether this voter signs next: only what it could verify itself.
//
// The state cannot go back, so whatever is refused here must be something that
// honest members can mend: a time is stamped anew, a document comes, a report gets
// observed. What no one could mend, Apply must refuse. Documents are therefore
// those that next names, not those that this node holds newest by now.
func (w *voter) check(prev, next *rollout.State) error {
	v := w.n.keeper.View()
	if err := checkTime(v, next); err != nil {
		return err
	}
	if v.Trust == nil {
		return errors.New("no trust metadata yet")
	}
	listed := v.Trust
	if prev.Trust != next.Trust {
		var err error
		if listed, err = w.checkTrust(v, next); err != nil {
			return err
		}
	}
	if prev.Roster != next.Roster || prev.Electorate.Version != next.Electorate.Version {
		roster, err := w.rosterOf(v, next.Roster, v.Trust, listed)
		if err != nil {
			return err
		}
		if err := checkVoters(roster, prev, next); err != nil {
			return err
		}
	}
	if next.Rollout == nil {
		return nil
	}
	if prev.Rollout == nil || prev.Rollout.ID != next.Rollout.ID {
		if err := w.checkStart(v, next.Rollout); err != nil {
			return err
		}
	}
	return w.checkWithheld(v, next)
}

// checkTime refuses a time that is ahead of this voter's, or below what a quorum
// has certified: another decision, with a true stamp, mends both.
func checkTime(v *View, next *rollout.State) error {
	at := time.Unix(next.OrderTime, 0)
	if at.After(v.now().Add(maxAhead)) {
		return fmt.Errorf("%w: %s", consensus.ErrAhead, at.UTC().Format(time.RFC3339))
	}
	if o := v.Order; o != nil && o.Pointer().Before(order.Pointer{Generation: next.Generation, Index: next.OrderIndex}) && next.OrderTime < o.Time {
		return fmt.Errorf("the order's time %s is before that of %s, %s", at.UTC().Format(time.RFC3339), o.Pointer(), time.Unix(o.Time, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// checkTrust verifies trust metadata that is to become the swarm's against what is,
// and that the roles are those it delegates.
func (w *voter) checkTrust(v *View, next *rollout.State) (*trust.Set, error) {
	set, err := w.trustOf(v, next.Trust.Digest, v.Trust.Bundle())
	if err != nil {
		return nil, err
	}
	if set.Ref() != next.Trust {
		return nil, errors.New("the trust metadata has other versions than the decision says")
	}
	if string(canonical.Encode(set.Roles())) != string(canonical.Encode(next.Roles)) {
		return nil, errors.New("the roles are not those of the trust metadata")
	}
	return set, nil
}

// trustOf is the trust metadata with this digest, verified; not older than stored
// unless that is nil.
func (w *voter) trustOf(v *View, d manifest.Digest, stored *trust.Bundle) (*trust.Set, error) {
	if v.Trust.Ref().Digest == d {
		return v.Trust, nil
	}
	doc, err := w.n.docs.get(join.TrustDocument, d)
	if err != nil {
		w.n.want(join.TrustDocument, d)
		return nil, fmt.Errorf("the trust metadata is not here yet: %w", err)
	}
	b, err := trust.DecodeBundle(doc)
	if err != nil {
		return nil, err
	}
	return trust.Open(v.Root, b, stored, v.floor())
}

// rosterOf is the roster that ref names, signed by a key that one of the sets
// delegates to.
func (w *voter) rosterOf(v *View, ref order.RosterRef, sets ...*trust.Set) (*member.Roster, error) {
	if v.RosterRef == ref && v.Roster != nil {
		return v.Roster, nil
	}
	doc, err := w.n.docs.get(join.RosterDocument, ref.Digest)
	if err != nil {
		w.n.want(join.RosterDocument, ref.Digest)
		return nil, fmt.Errorf("the roster is not here yet: %w", err)
	}
	var errs []error
	for _, s := range sets {
		r, e, err := member.OpenRoster(doc, v.Swarm, s.Roles().Roster)
		switch {
		case err != nil:
			errs = append(errs, err)
		case e.Digest() != ref.Digest || r.Epoch != ref.Epoch:
			return nil, errors.New("the roster is another one than the decision says")
		default:
			return r, nil
		}
	}
	return nil, errors.Join(errs...)
}

// checkVoters lets only members of the roster who may vote into the electorate. A
// quorum has endorsed the change under this very roster: see rollout.SetVoters.
func checkVoters(roster *member.Roster, prev, next *rollout.State) error {
	for _, s := range next.Electorate.Voters {
		if prev.Electorate.Has(s.Member) && prev.Electorate.Seat(s.Key) >= 0 {
			continue
		}
		if m := roster.At(s.Member); m == nil || m.Key != s.Key || m.NoVote {
			return fmt.Errorf("member %d may not vote, by the roster", s.Member)
		}
	}
	return nil
}

// checkStart repeats what the operator did: the release is listed by the owner, and
// the extract is what the roster says.
func (w *voter) checkStart(v *View, r *rollout.Rollout) error {
	doc, err := w.n.docs.get(join.ReleaseDocument, r.Plan.Release.Digest)
	if err != nil {
		w.n.want(join.ReleaseDocument, r.Plan.Release.Digest)
		return fmt.Errorf("the release is not here yet: %w", err)
	}
	listed, err := w.trustOf(v, r.Extract.Trust, nil)
	if err != nil {
		return err
	}
	rel, err := listed.VerifyRelease(doc)
	if err != nil {
		return err
	}
	roster, err := w.rosterOf(v, r.Extract.Roster, listed, v.Trust)
	if err != nil {
		return err
	}
	x, err := rollout.NewExtract(&r.Plan, rel, roster, r.Extract.Roster, r.Extract.Trust)
	if err != nil {
		return err
	}
	if x.Digest() != r.Extract.Digest() {
		return errors.New("the extract is not what the roster says")
	}
	return nil
}

// checkWithheld refuses while this voter holds a signed failure that the state
// lacks: a leader must not pass a gate by leaving reports out. What the state could
// not observe, for the robot has another key there, does not count.
func (w *voter) checkWithheld(v *View, next *rollout.State) error {
	r := next.Rollout
	for _, i := range r.Opened.All() {
		f, ok := w.n.health.failure(member.Index(i), r.Plan.Component)
		if !ok || !next.Lacks(&f.Health) {
			continue
		}
		if _, _, err := member.OpenHealth(f.Sealed, v.Swarm, r.Extract.Key); err == nil {
			return fmt.Errorf("the leader leaves out that member %d failed: %s", i, f.Reason)
		}
	}
	return nil
}
