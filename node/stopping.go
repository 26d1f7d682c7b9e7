package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/join"
)

// haltFanOut is how many members each member passes a new halt token on to. With 8,
// all but one of 3,000 have it after some rounds, and meta brings it to that one.
const haltFanOut = 8

// A Halting is what giving out a halt token did.
type Halting struct {
	Schema  string   `json:"schema"`
	Halted  bool     `json:"halted"`
	Counter uint64   `json:"counter"`
	Told    []string `json:"told"`    // members that have it now
	Unheard []string `json:"unheard"` // members that did not answer; others pass it on
}

// Halt takes a sealed halt token, one that halts or one that ends a halt, keeps it
// and tells every member within reach, and returns who has it. Errors are those of
// halt.Open and halt.ErrOld.
func (n *Node) Halt(ctx context.Context, token []byte) (*Halting, error) {
	if !n.taking() {
		return nil, ErrNotReady
	}
	v := n.keeper.View()
	if v.Trust == nil {
		return nil, fmt.Errorf("%w: no trust metadata yet", ErrNotReady)
	}
	t, err := halt.Open(token, v.Swarm, v.Trust.Roles())
	if err != nil {
		return nil, err
	}
	if known := v.haltN; t.Counter <= known && !bytes.Equal(token, v.halt) {
		return nil, fmt.Errorf("%w: %d, known is %d", halt.ErrOld, t.Counter, known)
	}
	if err := n.keeper.offerOwn(ctx, &join.MetaReply{Format: join.MetaFormat, Halt: token}); err != nil {
		return nil, err
	}
	out := &Halting{Schema: "starling.halt/v1", Halted: t.Halted, Counter: t.Counter, Told: []string{string(v.ID)}, Unheard: []string{}}
	peers := n.within(v)
	for i, err := range n.tellHalt(ctx, peers, token) {
		name := peers[i].Short()
		if m := v.Member(peers[i]); m != nil {
			name = string(m.ID)
		}
		if err == nil {
			out.Told = append(out.Told, name)
		} else {
			out.Unheard = append(out.Unheard, name)
		}
	}
	return out, nil
}

// within are the members that may be reached: all but those known to be gone.
func (n *Node) within(v *View) []envelope.Key {
	there := n.heardOf()
	var out []envelope.Key
	for _, m := range v.Roster.Members {
		if g, heard := there[m.Index]; m.Index != v.Self && !m.Revoked && heard && g.State <= gossip.Suspect {
			out = append(out, m.Key)
		}
	}
	return out
}

// tellHalt hands a token to peers and returns what came of each.
func (n *Node) tellHalt(ctx context.Context, peers []envelope.Key, token []byte) []error {
	results := make([]error, len(peers))
	var g errgroup.Group
	g.SetLimit(maxPushes)
	for i, to := range peers {
		g.Go(func() error {
			_, results[i] = n.ask(ctx, to, haltProtocol, token, 16)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		n.log.Debug("halt token", "err", err)
	}
	return results
}

// passHalts passes a token on that this node has just accepted, however it came.
func (n *Node) passHalts(ctx context.Context) error {
	v := n.keeper.View()
	known := v.haltN
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.past:
		}
		v = n.keeper.View()
		if v.haltN <= known || len(v.halt) == 0 {
			continue
		}
		known = v.haltN
		peers := n.within(v)
		rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		if err := errors.Join(n.tellHalt(ctx, peers[:min(len(peers), haltFanOut)], v.halt)...); err != nil && ctx.Err() == nil {
			n.log.Debug("halt token not passed on everywhere", "err", err)
		}
	}
}

// Leave says goodbye before Run is ended: this node is being switched off, which is
// nobody's failure. It hands the lead over if it has it, tells the voters, then
// everybody. It returns ctx's error if ctx ends first; Run must still be ended.
func (n *Node) Leave(ctx context.Context) error {
	if !n.taking() {
		return nil
	}
	n.leaving.Store(true)
	n.tell()
	share, cancel := context.WithTimeout(ctx, n.time.call/4) // what is left is gossip's
	defer cancel()
	if r := n.voter.replica.Load(); r != nil {
		if err := r.HandOver(share); err != nil {
			n.log.Debug("lead not handed over", "err", err)
		}
	}
	if len(n.robots) > 0 {
		select {
		case <-n.goodbye:
		case <-share.Done(): // a voter out of reach: the others have heard it
		}
	}
	return n.gossip.Leave(ctx)
}
