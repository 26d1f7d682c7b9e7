package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

const (
	// askWidth is how many members are asked for one document at a time: documents
	// are small beside what a robot loses by waiting for one that has gone silent.
	askWidth = 3
	// askMost is how many members are asked at all before the caller must try again,
	// which then asks others: their order is partly chance.
	askMost = 32
	// askShare of the time for a call is waited for one member before the next is
	// asked beside it.
	askShare = 10
)

// answerDocument hands a member one document.
func (n *Node) answerDocument(_ context.Context, _ envelope.Key, request []byte) ([]byte, error) {
	q, err := join.DecodeDocumentRequest(request)
	if err != nil {
		return nil, err
	}
	data, err := n.docs.get(q.Kind, q.Digest)
	if errors.Is(err, ErrNoDocument) {
		return nil, nil // an empty answer: not here
	}
	return data, err
}

// answerPacked is answerDocument, packed.
func (n *Node) answerPacked(ctx context.Context, from envelope.Key, request []byte) ([]byte, error) {
	data, err := n.answerDocument(ctx, from, request)
	if err != nil {
		return nil, err
	}
	return n.packer.Pack(data)
}

// callDocument asks a member for a document of at most limit bytes; nothing is that it
// has none. One that does not know how to pack is asked for it as it is.
func (n *Node) callDocument(ctx context.Context, to envelope.Key, request []byte, limit int) ([]byte, error) {
	answer, err := n.bulk.Call(ctx, to, join.PackedDocumentProtocol, request, join.MaxPackedBytes(limit))
	if errors.Is(err, p2p.ErrRefused) {
		return n.bulk.Call(ctx, to, join.DocumentProtocol, request, limit)
	}
	if err != nil {
		return nil, err
	}
	return n.packer.Unpack(answer, limit)
}

// document returns a document from here, or from the first member that has it. It
// is what the digest names, but not otherwise verified.
func (n *Node) document(ctx context.Context, k join.DocumentKind, d manifest.Digest) ([]byte, error) {
	if data, err := n.docs.get(k, d); err == nil {
		return data, nil
	}
	request := canonical.Encode(join.DocumentRequest{Format: join.MetaFormat, Kind: k, Digest: d})
	from := n.documentFrom(n.keeper.View())
	from = from[:min(len(from), askMost)]
	data, err := hedged(ctx, from, n.time.call/askShare, func(ctx context.Context, to envelope.Key) ([]byte, error) {
		return n.askDocument(ctx, to, k, d, request)
	})
	switch {
	case err == nil:
		return data, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w: %s %s, and %d members asked did not have it: %w", ErrNoDocument, k, d.Short(), len(from), err)
}

// documentFrom lists whom to ask for a document. In a crowd the voters come before the
// operators, robot by robot another one: they do not sign what they have not seen, and
// the operator's node alone would be asked by all at once.
func (n *Node) documentFrom(v *View) []envelope.Key {
	all := n.candidates()
	if !n.crowded(v) || v.Electorate == nil {
		return all
	}
	var first []envelope.Key
	voters := v.Electorate.Voters
	for i := range voters {
		if to := voters[(int(v.Self)+i)%len(voters)]; slices.Contains(all, to.Key) { // it is there
			first = append(first, to.Key)
		}
	}
	return append(first, slices.DeleteFunc(all, func(k envelope.Key) bool { return slices.Contains(first, k) })...)
}

// hedged asks members for the same thing and returns the first answer: the next one
// when the last has failed, or has not answered after a while, and askWidth at once
// at most. Asks that lost are cancelled, and have ended when it returns. If all
// fail, the error has all of theirs; with nobody to ask it is ErrNoDocument.
func hedged(ctx context.Context, from []envelope.Key, after time.Duration, ask func(context.Context, envelope.Key) ([]byte, error)) (data []byte, err error) {
	if len(from) == 0 {
		return nil, ErrNoDocument
	}
	ctx, cancel := context.WithCancel(ctx)
	type answer struct {
		data []byte
		err  error
	}
	answers := make(chan answer, askWidth) // never full: as deep as there are asks out
	out := 0
	defer func() {
		cancel()
		for ; out > 0; out-- {
			<-answers
		}
	}()
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	for len(from) > 0 || out > 0 {
		due := next.C
		if len(from) == 0 || out == askWidth {
			due = nil
		}
		select {
		case <-due:
			to := from[0]
			from = from[1:]
			out++
			go func() {
				data, err := ask(ctx, to)
				answers <- answer{data, err}
			}()
			next.Reset(after)
		case a := <-answers:
			out--
			if a.err == nil {
				return a.data, nil
			}
			errs = append(errs, a.err)
			next.Reset(0)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, errors.Join(errs...)
}

func (n *Node) askDocument(ctx context.Context, to envelope.Key, k join.DocumentKind, d manifest.Digest, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time.call)
	defer cancel()
	data, err := n.callDocument(ctx, to, request, k.Limit())
	switch {
	case errors.Is(err, p2p.ErrFrame):
		n.blameDocument(to, fmt.Sprintf("answered with more than a %s may have", k))
	case errors.Is(err, join.ErrPacking):
		n.blameDocument(to, fmt.Sprintf("sent a %s that does not unpack: %v", k, err))
	}
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, ErrNoDocument
	}
	if got, err := k.Digest(data); err != nil || got != d {
		n.blameDocument(to, fmt.Sprintf("sent something else than the %s %s that was asked for", k, d.Short()))
		return nil, ErrNoDocument
	}
	_, err = n.docs.put(k, data)
	return data, err
}

// candidates lists the members that are worth asking: those alive, operators first,
// for they seed, then the others, the near before the far.
func (n *Node) candidates() []envelope.Key {
	if !n.taking() {
		return nil // nobody is known before gossip
	}
	v := n.keeper.View()
	var first []envelope.Key
	var rest []near
	for _, m := range n.gossip.Members() {
		key := v.keyOf(m.Index)
		if m.Index == v.Self || m.State != gossip.Alive || key.IsZero() {
			continue
		}
		if v.Roster.At(m.Index).Role == member.Operator {
			first = append(first, key)
		} else {
			rest = append(rest, near{key, n.gossip.RoundTrip(m.Index)})
		}
	}
	return append(first, nearFirst(rest)...)
}
