package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// The stream protocols of the control host; those of the bulk host are
// join.Protocol, join.MetaProtocol, join.DocumentProtocol, join.PackedDocumentProtocol and artifacts.Protocol.
const (
	raftProtocol    = "/starling/raft/1"
	signProtocol    = "/starling/sign/1"
	reportProtocol  = "/starling/report/1"
	reportsProtocol = "/starling/reports/1"
	armProtocol     = "/starling/arm/1"
	accuseProtocol  = "/starling/accuse/1"
	proposeProtocol = "/starling/propose/1"
	haltProtocol    = "/starling/halt/1"
)

var (
	errNotReady = errors.New("node: has not joined yet")
	errStranger = errors.New("node: not a member of this swarm")
)

// handle says who answers which protocol. It is called before the hosts run.
func (n *Node) handle() {
	t := n.time.call
	n.bulk.Handle(join.Protocol, p2p.Answer(join.MaxRequestBytes, t, n.answerJoin))
	n.bulk.Handle(join.MetaProtocol, p2p.Answer(join.MaxMetaRequestBytes, t, n.paced(n.answerMeta)))
	n.bulk.Handle(join.DocumentProtocol, p2p.Answer(join.MaxMetaRequestBytes, t, n.paced(n.answerDocument)))
	n.bulk.Handle(join.PackedDocumentProtocol, p2p.Answer(join.MaxMetaRequestBytes, t, n.paced(n.answerPacked)))
	n.bulk.Handle(artifacts.Protocol, n.serveImages)
	n.control.Handle(raftProtocol, n.acceptRaft)
	n.control.Handle(signProtocol, p2p.Answer(maxSignedBatch, t, n.answerSign))
	n.control.Handle(seatProtocol, p2p.Answer(maxSeatBytes, t, n.answerSeat))
	n.control.Handle(reportProtocol, p2p.Answer(maxReportBytes, t, n.answerReport))
	n.control.Handle(reportsProtocol, p2p.Answer(maxReportsBytes, t, n.answerReports))
	n.control.Handle(accuseProtocol, p2p.Answer(maxAccuseBytes, t, n.answerAccuse))
	n.control.Handle(armProtocol, p2p.Answer(maxArmBytes, t, n.answerArm))
	n.control.Handle(proposeProtocol, p2p.Answer(maxProposeBytes, t, n.answerPropose))
	n.control.Handle(haltProtocol, p2p.Answer(envelope.MaxBytes(envelope.Halt), t, n.answerHalt))
}

// taking reports whether the node takes part, so that its fields may be read.
func (n *Node) taking() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// known reports members of the roster, for the hosts' limits.
func (n *Node) known(k envelope.Key) bool { return n.taking() && n.keeper.View().Member(k) != nil }

// admit decides who may open which protocol. A stranger may ask to join, and
// nothing else; what voters only may do is checked again where it is done.
func (n *Node) admit(peer envelope.Key, protocol string) error {
	if !n.taking() {
		return errNotReady
	}
	if protocol == join.Protocol {
		if n.operator == nil {
			return fmt.Errorf("%w: not an operator's node", errStranger)
		}
		return nil
	}
	v := n.keeper.View()
	m := v.Member(peer)
	if m == nil {
		return errStranger
	}
	switch protocol {
	case raftProtocol, signProtocol:
		if !n.voter.maySit(v, m) {
			return fmt.Errorf("%w: %s has no seat", errStranger, m.ID)
		}
	}
	return nil
}

// admitGossip lets members of the roster into the gossip.
func (n *Node) admitGossip(i member.Index, _ string) bool {
	v := n.keeper.View()
	return v.Roster != nil && v.Roster.At(i) != nil
}

// ask sends a request to a member's control host.
func (n *Node) ask(ctx context.Context, to envelope.Key, protocol string, request []byte, limit int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time.call)
	defer cancel()
	if protocol != haltProtocol {
		if err := n.talk(ctx, len(request)); err != nil {
			return nil, err
		}
	}
	return n.control.Call(ctx, to, protocol, request, limit)
}

// raftStreams connects a Replica with other voters over the control host.
type raftStreams struct {
	n        *Node
	accepted chan *p2p.Stream // from acceptRaft to Accept; unbuffered: a stream that nobody takes is reset
	done     chan struct{}    // closed by Close
	once     chan struct{}    // holds one token, taken by the first Close
}

func newRaftStreams(n *Node) *raftStreams {
	s := &raftStreams{n: n, accepted: make(chan *p2p.Stream), done: make(chan struct{}), once: make(chan struct{}, 1)}
	s.once <- struct{}{}
	return s
}

// Dial connects to the voter with this key.
func (s *raftStreams) Dial(ctx context.Context, to envelope.Key) (net.Conn, error) {
	return s.n.control.Open(ctx, to, raftProtocol)
}

// Accept waits for a voter's connection.
func (s *raftStreams) Accept() (net.Conn, envelope.Key, error) {
	select {
	case c := <-s.accepted:
		return c, c.Peer(), nil
	case <-s.done:
		return nil, envelope.Key{}, net.ErrClosed
	}
}

// Close ends Accept.
func (s *raftStreams) Close() error {
	select {
	case <-s.once:
		close(s.done)
	default:
	}
	return nil
}

// acceptRaft hands a voter's stream to the replica that runs now, if one does.
func (n *Node) acceptRaft(ctx context.Context, c *p2p.Stream) {
	s := n.voter.streams.Load()
	if s == nil {
		n.resetStream(c)
		return
	}
	t := time.NewTimer(n.time.call)
	defer t.Stop()
	select {
	case s.accepted <- c:
	case <-s.done:
		n.resetStream(c)
	case <-t.C:
		n.resetStream(c)
	case <-ctx.Done():
		n.resetStream(c)
	}
}

func (n *Node) resetStream(c *p2p.Stream) {
	if err := c.Reset(); err != nil {
		n.log.Debug("stream not reset", "peer", c.Peer().Short(), "err", err)
	}
}
