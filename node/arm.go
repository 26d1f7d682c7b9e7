package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/update"
)

const maxArmBytes = 640

// ErrNoAck is returned when no voter confirmed that this robot's order is still
// the newest: it does not switch, and asks again.
var ErrNoAck = errors.New("node: no voter confirms the order")

// errBehind says that a robot and a voter know different orders: ask again.
var errBehind = errors.New("behind the newest order")

// errNotNow says that a voter does not let this robot switch, and why.
var errNotNow = errors.New("not now")

// armRounds is how often the voters are asked before the robot defers the switch:
// a deferred robot is left out of its batch.
const armRounds = 4

// errLeaving says that this robot is being switched off.
var errLeaving = errors.New("being switched off: it has said goodbye, and switches when it is back")

// arm asks the voters whether this robot may switch now. One that has said goodbye may
// not: nobody would hear how its trial went. An order reaches everybody
// within a moment, but not all at once: while this node or a voter is behind, it asks
// again.
func (n *Node) arm(ctx context.Context, component string, release manifest.Ref, empty bool) error {
	for round := 1; ; round++ {
		if n.leaving.Load() {
			return errLeaving
		}
		err := n.askToArm(ctx, component, release, empty)
		if err == nil && n.leaving.Load() {
			return errLeaving
		}
		if !errors.Is(err, errBehind) || round == armRounds {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(n.time.retry)):
		}
	}
}

// askToArm asks each voter once until one acknowledges. A voter takes turns with the
// others: see takeTurn.
func (n *Node) askToArm(ctx context.Context, component string, release manifest.Ref, empty bool) error {
	v := n.keeper.View()
	switch {
	case v.Halted && !planted.Is("ignore-halt"):
		return fmt.Errorf("halted: %s", v.HaltReason)
	case v.Alarm != "":
		return errors.New(v.Alarm)
	case v.Order == nil:
		return errNoVoter
	case planted.Is("arm-alone"):
		return nil
	}
	a := &order.Armed{
		Format: order.ArmFormat, Robot: v.Self, Generation: v.Order.Generation, Index: v.Order.Index, Order: v.Order.Digest(),
		Component: component, Release: release.Digest, Empty: empty, Sequence: n.sequence.Load(),
	}
	if _, err := rand.Read(a.Nonce[:]); err != nil {
		return fmt.Errorf("arm: %w", err)
	}
	sealed := a.Seal(v.Swarm).Sign(n.priv)
	if takesTurns(v, a) {
		return n.takeTurn(ctx, v, func(to order.Voter) error { return n.askVoter(ctx, v, to, sealed) })
	}
	voters := v.Electorate.Voters
	inTurn := !empty && !inBatch(v, release)
	var errs []error
	for _, i := range n.askedInOrder(len(voters), inTurn) {
		if voters[i].Member == v.Self && len(voters) > 1 {
			continue
		}
		err := n.askVoter(ctx, v, voters[i], sealed)
		if err == nil {
			return nil
		}
		if inTurn && errors.Is(err, errNotNow) {
			n.refusals.Add(1)
			return fmt.Errorf("%w: %s: %w", ErrNoAck, v.nameOf(voters[i].Member), err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", v.nameOf(voters[i].Member), err))
	}
	return fmt.Errorf("%w: %w", ErrNoAck, errors.Join(errs...))
}

// inBatch reports whether the open batch lets this robot switch to a release.
func inBatch(v *View, release manifest.Ref) bool {
	r := v.Order.Rollout
	return r != nil && r.Release.Digest == release.Digest && r.Open.Has(int(v.Self))
}

// askedInOrder is the order in which to ask n voters: at random, which spreads the work
// of a batch. Outside of batches all robots ask the same voter first, and take its word,
// so that the few that it lets go are the few of the whole swarm; after a refusal, which
// may be a lie, the next one is asked first.
func (n *Node) askedInOrder(voters int, inTurn bool) []int {
	if !inTurn {
		return mrand.Perm(voters)
	}
	out := make([]int, voters)
	for i := range out {
		out[i] = (i + int(n.refusals.Load())) % voters
	}
	return out
}

func (n *Node) askVoter(ctx context.Context, v *View, to order.Voter, sealed *envelope.Envelope) error {
	answer, err := n.armCall(ctx, v, to, sealed.Encode())
	if err != nil {
		return err
	}
	ack, err := order.OpenAck(answer, v.Swarm, to, sealed.Digest())
	if err != nil {
		return err
	}
	at := order.Pointer{Generation: ack.Generation, Index: ack.Index}
	switch {
	case v.Pointer().Before(at):
		if err := n.pull(ctx, to.Key, ""); err != nil {
			return fmt.Errorf("knows a newer order, which was not pulled: %w", err)
		}
		return fmt.Errorf("this robot was %w, and has pulled it now", errBehind)
	case ack.OK:
		return nil
	case at.Before(v.Pointer()):
		return fmt.Errorf("the voter is %w", errBehind)
	}
	return fmt.Errorf("%w: %s", errNotNow, ack.Reason)
}

// armCall asks over the network, or this node itself if it is the only voter.
func (n *Node) armCall(ctx context.Context, v *View, to order.Voter, request []byte) ([]byte, error) {
	if to.Member == v.Self {
		return n.answerArm(ctx, n.key(), request)
	}
	return n.ask(ctx, to.Key, armProtocol, request, maxArmBytes)
}

// answerArm is a voter's word on whether a robot may switch.
func (n *Node) answerArm(_ context.Context, peer envelope.Key, request []byte) ([]byte, error) {
	v := n.keeper.View()
	a, e, err := order.OpenArmed(request, v.Swarm, peer)
	if err != nil {
		return nil, err
	}
	m := v.Member(peer)
	if m == nil || m.Index != a.Robot || !v.Votes() {
		return nil, errStranger
	}
	why := n.mayArm(v, a)
	ack := &order.Ack{
		Format: order.ArmFormat, Voter: v.Self, Armed: e.Digest(), OK: why == "",
		Generation: v.Order.Generation, Index: v.Order.Index, Reason: clip(why, member.MaxReason),
	}
	return ack.Seal(v.Swarm).Sign(n.priv).Encode(), nil
}

// mayArm is empty if the robot may switch, else why not.
func (n *Node) mayArm(v *View, a *order.Armed) string {
	at := order.Pointer{Generation: a.Generation, Index: a.Index}
	switch {
	case v.Halted && !planted.Is("ignore-halt"):
		return "halted: " + v.HaltReason
	case v.Alarm != "":
		return "the swarm is in alarm"
	case at.Before(v.Pointer()):
		return "the order is not the newest"
	case v.Pointer().Before(at):
		return "this voter has not seen the order yet"
	case a.Order != v.Order.Digest():
		return "the order is another one"
	case v.Order.Quarantined(a.Release):
		return "the release is quarantined"
	}
	if r := v.Order.Rollout; r != nil && r.Release.Digest == a.Release && !r.Status.Final() {
		if r.Status != order.Running || (!r.Open.Has(int(a.Robot)) && !planted.Is("any-batch")) {
			return "the robot's batch is not open"
		}
		return n.yourTurn(v, a)
	}
	c := v.Order.Component(a.Component)
	if c == nil {
		return "the swarm has no such component"
	}
	if c.Active.Digest != a.Release && !n.isStone(v, c.Active, a.Release) {
		return "the release is not what the swarm runs, nor a step towards it that this voter knows"
	}
	if a.Empty {
		return "" // nothing runs yet that could be interrupted
	}
	if takesTurns(v, a) {
		return n.yourTurn(v, a)
	}
	return n.mayCatchUp(v, a)
}

// wanted is what the newest order wants of a component on this robot, as the
// updater's event. It needs the release, and for a rollout the plan; it fetches
// them if they are not here.
func (n *Node) wanted(ctx context.Context, v *View, component string, running manifest.Ref) (update.Event, error) {
	if v.Order == nil {
		return nil, nil
	}
	if v.Order.Level > n.level() {
		return update.Unwanted{Reason: fmt.Sprintf("the swarm is at feature level %d, this build reads up to %d: update starling", v.Order.Level, n.level())}, nil
	}
	t := rollout.TargetOf(v.Order, v.Self, component, running.Digest)
	if t.Cause == rollout.Stay {
		return update.Unwanted{Reason: t.Reason}, nil
	}
	if t.Cause == rollout.GoingBack && t.Release.IsZero() {
		return update.Back{Reason: t.Reason}, nil
	}
	if v.Trust == nil {
		return nil, errors.New("no trust metadata yet")
	}
	rel, err := n.release(ctx, v, t.Release)
	if err != nil {
		return nil, err
	}
	if t.Cause == rollout.CatchingUp && !rel.MayReplace(running) {
		if rel, err = n.stone(ctx, v, rel, running, maxStones); err != nil {
			return nil, err
		}
		t.Release = rel.Ref()
	}
	w := update.Wanted{Release: t.Release, MayArm: t.May == rollout.MayArm && (!v.Halted || planted.Is("ignore-halt")) && v.Alarm == ""}
	if me := v.Me(); me != nil {
		w.Variant = rel.For(labels(me))
	}
	switch t.Cause {
	case rollout.GoingBack:
		w.Kind = update.Revert
	case rollout.CatchingUp:
		w.Kind = update.CatchUp
	}
	if r := v.Order.Rollout; r != nil {
		w.Rollout = r.ID
		if r.Release.Digest == t.Release.Digest {
			p, err := n.plan(ctx, v, r.Plan)
			if err != nil {
				return nil, err
			}
			w.MinHealthy = time.Duration(p.MinHealthySeconds) * time.Second
			w.HealthyDeadline = time.Duration(p.HealthyDeadlineSeconds) * time.Second
		}
	}
	return w, nil
}

func randomUint64() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(fmt.Sprintf("node: the system has no randomness: %v", err)) // crypto/rand never fails on Linux
	}
	return binary.BigEndian.Uint64(b[:])
}

// clip shortens s to at most n bytes, at a rune.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
