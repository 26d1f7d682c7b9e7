package node

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/artifacts/pace"
)

// peers is the exchange's view of the other members.
type peers struct{ n *Node }

// Open opens a stream of the exchange, over an interface that images may use.
func (p peers) Open(ctx context.Context, to envelope.Key) (artifacts.Stream, error) {
	open := p.n.bulk.Open
	if p.n.time.direct {
		open = p.n.bulk.OpenDirect
	}
	s, err := open(ctx, to, artifacts.Protocol)
	if err != nil {
		return nil, err
	}
	if err := p.n.ways.allow(s.LocalAddr()); err != nil {
		p.n.resetStream(s)
		return nil, err
	}
	return s, nil
}

// Candidates lists members that may hold an image.
func (p peers) Candidates() []envelope.Key { return p.n.candidates() }

// serveImages answers a stream of the exchange.
func (n *Node) serveImages(ctx context.Context, s *p2p.Stream) {
	if err := n.ways.allow(s.LocalAddr()); err != nil {
		n.log.Debug("transfer refused", "peer", s.Peer().Short(), "err", err)
		n.resetStream(s)
		return
	}
	if err := n.exchange.Serve(ctx, s, s.Peer()); err != nil && ctx.Err() == nil {
		n.log.Debug("transfer ended", "peer", s.Peer().Short(), "err", err)
	}
}

// look is how the members fare, for the pace of images. What gossip has sent since the
// last look is taken out of what images may use.
func (n *Node) look() pace.Look {
	l := pace.Look{Floor: n.unmet() != ""}
	if !n.taking() {
		return l
	}
	p, s := n.gossip.Probe(), n.gossip.Stats()
	l.Strain = pace.Strain{Probes: p.Count, Trip: p.Trip, Least: p.Least, Score: s.Health}
	if fresh := s.SentBytes - n.gossiped.Swap(s.SentBytes); fresh > 0 {
		n.charge(int(fresh))
	}
	return l
}

// paced makes an answer wait for its turn among documents, and for those before it that
// the same member asked for: whoever asks for many keeps nobody else waiting.
func (n *Node) paced(answer func(context.Context, envelope.Key, []byte) ([]byte, error)) func(context.Context, envelope.Key, []byte) ([]byte, error) {
	return func(ctx context.Context, peer envelope.Key, request []byte) ([]byte, error) {
		done, err := n.asking.take(ctx, peer)
		if err != nil {
			return nil, err
		}
		defer done()
		data, err := answer(ctx, peer, request)
		if err == nil {
			err = n.exchange.Wait(ctx, pace.Manifest, len(data))
		}
		return data, err
	}
}

// transferEvent notes what the exchange tells.
func (n *Node) transferEvent(e artifacts.Event) {
	switch e := e.(type) {
	case artifacts.ChunkRejected:
		who := n.peerName(e.From)
		text := fmt.Sprintf("sent wrong bytes for chunk %d of image %s", e.Chunk, e.Image.Short())
		n.faults.add(PeerFaults{Member: who, Kind: "wrong-bytes", Last: time.Now().UTC(), Text: text, Out: e.Out})
		n.log.Warn("chunk rejected", "peer", who, "chunk", e.Chunk, "left_out", e.Out)
		n.note(Event{Kind: "chunk-rejected", Member: who, Text: who + " " + text})
	case artifacts.PeerFault:
		n.blame(n.peerName(e.From), e.Kind.String(), e.Text, e.Out)
	case artifacts.SafeToLeave:
		n.log.Info("safe to leave", "image", e.Image.Short())
		n.note(Event{Kind: "safe-to-leave", Text: "every piece of image " + e.Image.Short() + " is held by enough members; the seed may leave"})
	case artifacts.PieceVerified:
		n.changed()
	}
}

// Transfer is how images use this machine's links. Rates are in bytes per second; a
// limit of 0 is none. The limits are those in force: the configuration's, or the open
// plan's where that is lower. OnlyWhen is the configuration's.
type Transfer struct {
	Profile string `json:"profile"` // "lan", "mesh", "narrow" or "local"
	MaxUp   int64  `json:"max_up"`
	MaxDown int64  `json:"max_down"`
	MaxPeer int64  `json:"max_peer"`
	// MaxControl is what may be sent beside images and documents.
	MaxControl int64 `json:"max_control"`
	// Now is what may be sent at this moment. Slowed says that it is less because
	// members answer each other late, Floored because the robot spares itself.
	Now        int64       `json:"now"`
	Slowed     bool        `json:"slowed"`
	Floored    bool        `json:"floored"`
	Interfaces []string    `json:"interfaces"` // none: all
	OnlyWhen   []Condition `json:"only_when"`
	// Plan is what the plan of the open rollout asks for beside the configuration, absent
	// if that is nothing, or the plan is not here.
	Plan  *PlanTransfer `json:"plan,omitempty"`
	Waits string        `json:"waits,omitempty"` // why nothing is fetched now
	// Measured are links in use since the node was started, as they were seen here.
	Measured []LinkRate   `json:"measured"`
	Faults   []PeerFaults `json:"faults"`
}

// A LinkRate is what was measured of a member's link: what it took, and what it sent.
// 0 is not measured.
type LinkRate struct {
	Member string `json:"member"`
	Up     int64  `json:"up"`
	Down   int64  `json:"down"`
}

func (n *Node) transfer() Transfer {
	c, l := n.cfg, n.inForce()
	out := Transfer{
		Profile: cmp.Or(c.Profile, DefaultProfile),
		MaxUp:   l.Up, MaxDown: l.Down, MaxPeer: l.Peer, MaxControl: l.Control, Plan: n.planTransfer(), Waits: n.lacksHere(),
		Interfaces: append([]string{}, c.Interfaces...), OnlyWhen: append([]Condition{}, c.OnlyWhen...), Measured: []LinkRate{}, Faults: n.faults.list(),
	}
	out.Now, out.Slowed, out.Floored = n.exchange.Pace()
	for _, r := range n.exchange.Rates() {
		out.Measured = append(out.Measured, LinkRate{n.peerName(r.Peer), int64(r.Up), int64(r.Down)})
	}
	return out
}
