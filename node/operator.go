package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/join"
)

// founder is the member that Found made. Of several operators' nodes only its own starts
// the first generation unasked: two that were on and did not hear each other yet would
// each write a genesis, and the swarm would hold still over the two truths.
const founder member.Index = 0

// foundingVoters is how many voters a generation starts with: 4 tolerate a
// hostile one, and a fifth would not tolerate more.
const foundingVoters = 4

// operator is what only an operator's node does: let robots in, write the genesis,
// publish rosters and trust metadata, seed releases.
type operator struct {
	n     *Node
	key   ed25519.PrivateKey
	book  *join.Book
	joins chan joining // unbuffered; from answerJoin to serve
	asks  chan ask     // unbuffered; from asOperator to serve
	// sent is what was last accepted by the leader, and when: it takes a moment
	// until the order shows it. refusal is what the swarm refused last. All three are
	// publish's own.
	sent    rollout.Publish
	sentAt  time.Time
	refusal refusal
	// patient is the roster that only lets robots in beside the one that the swarm has:
	// it may wait for more of them. serve writes it; publish reads it.
	patient atomic.Pointer[manifest.Digest]
}

type joining struct {
	request *join.Request
	robot   envelope.Key
	done    chan join.Reply // of depth 1
}

// Found makes a directory the first node of a new swarm: the operator's. The
// trust bundle is that of trust.Init, signed already.
func Found(path, swarm string, name member.ID, b *trust.Bundle, operatorKey ed25519.PrivateKey) error {
	d := dir(path)
	l, err := d.lock()
	if err != nil {
		return err
	}
	defer l.Unlock() //nolint:errcheck // the process ends with it
	if _, err := d.membership(); !errors.Is(err, ErrNotJoined) {
		return errors.Join(fmt.Errorf("node: %s belongs to a swarm already; choose an empty directory", path), err)
	}
	key, err := d.key()
	if err != nil {
		return err
	}
	gossipKey := make([]byte, gossip.KeyBytes)
	if _, err := rand.Read(gossipKey); err != nil {
		return fmt.Errorf("make the gossip key: %w", err)
	}
	root := manifest.Sum(b.Roots[0])
	roster := &member.Roster{
		Format: member.RosterFormat, Swarm: swarm, Epoch: 1, GossipKey: 1, GossipProof: manifest.Sum(gossipKey),
		Members: []member.Member{{Index: 0, ID: name, Key: envelope.KeyOf(key), Role: member.Operator, JoinedAt: 1}},
	}
	if err := roster.Check(); err != nil {
		return err
	}
	sealed := envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope(swarm), roster).Sign(operatorKey).Encode()
	if err := halt.Create(d.path("halt"), swarm); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"trust", b.Encode()}, {"roster", sealed}} {
		if err := writeNew(d.path(f.name), f.data); err != nil {
			return err
		}
	}
	return save(d.path("membership"), membership{
		Format: 1, Swarm: swarm, Root: root, Index: 0, ID: name, Operator: envelope.KeyOf(key),
		GossipKeys: [][]byte{gossipKey}, GossipKey: 1,
	})
}

func (n *Node) newOperator() (*operator, error) {
	b, err := join.OpenBook(n.dir.path("invites"))
	if err != nil {
		return nil, err
	}
	return &operator{n: n, key: n.cfg.OperatorKey, book: b, joins: make(chan joining), asks: make(chan ask)}, nil
}

// answerJoin hands a request to the operator's goroutine, and answers when the swarm
// knows the robot.
func (n *Node) answerJoin(ctx context.Context, robot envelope.Key, request []byte) ([]byte, error) {
	q, err := join.DecodeRequest(request)
	if err != nil {
		return nil, err
	}
	j := joining{q, robot, make(chan join.Reply, 1)}
	select {
	case n.operator.joins <- j:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-j.done:
		r = n.whenKnown(ctx, robot, r)
		return r.Encode(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run serves robots and people, and brings what the operator signed to the swarm:
// apart, because without a quorum the one waits and the other must not.
func (o *operator) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.serve(ctx) })
	g.Go(func() error { return o.publish(ctx) })
	return g.Wait()
}

// serve lets robots in, does what is asked, and on the founder's node starts the first
// generation when enough robots are there. All that signs for the operator happens
// here, one after the other.
func (o *operator) serve(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		v := o.n.keeper.View()
		select {
		case <-ctx.Done():
			return nil
		case j := <-o.joins:
			r, err := o.letIn(ctx, o.n.keeper.View(), j) // v may be past by now
			if err != nil {
				o.n.log.Error("robot not let in", "err", err)
				continue // no answer: the robot asks again
			}
			j.done <- r
		case a := <-o.asks:
			o.answer(ctx, a)
		case <-v.past:
		case <-retry.C:
			retry.Reset(o.n.time.retry)
		}
		if v = o.n.keeper.View(); !startsUnasked(v) || ctx.Err() != nil {
			continue
		}
		if err := o.begin(ctx, v, foundingVoters); err != nil && ctx.Err() == nil {
			o.n.log.Warn("the first generation has not started, trying again", "err", err)
		}
	}
}

// startsUnasked reports whether this operator's node is to write the first genesis.
func startsUnasked(v *View) bool {
	none := v.Order == nil || (planted.Is("second-genesis") && v.Order.Index == 0)
	return none && v.Self == founder
}

// letIn checks a request, counts the use of the invite, and signs a roster with
// the robot in it.
func (o *operator) letIn(ctx context.Context, v *View, j joining) (join.Reply, error) {
	invite, why, err := o.book.Use(j.request, j.robot, time.Now())
	r := join.Reply{Format: join.ProtocolFormat, Refusal: why}
	if err != nil || why != join.None {
		return r, err
	}
	if m := v.Roster.ByKey(j.robot); m != nil { // asks again
		r.Index, r.ID, r.Roster = m.Index, m.ID, v.RosterRef.Digest
		return r, nil
	}
	if slices.ContainsFunc(v.Roster.Members, func(m member.Member) bool { return m.Key == j.robot }) {
		r.Refusal = join.KeyInUse
		return r, nil
	}
	if len(v.Roster.Members) >= member.MaxMembers {
		r.Refusal = join.Full
		return r, nil
	}
	m := member.Member{
		Index: member.Index(len(v.Roster.Members)), ID: freeName(v.Roster, j.request.Name), Key: j.robot, Role: invite.Role,
		Labels: map[string]string{member.PlatformLabel: j.request.Platform}, NoVote: invite.NoVote, JoinedAt: v.RosterRef.Epoch + 1,
	}
	for k, val := range invite.Labels {
		m.Labels[k] = val
	}
	next := *v.Roster
	next.Members = append(slices.Clone(v.Roster.Members), m)
	waits := o.mayWait(v)
	if err := o.signRoster(ctx, v, &next); err != nil {
		return r, err
	}
	r.Index, r.ID, r.Roster = m.Index, m.ID, o.n.keeper.View().RosterRef.Digest
	if waits {
		o.patient.Store(&r.Roster)
	}
	o.n.log.Info("robot joined", "member", m.ID, "index", m.Index)
	o.n.note(Event{Kind: "joined", Member: string(m.ID), Text: fmt.Sprintf("%s joined as member %d", m.ID, m.Index)})
	return r, nil
}

// freeName is the wished name, with a number if it is taken or no name.
func freeName(r *member.Roster, wish string) member.ID {
	if !manifest.ValidName(wish) {
		wish = "robot"
	}
	taken := func(id member.ID) bool {
		return slices.ContainsFunc(r.Members, func(m member.Member) bool { return m.ID == id })
	}
	if !taken(member.ID(wish)) {
		return member.ID(wish)
	}
	wish = clip(wish, 27)
	for i := 2; ; i++ {
		if id := member.ID(wish + "-" + itoa(i)); !taken(id) {
			return id
		}
	}
}

// signRoster makes next the roster after the one in v, and keeps it.
func (o *operator) signRoster(ctx context.Context, v *View, next *member.Roster) error {
	next.Epoch, next.Previous = v.RosterRef.Epoch+1, v.RosterRef.Digest
	if err := errors.Join(next.Check(), envelope.Fits(envelope.Roster, next)); err != nil {
		return err
	}
	e := envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope(v.Swarm), next).Sign(o.key)
	if err := o.n.keeper.offerOwn(ctx, &join.MetaReply{Roster: e.Encode()}); err != nil {
		return err
	}
	return o.kept(e)
}

// kept reports that a roster which was just signed gave way to another one.
func (o *operator) kept(e *envelope.Envelope) error {
	if o.n.keeper.View().RosterRef.Digest != e.Digest() {
		return fmt.Errorf("%w: its roster came first; do it again", ErrOvertaken)
	}
	return nil
}

// begin writes generation 1 on the first want robots that may vote and are on: a
// seat for one that has joined and was switched off would only be missing. While fewer are there
// nothing is decided, unless want is lowered by hand.
func (o *operator) begin(ctx context.Context, v *View, want int) error {
	voters := founders(v, o.n.heardOf(), want, o.n.time.steady)
	if len(voters) < want {
		return nil
	}
	return o.genesis(ctx, v, voters, "the swarm starts")
}

// founders are the first robots of the roster, at most want, that may vote and that
// gossip has held alive for this long.
func founders(v *View, there map[member.Index]gossip.Member, want int, steady time.Duration) []order.Voter {
	var out []order.Voter
	for _, m := range v.Roster.Members {
		if g, heard := there[m.Index]; mayVote(&m) && heard && g.State == gossip.Alive && time.Since(g.Since) >= steady && len(out) < want {
			out = append(out, order.Voter{Member: m.Index, Key: m.Key, Server: string(m.ID)})
		}
	}
	return out
}

// mayVote reports whether a member may sit among the founding voters.
func mayVote(m *member.Member) bool { return m.Role != member.Operator && !m.NoVote && !m.Revoked }

func (o *operator) genesis(ctx context.Context, v *View, voters []order.Voter, reason string) error {
	g := &order.Genesis{
		Format: order.GenesisFormat, Reason: reason, Roles: v.Trust.Roles(),
		Order: order.Order{
			Format: order.Format, Swarm: v.Swarm, Generation: 1, Level: firstLevel(o.n.level(), o.n.heardOf()), Time: v.now().Unix(),
			Electorate: order.Electorate{Version: 1, Voters: voters}, Roster: v.RosterRef, Trust: v.Trust.Ref(),
			Components: baseline(v.Trust), Halt: v.haltN,
		},
	}
	return o.writeGenesis(ctx, g)
}

// writeGenesis signs and keeps the start of a generation.
func (o *operator) writeGenesis(ctx context.Context, g *order.Genesis) error {
	if err := errors.Join(g.Order.Check(), g.Roles.Check()); err != nil {
		return err
	}
	e := g.Seal().Sign(o.key)
	if err := o.n.keeper.offerOwn(ctx, &join.MetaReply{Genesis: e.Encode()}); err != nil {
		return err
	}
	o.n.note(Event{Kind: "genesis", Text: fmt.Sprintf("generation %d starts with %d voters", g.Order.Generation, len(g.Order.Electorate.Voters))})
	return nil
}

// baseline is what a new swarm runs: the newest release of each component.
func baseline(s *trust.Set) []order.Component {
	var out []order.Component
	for _, l := range s.Releases() { // by component, then counter
		c := order.Component{Name: l.Component, Active: l.Ref}
		if n := len(out); n > 0 && out[n-1].Name == l.Component {
			out[n-1] = c
		} else if n < order.MaxComponents {
			out = append(out, c)
		}
	}
	return out
}

// writeNew writes a file that is not there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
