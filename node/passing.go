package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// In a small swarm each robot tells all voters and operators itself how it is: that is
// quickest. In a crowd each of them would need a connection with everybody, or a new
// one for each report, whose handshake is twenty times as long as the report. There a
// robot tells one voter, and the voter passes on what many have told it in one message.
//
// A voter in the wrong hands may keep reports to itself. Then robots seem silent, which
// lets nobody advance; after a while they tell another voter: soon while a rollout is
// open, for who is silent for long then counts as failed. A failure is told to all, also
// in a crowd.

const (
	// crowd is how many members a swarm has before its robots tell one voter only. A
	// host keeps some hundred connections, see maxPeers.
	crowd = 64
	// passTurn is after how many rounds of reports a robot tells another voter, and
	// openTurn the same while a rollout is open: two voters of seven in the wrong hands
	// keep it silent for four rounds, minutes on the slowest links. A new voter costs a
	// handshake, which is little beside the images.
	passTurn = 16
	openTurn = 2
	// passShare of the time between two reports a voter waits for more to pass on.
	passShare = 16
	// maxTogether bounds the reports in one message.
	maxTogether   = 64
	reportsFormat = 1
	// maxReportsBytes bounds a request of reportsProtocol: reports, and their frame.
	maxReportsBytes = maxTogether*(maxReportBytes+3) + 16
	// maxPeers is how many connections each of the two hosts holds: one voter of four
	// hears a quarter of the largest swarm, and those that told it before.
	maxPeers = 512
)

// reports is a request of reportsProtocol: sealed health reports, one of the robot that
// sends it, or many that a voter passes on.
type reports struct {
	Format uint     `cbor:"0,keyasint"`
	Sealed [][]byte `cbor:"1,keyasint"`
}

func (r *reports) encode() []byte { return canonical.Encode(r) }

func decodeReports(data []byte) (*reports, error) {
	var r reports
	if err := canonical.DecodeFormat(data, maxReportsBytes, "reports", reportsFormat, &r); err != nil {
		return nil, err
	}
	if len(r.Sealed) == 0 || len(r.Sealed) > maxTogether {
		return nil, fmt.Errorf("node: %d reports in one message, want 1 to %d", len(r.Sealed), maxTogether)
	}
	return &r, nil
}

// passing is what a voter has to pass on: of each robot and component the last it told.
// Only news of members gets here, so the roster and member.MaxComponents bound it.
type passing struct {
	some chan struct{} // of depth 1: there is something

	mu     sync.Mutex   // guards what is below
	sealed [][]byte     // as they came
	at     map[part]int // where in sealed
}

// part is one component of a robot.
type part struct {
	robot     member.Index
	component string
}

func newPassing() *passing { return &passing{some: make(chan struct{}, 1), at: map[part]int{}} }

func (p *passing) add(h *member.Health, sealed []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := part{h.Robot, h.Component}
	if i, has := p.at[of]; has {
		p.sealed[i] = sealed
		return
	}
	p.at[of] = len(p.sealed)
	p.sealed = append(p.sealed, sealed)
	select {
	case p.some <- struct{}{}:
	default:
	}
}

// take empties p into messages.
func (p *passing) take() []*reports {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*reports
	for all := p.sealed; len(all) > 0; {
		n := min(len(all), maxTogether)
		out = append(out, &reports{Format: reportsFormat, Sealed: all[:n:n]})
		all = all[n:]
	}
	p.sealed, p.at = nil, map[part]int{}
	return out
}

// crowded reports whether robots tell one voter only.
func (n *Node) crowded(v *View) bool {
	return n.crowd > 0 && v.Roster != nil && len(v.Roster.Members) >= n.crowd
}

// tellSwarm sends a report of this robot's to those who are to hear it.
func (n *Node) tellSwarm(ctx context.Context, g *errgroup.Group, h *member.Health, sealed []byte) {
	v := n.keeper.View()
	switch {
	case !n.crowded(v) || h.Result == member.Failed || h.Leaving:
		n.push(ctx, g, reportProtocol, sealed)
	case v.Votes():
		n.passing.add(h, sealed)
	case v.Electorate != nil: // before that nobody decides
		g.TryGo(func() error {
			n.tellOne(ctx, g, v, sealed)
			return nil
		})
	}
}

// turnTeller makes this robot tell another voter in some rounds. It goes by rounds, for
// all its components turn together: else each could come upon the same voters always.
func (n *Node) turnTeller(round int) {
	if round%turnAfter(n.keeper.View().Order) == 0 {
		n.passTo.Add(1)
	}
}

// turnAfter is after how many rounds of reports a robot tells another voter.
func turnAfter(o *order.Order) int {
	if o != nil && o.Rollout != nil && !o.Rollout.Status.Final() {
		return openTurn
	}
	return passTurn
}

// tellOne gives a report to one voter that answers. Robots begin at different ones.
func (n *Node) tellOne(ctx context.Context, g *errgroup.Group, v *View, sealed []byte) {
	voters := v.Electorate.Voters
	request := (&reports{Format: reportsFormat, Sealed: [][]byte{sealed}}).encode()
	for range voters {
		turn := n.passTo.Load()
		to := voters[(uint32(v.Self)+turn)%uint32(len(voters))]
		_, err := n.ask(ctx, to.Key, reportsProtocol, request, 16)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case errors.Is(err, p2p.ErrRefused): // an older build
			n.push(ctx, g, reportProtocol, sealed)
			return
		}
		n.log.Debug("not delivered, trying another voter", "protocol", reportsProtocol, "peer", to.Key.Short(), "err", err)
		n.passTo.CompareAndSwap(turn, turn+1) // once, though several reports are on their way
	}
}

// answerReports takes reports. What comes from the robot itself is passed on. One of
// many may be of a robot that this node does not know yet: the others count.
func (n *Node) answerReports(_ context.Context, peer envelope.Key, request []byte) ([]byte, error) {
	r, err := decodeReports(request)
	if err != nil {
		return nil, err
	}
	v := n.keeper.View()
	var errs []error
	for _, sealed := range r.Sealed {
		h, _, err := member.OpenHealth(sealed, v.Swarm, v.keyOf)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// What is no news is not passed on: old reports, however often they are said
		// again, and components beyond those that a robot can have.
		if n.heard(h, sealed, false) && v.keyOf(h.Robot) == peer {
			n.passing.add(h, sealed)
		}
	}
	if len(errs) == len(r.Sealed) {
		return nil, errors.Join(errs...)
	}
	return nil, nil
}

// passReports passes on what robots have told this voter.
func (n *Node) passReports(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxPushes)
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-n.passing.some:
		}
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-time.After(n.time.report / passShare):
		}
		for _, r := range n.passing.take() {
			for _, to := range n.listeners() {
				g.TryGo(func() error {
					if err := n.pass(ctx, to, r); err != nil && ctx.Err() == nil {
						n.log.Debug("not passed on", "reports", len(r.Sealed), "peer", to.Short(), "err", err)
					}
					return nil
				})
			}
		}
	}
}

// pass gives reports to another voter or an operator. What does not arrive is said
// again by the robots.
func (n *Node) pass(ctx context.Context, to envelope.Key, r *reports) error {
	_, err := n.ask(ctx, to, reportsProtocol, r.encode(), 16)
	if !errors.Is(err, p2p.ErrRefused) {
		return err
	}
	for _, sealed := range r.Sealed { // an older build
		if _, err := n.ask(ctx, to, reportProtocol, sealed, 16); err != nil {
			return err
		}
	}
	return nil
}
