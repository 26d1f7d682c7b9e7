package rollout

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

const setVotersDomain = "starling/set-voters/1\x00"

// SetVoters changes one seat: Remove leaves, Add enters; either may be absent.
//
// Nobody but the voters themselves may want it: the old and the new ones must
// certify the order, and if a leader could make all replicas apply a change that
// they then refuse to sign, nothing would ever be certified again. So they say
// yes first, and Apply asks for it.
type SetVoters struct {
	Remove *member.Index `cbor:"0,keyasint"`
	Add    *order.Voter  `cbor:"1,keyasint"`
	// Endorsed are the words of at least order.Quorum of the voters that there are
	// before the change, sorted by key, each key once: see Endorse.
	Endorsed []envelope.Signature `cbor:"2,keyasint"`
}

// Endorse adds the word of the voter with key priv for this change of the voters
// of s, or replaces it. It holds as long as s has these voters and this roster. A
// voter gives it only for what it will sign once it is applied: the one that enters
// may vote by that roster, is prepared and within reach, and s.Electorate is certified.
func (c *SetVoters) Endorse(s *State, priv ed25519.PrivateKey) {
	sig := envelope.Signature{Key: envelope.KeyOf(priv)}
	copy(sig.Sig[:], ed25519.Sign(priv, c.signed(s)))
	c.insert(sig)
}

// TakeEndorsement adds what a voter of s answered. It returns ErrElectorate for what
// does not count: one wrong word among the others would make Apply refuse all.
func (c *SetVoters) TakeEndorsement(s *State, sig envelope.Signature) error {
	if err := c.counts(s, c.signed(s), sig); err != nil {
		return err
	}
	c.insert(sig)
	return nil
}

func (c *SetVoters) insert(sig envelope.Signature) {
	at, found := slices.BinarySearchFunc(c.Endorsed, sig, byKey)
	if found {
		c.Endorsed[at] = sig
	} else {
		c.Endorsed = slices.Insert(c.Endorsed, at, sig)
	}
}

// Endorsable says why s would refuse the change even if all voters endorsed it;
// nil if it would not. It changes nothing.
func (c *SetVoters) Endorsable(s *State) error { return s.Clone().reseat(c) }

// signed is what an endorsement covers: the change, and all that it was judged by.
func (c *SetVoters) signed(s *State) []byte {
	return append([]byte(setVotersDomain), canonical.Encode([]any{s.Swarm, s.Generation, s.Electorate.Version, s.Roster, c.Remove, c.Add})...)
}

func byKey(a, b envelope.Signature) int { return bytes.Compare(a.Key[:], b.Key[:]) }

// endorsed reports why the voters of s have not endorsed the change. What does not
// count may not be there: one wrong signature refuses all.
func (c *SetVoters) endorsed(s *State) error {
	if n := len(c.Endorsed); n > order.MaxVoters {
		return fmt.Errorf("%w: %d endorsements, more than %d voters could give", ErrElectorate, n, order.MaxVoters)
	}
	msg := c.signed(s)
	for i, sig := range c.Endorsed {
		if i > 0 && byKey(c.Endorsed[i-1], sig) >= 0 {
			return fmt.Errorf("%w: an endorsement stands twice or out of order", ErrElectorate)
		}
		if err := c.counts(s, msg, sig); err != nil {
			return err
		}
	}
	if n, q := len(c.Endorsed), order.Quorum(len(s.Electorate.Voters)); n < q {
		return fmt.Errorf("%w: %d of %d voters have endorsed it, it takes %d", ErrElectorate, n, len(s.Electorate.Voters), q)
	}
	return nil
}

// counts says why sig is no word of a voter of s for msg, which c.signed returned.
func (c *SetVoters) counts(s *State, msg []byte, sig envelope.Signature) error {
	switch {
	case s.Electorate.Seat(sig.Key) < 0:
		return fmt.Errorf("%w: key %s endorses and has no seat", ErrElectorate, sig.Key.Short())
	case !ed25519.Verify(sig.Key[:], msg, sig.Sig[:]):
		return fmt.Errorf("%w: voter %s has not endorsed this change of electorate %d under roster %d", ErrElectorate, sig.Key.Short(), s.Electorate.Version, s.Roster.Epoch)
	}
	return nil
}

// minVoters is what an electorate may shrink to by removing alone: three survive
// one crash. Smaller swarms swap, or start a new generation.
const minVoters = 3

// setVoters changes one seat. Adding alone grows the electorate up to
// order.MaxVoters; removing alone shrinks it down to minVoters; both together
// swap one seat, also for the same member under a new server id.
func (s *State) setVoters(d *SetVoters) error {
	if err := d.endorsed(s); err != nil {
		return err
	}
	return s.reseat(d)
}

// reseat changes the seat, whoever asks for it.
func (s *State) reseat(d *SetVoters) error {
	old := s.Electorate.Voters
	voters := slices.Clone(old)
	if d.Remove == nil && d.Add == nil {
		return fmt.Errorf("%w: no change", ErrElectorate)
	}
	if d.Remove != nil {
		voters = slices.DeleteFunc(voters, func(v order.Voter) bool { return v.Member == *d.Remove })
		if len(voters) == len(old) {
			return fmt.Errorf("%w: member %d does not vote", ErrElectorate, *d.Remove)
		}
	}
	if d.Add != nil {
		if err := s.mayVote(d.Add, old, voters); err != nil {
			return err
		}
		voters = append(voters, *d.Add)
		slices.SortFunc(voters, func(a, b order.Voter) int { return cmp.Compare(a.Member, b.Member) })
	}
	if len(voters) > order.MaxVoters || len(voters) < min(minVoters, len(old)) {
		return fmt.Errorf("%w: from %d voters to %d; the bounds are %d and %d, and smaller ones only swap", ErrElectorate, len(old), len(voters), minVoters, order.MaxVoters)
	}
	s.Electorate = order.Electorate{Version: s.Electorate.Version + 1, Voters: voters}
	return s.fits()
}

// mayVote says why v cannot take a seat beside voters.
func (s *State) mayVote(v *order.Voter, old, voters []order.Voter) error {
	if v.Key.IsZero() || v.Server == "" || len(v.Server) > 48 || v.Member >= member.MaxMembers {
		return fmt.Errorf("%w: voter %d has no key or server id", ErrElectorate, v.Member)
	}
	for _, w := range voters {
		if w.Member == v.Member || w.Key == v.Key {
			return fmt.Errorf("%w: member %d votes already", ErrElectorate, w.Member)
		}
	}
	for _, w := range old {
		if w.Server == v.Server {
			return fmt.Errorf("%w: server id %q is taken; one that lost its log needs a new id", ErrElectorate, v.Server)
		}
	}
	if r := s.Rollout; r != nil && !r.Status.Final() && !s.Electorate.Has(v.Member) && union(r.Open, s.flying()).Has(int(v.Member)) {
		return fmt.Errorf("%w: member %d is switching releases and cannot become a voter now; take another", ErrBusy, v.Member)
	}
	return nil
}
