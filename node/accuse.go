package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/gossip/member"
)

// A voter that signs two orders for one index is in the wrong hands, or two machines
// hold its key. One such voter can decide nothing, a second one could, so people must
// learn of the first. Whoever sees both signatures notes it and hands them on, to other
// voters and to operators: they prove themselves.

const (
	// signedTwice is the kind of event that says so.
	signedTwice = "signed-twice"
	// maxAccused bounds the members whose proofs are kept; the first ones stay.
	maxAccused   = 16
	accuseFormat = 1
	// maxAccuseBytes bounds an encoded accusation: two statements and their frame.
	maxAccuseBytes = 2*consensus.MaxSignedBytes + 16
)

// errNoProof is returned to whoever accuses a voter without proof.
var errNoProof = errors.New("node: these signatures prove nothing")

// accusation is a request of accuseProtocol.
type accusation struct {
	Format uint   `cbor:"0,keyasint"`
	A      []byte `cbor:"1,keyasint"` // encoded signed statements
	B      []byte `cbor:"2,keyasint"`
}

// proven is the key that signed both statements of an accusation, which are about one
// index of swarm.
func (a *accusation) proven(swarm string) (envelope.Key, *consensus.SignedStatement, error) {
	first, err := consensus.DecodeSigned(a.A)
	if err != nil {
		return envelope.Key{}, nil, err
	}
	second, err := consensus.DecodeSigned(a.B)
	if err != nil {
		return envelope.Key{}, nil, err
	}
	s, t := &first.Statement, &second.Statement
	one := s.Swarm == swarm && t.Swarm == swarm && s.Generation == t.Generation && s.Index == t.Index && first.Signature.Key == second.Signature.Key
	if !one || *s == *t || !s.Verify(first.Signature) || !t.Verify(second.Signature) {
		return envelope.Key{}, nil, errNoProof
	}
	return first.Signature.Key, &first, nil
}

// accused are the proofs that this node has, one for each member.
type accused struct {
	mu    sync.Mutex // guards proof
	proof map[envelope.Key][]byte
}

// add keeps a proof, and reports whether it is the first of its member.
func (c *accused) add(k envelope.Key, proof []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proof[k] != nil || len(c.proof) >= maxAccused {
		return false
	}
	if c.proof == nil {
		c.proof = map[envelope.Key][]byte{}
	}
	c.proof[k] = proof
	return true
}

// of are the proofs against those that v still has in the roster.
func (c *accused) of(v *View) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out [][]byte
	if v.Roster == nil {
		return nil
	}
	for i := range v.Roster.Members {
		if m := &v.Roster.Members[i]; !m.Revoked && c.proof[m.Key] != nil {
			out = append(out, c.proof[m.Key])
		}
	}
	return out
}

// accuse notes what a replica has found.
func (n *Node) accuse(r *consensus.Replica) {
	for _, e := range r.Evidence() {
		a := &accusation{Format: accuseFormat, A: e.A.Encode(), B: e.B.Encode()}
		if err := n.convict(a); err != nil { // it has left the roster meanwhile
			n.log.Debug("a voter that signed twice is not accused", "member", e.Voter.Member, "err", err)
		}
	}
}

// convict notes an accusation, if it is a proof against a member and new.
func (n *Node) convict(a *accusation) error {
	v := n.keeper.View()
	key, s, err := a.proven(v.Swarm)
	if err != nil {
		return err
	}
	m := v.Member(key)
	if m == nil {
		return errStranger
	}
	if !n.accused.add(key, canonical.Encode(a)) {
		return nil
	}
	text := fmt.Sprintf("%s signed two orders for g%d/%d: it is in the wrong hands, or its disk forgets, or two machines hold its key", m.ID, s.Statement.Generation, s.Statement.Index)
	n.log.Error("a voter signed twice", "member", m.ID, "index", s.Statement.Index)
	n.note(Event{Kind: signedTwice, Member: string(m.ID), Text: text})
	return nil
}

// answerAccuse takes an accusation from another member.
func (n *Node) answerAccuse(_ context.Context, _ envelope.Key, request []byte) ([]byte, error) {
	var a accusation
	if err := canonical.DecodeFormat(request, maxAccuseBytes, "accusation", accuseFormat, &a); err != nil {
		return nil, err
	}
	return nil, n.convict(&a)
}

// pushAccusations hands on what this node can prove. It does so again and again, since
// an operator may come back later; those who know take no note of it.
func (n *Node) pushAccusations(ctx context.Context, g *errgroup.Group) {
	for _, proof := range n.accused.of(n.keeper.View()) {
		n.push(ctx, g, accuseProtocol, proof)
	}
}

// hostile are the newest words on members that signed twice and are still in the
// roster, also those that were noted before a restart.
func (n *Node) hostile(v *View) []Event {
	var out []Event
	all := n.events.since(0)
	for _, e := range slices.Backward(all) {
		same := func(o Event) bool { return o.Member == e.Member }
		if e.Kind == signedTwice && v.Roster != nil && v.Roster.ByID(member.ID(e.Member)) != nil && !slices.ContainsFunc(out, same) {
			out = append(out, e)
		}
	}
	return out
}
