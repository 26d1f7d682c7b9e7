package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

const maxProposeBytes = rollout.MaxDecisionBytes + 64

// ErrNoQuorum is returned when no leader was found in time: too few voters are
// reachable. Status says who votes.
var ErrNoQuorum = errors.New("node: no leader; too few voters are reachable from here")

// ErrProposal is returned for a decision that the voters refused; the text has
// their reason.
var ErrProposal = errors.New("node: refused by the swarm")

// errRepeated says that the swarm has applied this very intent before.
var errRepeated = errors.New("said before")

// proposal is a request of proposeProtocol.
type proposal struct {
	Format   uint   `cbor:"0,keyasint"`
	Decision []byte `cbor:"1,keyasint"`
}

// verdict is its answer.
type verdict struct {
	Format uint         `cbor:"0,keyasint"`
	Code   verdictCode  `cbor:"1,keyasint"`
	Text   string       `cbor:"2,keyasint"`
	Leader member.Index `cbor:"3,keyasint"` // with notLeader; of the asked voter's belief
	Known  bool         `cbor:"4,keyasint"` // whether Leader means anything
}

type verdictCode uint8

const (
	applied   verdictCode = 0
	refused   verdictCode = 1
	notLeader verdictCode = 2
	repeated  verdictCode = 3 // this very intent was applied before
)

// propose brings a decision that proves itself (a start, an intent, a publish, a
// report) to the leader, wherever that is. It returns nil once the decision is
// applied; ErrProposal with the reason if it does not hold.
func (n *Node) propose(ctx context.Context, d *rollout.Decision) error {
	return n.insist(ctx, func(v *View) error { return n.proposeOnce(ctx, v, d) })
}

// insist asks once after once until the answer is final. An answer may be lost: of an
// intent that was applied before, after such an ask, it is the first ask that counted.
func (n *Node) insist(ctx context.Context, once func(*View) error) error {
	last, tried := errNoVoter, false
	for {
		v := n.keeper.View()
		if v.Electorate != nil {
			err := once(v)
			if errors.Is(err, errRepeated) && tried {
				return nil
			}
			if err == nil || errors.Is(err, ErrProposal) {
				return err
			}
			last, tried = err, true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNoQuorum, last)
		case <-time.After(n.time.retry):
		}
	}
}

// proposeOnce asks each voter, following hints, until one leads.
func (n *Node) proposeOnce(ctx context.Context, v *View, d *rollout.Decision) error {
	request := canonical.Encode(proposal{Format: 1, Decision: d.Encode()})
	asked := map[member.Index]bool{}
	queue := make([]order.Voter, len(v.Electorate.Voters))
	copy(queue, v.Electorate.Voters)
	var errs []error
	for len(queue) > 0 {
		to := queue[0]
		queue = queue[1:]
		if asked[to.Member] {
			continue
		}
		asked[to.Member] = true
		a, err := n.askToPropose(ctx, v, to, request)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", v.nameOf(to.Member), err))
		case a.Code == applied:
			return nil
		case a.Code == repeated:
			return fmt.Errorf("%w: %w: %s", ErrProposal, errRepeated, a.Text)
		case a.Code == refused:
			return fmt.Errorf("%w: %s", ErrProposal, a.Text)
		case a.Known && !asked[a.Leader]:
			for _, w := range v.Electorate.Voters {
				if w.Member == a.Leader {
					queue = append([]order.Voter{w}, queue...)
				}
			}
		}
	}
	return errors.Join(append(errs, errors.New("nobody leads"))...)
}

func (n *Node) askToPropose(ctx context.Context, v *View, to order.Voter, request []byte) (verdict, error) {
	var data []byte
	var err error
	if to.Member == v.Self {
		data, err = n.answerPropose(ctx, n.key(), request)
	} else {
		data, err = n.ask(ctx, to.Key, proposeProtocol, request, 2<<10)
	}
	var a verdict
	if err == nil {
		err = canonical.DecodeFormat(data, 2<<10, "verdict", 1, &a)
	}
	return a, err
}

// answerPropose takes a decision of another member to the log, if this node leads.
// Only decisions that carry their own proof are taken; what the leader's machine
// proposes by itself is not taken from others.
func (n *Node) answerPropose(ctx context.Context, peer envelope.Key, request []byte) ([]byte, error) {
	var p proposal
	if err := canonical.DecodeFormat(request, maxProposeBytes, "proposal", 1, &p); err != nil {
		return nil, err
	}
	d, err := rollout.DecodeDecision(p.Decision)
	if err != nil {
		return nil, err
	}
	a := verdict{Format: 1}
	switch d.Kind {
	case rollout.KindStart, rollout.KindIntent, rollout.KindPublish, rollout.KindReport:
		a = n.proposeHere(ctx, d)
	default:
		a.Code, a.Text = refused, fmt.Sprintf("a %s is not taken from others", d.Kind)
	}
	n.log.Info("proposal", "kind", d.Kind, "peer", peer.Short(), "verdict", a.Code, "reason", a.Text)
	return canonical.Encode(a), nil
}

func (n *Node) proposeHere(ctx context.Context, d *rollout.Decision) verdict {
	a := verdict{Format: 1, Code: notLeader}
	r := n.voter.replica.Load()
	if r == nil {
		a.Text = "not a voter"
		return a
	}
	if !r.IsLeader() {
		l, ok := r.Leader()
		a.Leader, a.Known, a.Text = l.Member, ok, "not the leader"
		return a
	}
	if lags(n.keeper.View(), r.State(), d.Kind) {
		a.Text = "leads, but has not got the swarm's trust metadata yet"
		return a
	}
	if err := n.proves(d); err != nil { // before anything of it is kept
		a.Code, a.Text = refused, clip(err.Error(), 1<<10)
		return a
	}
	if d.Start != nil { // so that this voter can check what it is to sign
		if _, err := n.docs.put(join.ReleaseDocument, d.Start.Release); err == nil {
			_, err = n.docs.put(join.PlanDocument, d.Start.Plan)
			if err != nil {
				n.log.Warn("plan not kept", "err", err)
			}
		}
	}
	d.Time = n.keeper.View().now().Unix()
	err := r.Propose(ctx, d)
	var elsewhere consensus.ErrNotLeader
	switch {
	case err == nil:
		a.Code = applied
	case errors.As(err, &elsewhere):
		a.Leader, a.Known, a.Text = elsewhere.Leader.Member, elsewhere.Leader.Server != "", err.Error()
	case errors.Is(err, rollout.ErrSeen):
		a.Code, a.Text = repeated, clip(err.Error(), 1<<10)
	case errors.Is(err, consensus.ErrRefused):
		a.Code, a.Text = refused, clip(err.Error(), 1<<10)
	default:
		a.Text = clip(err.Error(), 1<<10)
	}
	return a
}

// lags reports whether this node cannot judge a start yet: the trust metadata that the
// swarm goes by is on its way here. The proposer asks again.
func lags(v *View, s *rollout.State, k rollout.Kind) bool {
	return k == rollout.KindStart && (v.Trust == nil || v.Trust.Ref().Digest != s.Trust.Digest)
}

// proves reports whether a decision of another member carries the signatures that
// it must; Apply looks at them again.
func (n *Node) proves(d *rollout.Decision) error {
	v := n.keeper.View()
	signed := func(data []byte, k envelope.Kind, keys envelope.Keys, scope string) error {
		e, err := envelope.Decode(data, k)
		if err != nil {
			return err
		}
		return e.Verify(scope, keys)
	}
	swarm := envelope.SwarmScope(v.Swarm)
	switch d.Kind {
	case rollout.KindStart:
		if d.Start == nil || v.Trust == nil {
			return errors.New("a start with nothing in it")
		}
		_, err := v.Trust.VerifyRelease(d.Start.Release)
		return errors.Join(err, signed(d.Start.Plan, envelope.Plan, v.roles().Plan, swarm), signed(d.Start.Intent, envelope.Intent, v.roles().Plan, swarm))
	case rollout.KindIntent:
		return signed(d.Intent, envelope.Intent, v.roles().Plan, swarm)
	case rollout.KindPublish:
		return signed(d.Publish, envelope.Publish, v.roles().Plan, swarm)
	case rollout.KindReport:
		return signed(d.Report, envelope.Report, v.roles().Report, envelope.TrustScope(v.Root))
	}
	return fmt.Errorf("a %s is not taken from others", d.Kind)
}

// release returns a release that the owner has signed, from here or from others.
func (n *Node) release(ctx context.Context, v *View, ref manifest.Ref) (*manifest.Release, error) {
	doc, err := n.document(ctx, join.ReleaseDocument, ref.Digest)
	if err != nil {
		return nil, err
	}
	return v.Trust.VerifyRelease(doc)
}

// plan returns the plan with this digest, verified against the operator's keys.
func (n *Node) plan(ctx context.Context, v *View, d manifest.Digest) (*rollout.Plan, error) {
	doc, err := n.document(ctx, join.PlanDocument, d)
	if err != nil {
		return nil, err
	}
	p, _, err := rollout.OpenPlan(doc, v.Swarm, v.roles().Plan)
	n.heed() // it may have come just now
	return p, err
}

// answerHalt takes a halt token.
func (n *Node) answerHalt(ctx context.Context, _ envelope.Key, request []byte) ([]byte, error) {
	return nil, n.keeper.offer(ctx, &join.MetaReply{Halt: request})
}
