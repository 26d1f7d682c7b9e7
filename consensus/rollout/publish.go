package rollout

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// publish makes a new roster or new trust metadata the swarm's, if what the
// operator expected is still current.
func (s *State) publish(data []byte) error {
	var p Publish
	if _, err := open(data, envelope.Publish, s.Swarm, s.Roles.Plan, PublishFormat, &p); err != nil {
		return err
	}
	if p.Format != PublishFormat || p.Swarm != s.Swarm {
		return fmt.Errorf("%w: publish of format %d for swarm %q", ErrDecision, p.Format, p.Swarm)
	}
	if p.ExpectTrust != s.Trust.Digest || p.ExpectRoster != s.Roster.Digest {
		return fmt.Errorf("%w: somebody else published first: now trust metadata %d.%d (%s) and roster %d (%s) are current; fetch them and publish again",
			ErrStale, s.Trust.Root, s.Trust.Targets, s.Trust.Digest.Short(), s.Roster.Epoch, s.Roster.Digest.Short())
	}
	if err := s.mayPublish(&p); err != nil {
		return err
	}
	s.Trust, s.Roster, s.Roles = p.Trust, p.Roster, p.Roles
	return s.fits()
}

// mayPublish refuses to go back to lower versions, to have two documents under one
// version, and to lock everybody out.
func (s *State) mayPublish(p *Publish) error {
	t, u := s.Trust, p.Trust
	if u.Root < t.Root || u.Timestamp < t.Timestamp || u.Snapshot < t.Snapshot || u.Targets < t.Targets || p.Roster.Epoch < s.Roster.Epoch {
		return fmt.Errorf("%w: versions would go back: trust %d.%d.%d.%d after %d.%d.%d.%d, roster %d after %d", ErrForbidden,
			u.Root, u.Timestamp, u.Snapshot, u.Targets, t.Root, t.Timestamp, t.Snapshot, t.Targets, p.Roster.Epoch, s.Roster.Epoch)
	}
	sameTrust := u.Root == t.Root && u.Timestamp == t.Timestamp && u.Snapshot == t.Snapshot && u.Targets == t.Targets
	if sameTrust != (u.Digest == t.Digest) || (p.Roster.Epoch == s.Roster.Epoch) != (p.Roster.Digest == s.Roster.Digest) {
		return fmt.Errorf("%w: two documents with one version", ErrForbidden)
	}
	if u.Digest.IsZero() || p.Roster.Digest.IsZero() {
		return fmt.Errorf("%w: publishes nothing", ErrDecision)
	}
	if u == t {
		if p.Roster == s.Roster {
			return fmt.Errorf("%w: trust metadata and roster are current already", ErrOldNews)
		}
		if !bytesEqual(p.Roles, s.Roles) {
			return fmt.Errorf("%w: roles change only with the trust metadata that delegates to them", ErrForbidden)
		}
	}
	if p.Roles.Plan.Threshold == 0 || p.Roles.Roster.Threshold == 0 || p.Roles.Genesis.Threshold == 0 {
		return fmt.Errorf("%w: nobody could sign for role plan, roster or genesis any more", ErrForbidden)
	}
	if err := p.Roles.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return nil
}

func bytesEqual(a, b any) bool { return slices.Equal(canonical.Encode(a), canonical.Encode(b)) }

// raiseLevel raises the feature level by one, if every voter has announced that it
// can read it: reports holds a health report of each.
func (s *State) raiseLevel(level uint, reports [][]byte) error {
	if level != s.Level+1 {
		return fmt.Errorf("%w: level %d after %d", ErrDecision, level, s.Level)
	}
	if len(reports) > order.MaxVoters {
		return fmt.Errorf("%w: %d reports of %d voters", ErrDecision, len(reports), len(s.Electorate.Voters))
	}
	announced := map[envelope.Key]bool{}
	for _, data := range reports {
		h, e, err := member.OpenHealth(data, s.Swarm, s.voterKey)
		if err != nil {
			return err
		}
		if k, _ := e.Signer(); h.Level >= level {
			announced[k] = true
		}
	}
	for _, v := range s.Electorate.Voters {
		if !announced[v.Key] {
			return fmt.Errorf("%w: voter %d has not announced level %d", ErrNotYet, v.Member, level)
		}
	}
	if level > order.Level {
		return fmt.Errorf("%w: every voter, this one too, has announced level %d, and this build knows %d", ErrTooNew, level, order.Level)
	}
	s.Level = level
	return nil
}

func (s *State) voterKey(i member.Index) envelope.Key {
	for _, v := range s.Electorate.Voters {
		if v.Member == i {
			return v.Key
		}
	}
	return envelope.Key{}
}
