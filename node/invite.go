package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

var (
	// ErrNotOperator is returned for what only an operator's node can do: ask the
	// operator's laptop.
	ErrNotOperator = errors.New("node: not an operator's node; ask the operator's laptop")
	// ErrNotReady is returned while the node has not joined its swarm yet: wait
	// for Ready, Status says for what.
	ErrNotReady = errors.New("node: has not joined its swarm yet; wait, and see: starling status")
	// ErrRequest is wrapped by complaints about what was asked for.
	ErrRequest = errors.New("node: cannot be done like this")
)

const (
	// DefaultInviteLife is how long an invite counts if nothing else is asked.
	DefaultInviteLife = time.Hour
	// MaxInviteLife bounds it: an invite is a key.
	MaxInviteLife = 30 * 24 * time.Hour
)

// InviteRequest says what an invite shall be.
type InviteRequest struct {
	// Labels are what the robots will have.
	Labels map[string]string `json:"labels"`
	// Uses is how many robots may use it; 0 is one.
	Uses int `json:"uses"`
	// Seconds is how long it counts; 0 is DefaultInviteLife.
	Seconds int64 `json:"seconds"`
	// Role is "robot" (or empty) or "base".
	Role   string `json:"role"`
	NoVote bool   `json:"no_vote"`
	// Addresses are host:port of this node's bulk listener, as robots reach it;
	// empty is what the node knows of itself.
	Addresses []string `json:"addresses"`
}

// ask is what somebody wants done in the operator's goroutine, which alone signs
// rosters and writes in the book.
type ask struct {
	do   func(ctx context.Context, v *View) error
	done chan error // of depth 1
}

// asOperator runs do in the operator's goroutine with the newest view.
func (n *Node) asOperator(ctx context.Context, do func(ctx context.Context, v *View) error) error {
	if n.operator == nil {
		return ErrNotOperator
	}
	if !n.taking() {
		return ErrNotReady
	}
	a := ask{do, make(chan error, 1)}
	select {
	case n.operator.asks <- a:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer does what was asked; the operator's goroutine calls it.
func (o *operator) answer(ctx context.Context, a ask) {
	a.done <- a.do(ctx, o.n.keeper.View())
}

// Invite writes an invite into the operator's book and returns it.
func (n *Node) Invite(ctx context.Context, r InviteRequest) (*join.Invite, error) {
	var out *join.Invite
	err := n.asOperator(ctx, func(_ context.Context, v *View) error {
		i, err := n.newInvite(v, r)
		if err != nil {
			return err
		}
		out = i
		return n.operator.book.Add(i)
	})
	return out, err
}

func (n *Node) newInvite(v *View, r InviteRequest) (*join.Invite, error) {
	life := time.Duration(r.Seconds) * time.Second
	if life == 0 {
		life = DefaultInviteLife
	}
	if r.Seconds < 0 || r.Seconds > int64(MaxInviteLife/time.Second) {
		return nil, fmt.Errorf("%w: an invite for %d s: want up to %v", ErrRequest, r.Seconds, MaxInviteLife)
	}
	role := member.Robot
	switch r.Role {
	case "", member.Robot.String():
	case member.Base.String():
		role = member.Base
	default:
		return nil, fmt.Errorf(`%w: role %q: want "robot" or "base"`, ErrRequest, r.Role)
	}
	if len(r.Addresses) == 0 {
		self, ok := n.self(v)
		if !ok {
			return nil, fmt.Errorf("%w: this node does not know its own address; name one", ErrRequest)
		}
		r.Addresses = []string{net.JoinHostPort(self.Host, itoa(int(self.Bulk)))}
	}
	for _, a := range r.Addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, fmt.Errorf("%w: address %q: want host:port", ErrRequest, a)
		}
	}
	i, err := join.New(join.Invite{
		Swarm: v.Swarm, Root: v.Root, Operator: n.key(), Addrs: r.Addresses, Labels: r.Labels, Role: role, NoVote: r.NoVote,
		Expires: time.Now().Add(life).UTC().Truncate(time.Second), Uses: max(r.Uses, 1), Profile: cmp.Or(n.cfg.Profile, DefaultProfile),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return i, nil
}

// SetLabels changes labels of a member in the next roster: an empty value takes a
// label away. The platform is the robot's own word and stays.
func (n *Node) SetLabels(ctx context.Context, id member.ID, change map[string]string) error {
	return n.asOperator(ctx, func(ctx context.Context, v *View) error {
		m := v.Roster.ByID(id)
		if m == nil {
			return fmt.Errorf("%w: %q", ErrNoMember, id)
		}
		labels := maps.Clone(m.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		for k, val := range change {
			switch {
			case k == member.PlatformLabel:
				return fmt.Errorf("%w: label %s is what the robot says of itself", ErrRequest, k)
			case val == "":
				delete(labels, k)
			default:
				labels[k] = val
			}
		}
		next := nextRoster(v.Roster)
		next.Members[m.Index].Labels = labels
		if err := next.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrRequest, err)
		}
		if err := n.operator.signRoster(ctx, v, next); err != nil {
			return err
		}
		n.note(Event{Kind: "labels", Member: string(id), Text: fmt.Sprintf("%s is labelled %v", id, labels)})
		return nil
	})
}

// nextRoster is a copy whose members can be changed.
func nextRoster(r *member.Roster) *member.Roster {
	next := *r
	next.Members = append([]member.Member(nil), r.Members...)
	return &next
}

// TrustBytes is the encoded trust metadata that the node has verified, RosterBytes
// the sealed roster; nil before there is one.
func (n *Node) TrustBytes() []byte {
	if v := n.View(); v != nil && v.Trust != nil {
		return v.Trust.Bundle().Encode()
	}
	return nil
}

// RosterBytes is the sealed roster that the node has verified; nil before the first.
func (n *Node) RosterBytes() []byte {
	if v := n.View(); v != nil {
		return v.roster
	}
	return nil
}

// TakeTrust verifies new trust metadata and keeps it; the operator's goroutine then
// publishes it. It waits until the voters have it too, and reports whether they do
// when ctx ends. If another laptop was first, the error wraps ErrOvertaken and says what
// was not published; the others are those of package trust.
func (n *Node) TakeTrust(ctx context.Context, bundle []byte) (published bool, err error) {
	if n.operator == nil {
		return false, ErrNotOperator
	}
	if !n.taking() {
		return false, ErrNotReady
	}
	before := n.keeper.View()
	ours, err := openTrust(before, bundle)
	if err != nil {
		return false, err
	}
	if err := n.keeper.offerOwn(ctx, &join.MetaReply{Format: join.MetaFormat, Trust: bundle}); err != nil {
		return false, err
	}
	for {
		v := n.keeper.View()
		if v.Order == nil {
			return false, nil // the genesis will carry it
		}
		if v.Trust.Ref() != ours.Ref() && !goesOn(ours, v.Trust, before.Trust) {
			return false, fmt.Errorf("%w: %s", ErrOvertaken, lostTrust(ours, v.Trust))
		}
		if v.Order.Trust == v.Trust.Ref() || v.Order.Trust == ours.Ref() {
			return true, nil
		}
		select {
		case <-v.past:
		case <-ctx.Done():
			return false, nil
		}
	}
}

// openTrust verifies a bundle by itself.
func openTrust(v *View, bundle []byte) (*trust.Set, error) {
	b, err := trust.DecodeBundle(bundle)
	if err != nil {
		return nil, err
	}
	return trust.Open(v.Root, b, nil, v.floor())
}

// Document returns a plan, release, manifest or other document by its digest, from
// here or from another member. It is what the digest names, and not verified
// otherwise.
func (n *Node) Document(ctx context.Context, kind join.DocumentKind, digest string) ([]byte, error) {
	if !n.taking() {
		return nil, ErrNotReady
	}
	if kind.Limit() == 0 {
		return nil, fmt.Errorf("%w: document kind %q: %w", ErrRequest, kind, canonical.ErrMalformed)
	}
	d, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	return n.document(ctx, kind, d)
}

// SwarmOf is the swarm that a state directory belongs to, or ErrNotJoined.
func SwarmOf(path string) (string, error) {
	m, err := dir(path).membership()
	return m.Swarm, err
}
