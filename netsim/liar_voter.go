package netsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/join"
)

// signTwice gives a voter's word for two orders at one index, again and again.
func signTwice(ctx context.Context, v *villain) error {
	n := uint64(0)
	repeat(ctx, lieEvery, func() {
		o := v.w.watch.order()
		if o == nil || !v.lies() {
			return
		}
		n++
		for side := range 2 {
			s := order.Statement{Swarm: v.view.Swarm, Generation: o.Generation, Index: o.Index + 1 + n%3}
			v.w.draw("order", v.m.name, n, side).fill(s.Order[:])
			v.w.draw("state", v.m.name, n, side).fill(s.State[:])
			signed := consensus.SignedStatement{Statement: s, Signature: s.Sign(v.key), Certified: o.Index}
			v.tell(ctx, v.voters(), signProtocol, signed.Encode())
		}
	})
	return nil
}

// heartbeats are the nodes' own, by profile.
var heartbeats = map[string]time.Duration{"lan": time.Second, "mesh": 5 * time.Second, "narrow": 20 * time.Second, "local": 500 * time.Millisecond}

// hurry is how many times shorter a captured voter's patience is than that of honest
// ones: when nobody leads, it is the first to ask for votes.
const hurry = 4

// A capturedSeat is what a voter's seat needs in hostile hands: connections with other
// voters, and a replica that signs whatever it applies.
type capturedSeat struct {
	v        *villain
	replica  atomic.Pointer[consensus.Replica] // nil until it runs
	accepted chan *p2p.Stream                  // from take to Accept; unbuffered
	done     chan struct{}                     // closed by the first Close
	once     sync.Once
}

// sitDown answers other voters from the seat.
func sitDown(v *villain) {
	v.seat = &capturedSeat{v: v, accepted: make(chan *p2p.Stream), done: make(chan struct{})}
	v.control.Handle(raftProtocol, v.seat.take)
	v.control.Handle(signProtocol, p2p.Answer(consensus.MaxSignedBytes, callFor, v.seat.sign))
}

// decideAll runs the seat and, as soon as it leads, decides what no plan allows.
func decideAll(ctx context.Context, v *villain) error {
	o := v.w.watch.order()
	seat := o.Electorate.Seat(envelope.KeyOf(v.key))
	if seat < 0 {
		return errors.New("it has no seat, and so nothing to decide")
	}
	known, err := v.known(ctx)
	if err != nil {
		return err
	}
	r, err := consensus.New(consensus.Config{
		Dir: filepath.Join(v.m.cfg.Dir, "raft", fmt.Sprintf("g%d", v.view.Genesis.Order.Generation)), Key: v.key, Self: v.view.Self,
		Server: o.Electorate.Voters[seat].Server, Genesis: v.view.Genesis, GenesisDigest: v.view.GenesisRef, TrustRoot: v.view.Root,
		Known: known, Streams: v.seat, Push: v.seat.push, Heartbeat: heartbeats[v.m.cfg.Profile] / hurry, Log: v.m.cfg.Log,
	})
	if err != nil {
		return err
	}
	v.seat.replica.Store(r)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.Run(ctx) })
	g.Go(func() error {
		v.rule(ctx, r)
		return nil
	})
	return errors.Join(g.Wait(), r.Close())
}

// known are the certified orders that the robot had, for its replica to start from.
func (v *villain) known(ctx context.Context) (list []order.Proven, err error) {
	reply, err := join.DecodeMetaReply(v.past(ctx))
	if err != nil {
		return nil, err
	}
	for _, p := range append(reply.Chain, reply.Order...) {
		o, err := order.Decode(p.Order)
		if err != nil {
			return nil, err
		}
		c, err := order.DecodeCertificate(p.Certificate)
		if err != nil {
			return nil, err
		}
		list = append(list, order.Proven{Order: o, Certificate: c})
	}
	return list, nil
}

func (s *capturedSeat) push(ctx context.Context, to order.Voter, word consensus.SignedStatement) error {
	_, err := s.v.control.Call(ctx, to.Key, signProtocol, word.Encode(), 16)
	return err
}

func (s *capturedSeat) sign(_ context.Context, peer envelope.Key, b []byte) ([]byte, error) {
	word, err := consensus.DecodeSigned(b)
	if err != nil {
		return nil, err
	}
	r := s.replica.Load()
	if r == nil {
		return nil, errLie
	}
	return nil, r.AddSignature(peer, word)
}

func (s *capturedSeat) take(ctx context.Context, c *p2p.Stream) {
	select {
	case s.accepted <- c:
	case <-s.done:
		_ = c.Reset() // the peer finds out
	case <-ctx.Done():
		_ = c.Reset()
	}
}

// Dial connects to a voter.
func (s *capturedSeat) Dial(ctx context.Context, to envelope.Key) (net.Conn, error) {
	return s.v.control.Open(ctx, to, raftProtocol)
}

// Accept waits for a voter's connection.
func (s *capturedSeat) Accept() (net.Conn, envelope.Key, error) {
	select {
	case c := <-s.accepted:
		return c, c.Peer(), nil
	case <-s.done:
		return nil, envelope.Key{}, net.ErrClosed
	}
}

// Close ends Accept.
func (s *capturedSeat) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}
