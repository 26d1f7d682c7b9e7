package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// maxSignedBatch bounds one push of signatures.
const maxSignedBatch = consensus.MaxSignedBytes

// voter is this node's seat, if it has one: a Replica that comes and goes with the
// generation and the electorate.
type voter struct {
	n       *Node
	replica atomic.Pointer[consensus.Replica] // nil while this node has no seat
	streams atomic.Pointer[raftStreams]
	reports chan rollout.Reported // from answerReport to lead; of depth 256, a full one drops: reports come again

	serving   atomic.Pointer[string] // server id of replica, nil while that is
	news      *broadcast             // of serving and seating
	seating   seating
	roll      *roll
	endorsing chan struct{} // of depth 1: full while this voter considers a change
	damaged   int           // how often in a row the replica failed on its directory; of vote
}

func (n *Node) newVoter() (*voter, error) {
	return &voter{
		n: n, reports: make(chan rollout.Reported, 256),
		news: newBroadcast(), roll: newRoll(n.time.dead / rollShare), endorsing: make(chan struct{}, 1),
	}, nil
}

// maySit reports whether a member may speak the voters' protocols: it has a seat
// in the newest certified electorate, or in the state that this voter has applied.
func (w *voter) maySit(v *View, m *member.Member) bool {
	if v.Electorate != nil && v.Electorate.Seat(m.Key) >= 0 {
		return true
	}
	r := w.replica.Load()
	return r != nil && r.State().Electorate.Seat(m.Key) >= 0
}

// vote runs a replica whenever this node has a seat, or is to get one.
func (n *Node) vote(ctx context.Context) error {
	for ctx.Err() == nil {
		next, v := n.voter.news.next(), n.keeper.View()
		server, _ := n.voter.place(v)
		if server == "" {
			select {
			case <-ctx.Done():
			case <-v.past:
			case <-next:
			}
			continue
		}
		began := time.Now()
		err := n.voter.sit(ctx, v, server)
		if err == nil || ctx.Err() != nil || n.voter.failed(v, server, err, time.Since(began)) {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(jitter(n.time.retry)):
		}
	}
	return nil
}

// sit runs a replica under server until the seat, the invitation to it or the
// generation ends.
func (w *voter) sit(ctx context.Context, v *View, server string) error {
	n := w.n
	dir := w.dirOf(v)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	streams := newRaftStreams(n)
	r, err := consensus.New(consensus.Config{
		Dir: dir, Key: n.priv, Self: v.Self, Server: server,
		Genesis: v.Genesis, GenesisDigest: v.GenesisRef, TrustRoot: v.Root, Known: knownOrders(v),
		Streams: streams, Checker: w.check, Push: w.push, Heartbeat: n.time.heartbeat, Log: n.log,
	})
	if err != nil {
		return err
	}
	w.streams.Store(streams)
	w.replica.Store(r)
	w.roll.reset()
	w.serving.Store(&server)
	w.news.wake()
	n.log.Info("runs a voter's replica", "generation", v.generation(), "server", server, "votes", v.Votes())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.Run(ctx) })
	g.Go(func() error { return w.carry(ctx, r) })
	g.Go(func() error { return w.lead(ctx, r) })
	g.Go(func() error { return w.tend(ctx, r) })
	g.Go(func() error {
		defer cancel()
		return w.watchSeat(ctx, v, server)
	})
	err = g.Wait()
	w.serving.Store(nil)
	w.replica.Store(nil)
	w.streams.Store(nil)
	return errors.Join(err, r.Close())
}

func knownOrders(v *View) []order.Proven {
	out := append([]order.Proven(nil), v.chain...)
	if v.proven.Certificate != nil {
		out = append(out, v.proven)
	}
	return out
}

// carry takes certified orders to the keeper, and what the keeper learnt from
// others to the replica.
func (w *voter) carry(ctx context.Context, r *consensus.Replica) error {
	for {
		if p := r.Certified(); p.Certificate != nil && w.n.keeper.View().Pointer().Before(p.Order.Pointer()) {
			reply := &join.MetaReply{Order: []join.Proof{encodeProof(p)}}
			for _, c := range r.Chain() {
				reply.Chain = append(reply.Chain, encodeProof(c))
			}
			if err := w.n.keeper.offer(ctx, reply); err != nil && ctx.Err() == nil {
				w.n.log.Error("certified order not kept", "err", err)
			}
		}
		v := w.n.keeper.View()
		if v.proven.Certificate != nil && r.Certified().Order.Pointer().Before(v.Pointer()) {
			for _, p := range knownOrders(v) { // changes of voters first: the newest may be of voters unknown there
				if err := r.AddCertified(p); err != nil {
					w.n.log.Debug("certified order not taken", "err", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.NewCertificate():
		case <-v.past:
		}
	}
}

// push hands one of our signatures to another voter.
func (w *voter) push(ctx context.Context, to order.Voter, s consensus.SignedStatement) error {
	_, err := w.n.ask(ctx, to.Key, signProtocol, s.Encode(), 16)
	return err
}

// answerSign takes another voter's signature.
func (n *Node) answerSign(_ context.Context, peer envelope.Key, request []byte) ([]byte, error) {
	s, err := consensus.DecodeSigned(request)
	if err != nil {
		return nil, err
	}
	r := n.voter.replica.Load()
	if r == nil {
		return nil, errNotReady
	}
	err = r.AddSignature(peer, s)
	n.accuse(r)
	return nil, err
}

// lead proposes while this node leads.
func (w *voter) lead(ctx context.Context, r *consensus.Replica) error {
	for {
		if r.IsLeader() {
			w.n.log.Info("leads", "term", r.Term())
			w.n.note(Event{Kind: "leader", Member: string(w.n.member.ID), Text: fmt.Sprintf("leads since term %d", r.Term())})
			w.n.changed()
			if err := w.reign(ctx, r); err != nil {
				return err
			}
			w.n.changed()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.Changed():
		}
	}
}

// reign runs a Controller until leadership is lost.
func (w *voter) reign(ctx context.Context, r *consensus.Replica) error {
	c := rollout.NewController()
	var seen *rollout.State
	results := make(chan error, 8) // of proposals under way; as many at most
	flying := 0
	do := func(e rollout.Event) {
		for _, d := range c.Step(w.n.keeper.View().now(), e) {
			if flying == cap(results) {
				return // the controller asks again
			}
			flying++
			go func() { results <- r.Propose(ctx, &d) }()
		}
	}
	do(rollout.StateChanged{State: r.State()})
	for _, rep := range w.n.health.all() {
		do(rollout.Reported{Health: &rep.Health, Sealed: rep.Sealed})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for r.IsLeader() {
		if s := r.State(); s != seen {
			seen = s
			do(rollout.StateChanged{State: s})
		}
		if at := c.Deadline(); !at.IsZero() {
			timer.Reset(max(time.Until(at), time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.Changed():
		case rep := <-w.reports:
			do(rep)
		case err := <-results:
			flying--
			if err != nil && ctx.Err() == nil {
				w.n.log.Debug("proposal came to nothing", "err", err)
			}
		case <-timer.C:
			do(rollout.Tick{})
		}
	}
	return nil
}

// want asks members for a document in the background, so that a check that lacks it
// passes the next time. Several wants for one document are one. It is false if too many
// are on the list.
func (n *Node) want(k join.DocumentKind, d manifest.Digest) bool {
	select {
	case n.wants <- wanted{k, d}:
		return true
	default: // asked again at the next check
		return false
	}
}

type wanted struct {
	kind   join.DocumentKind
	digest manifest.Digest
}

// gather fetches wanted documents, one after the other.
func (n *Node) gather(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-n.wants:
			data, err := n.document(ctx, w.kind, w.digest)
			if w.kind == join.PlanDocument {
				n.planned.asked.Store(false)
			}
			switch {
			case err == nil && w.kind == join.TrustDocument:
				err = n.keeper.offer(ctx, &join.MetaReply{Trust: data})
			case err == nil && w.kind == join.RosterDocument:
				err = n.keeper.offer(ctx, &join.MetaReply{Roster: data})
			case err == nil && w.kind == join.PlanDocument:
				n.heed()
			}
			if err != nil && ctx.Err() == nil {
				n.log.Debug("document not found", "kind", w.kind, "err", err)
			}
		}
	}
}
