package node

import (
	"context"
	"errors"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/rollout"
)

const (
	// seatProtocol is about who sits among the voters: one request, one answer.
	seatProtocol = "/starling/seat/1"
	seatFormat   = 1
	// maxSeatBytes bounds a request and an answer: a change and a signature are the
	// most that they hold.
	maxSeatBytes = 2 << 10
)

// A seatKind says what a seatRequest asks.
type seatKind uint8

const (
	seatInquiry seatKind = 1 // is your seat there, and would you take one?
	seatInvite  seatKind = 2 // run a replica under Server, so that you can be given a seat
	seatEndorse seatKind = 3 // do you endorse Change?
)

// seatRequest is what voters ask each other and whom they want among them.
type seatRequest struct {
	Format     uint               `cbor:"0,keyasint"`
	Kind       seatKind           `cbor:"1,keyasint"`
	Generation uint32             `cbor:"2,keyasint"`
	Version    uint32             `cbor:"3,keyasint"` // of the electorate before the change; zero in an inquiry
	Server     string             `cbor:"4,keyasint"` // seatInvite
	Change     *rollout.SetVoters `cbor:"5,keyasint"` // seatEndorse; without endorsements
}

// seatAnswer is what a member says of itself; the connection proves who it is.
type seatAnswer struct {
	Format uint `cbor:"0,keyasint"`
	// Server is the seat whose replica runs here, Lost the one whose log is gone;
	// both empty for none.
	Server string `cbor:"1,keyasint"`
	Lost   string `cbor:"2,keyasint"`
	// Ready says that the member would take a seat.
	Ready       bool                `cbor:"3,keyasint"`
	Refusal     string              `cbor:"4,keyasint"` // of an invitation or a change, for people
	Endorsement *envelope.Signature `cbor:"5,keyasint"`
}

// askSeat asks a member. A node asks itself without a network.
func (n *Node) askSeat(ctx context.Context, to envelope.Key, q seatRequest) (seatAnswer, error) {
	q.Format = seatFormat
	request := canonical.Encode(q)
	var data []byte
	var err error
	if to == n.key() {
		data, err = n.answerSeat(ctx, to, request)
	} else {
		data, err = n.ask(ctx, to, seatProtocol, request, maxSeatBytes)
	}
	var a seatAnswer
	if err == nil {
		err = canonical.DecodeFormat(data, maxSeatBytes, "seat answer", seatFormat, &a)
	}
	return a, err
}

// answerSeat answers a member of the roster.
func (n *Node) answerSeat(ctx context.Context, peer envelope.Key, request []byte) ([]byte, error) {
	var q seatRequest
	if err := canonical.DecodeFormat(request, maxSeatBytes, "seat request", seatFormat, &q); err != nil {
		return nil, err
	}
	var err error
	var sig *envelope.Signature
	switch {
	case q.Kind == seatInvite:
		err = n.voter.takeInvitation(ctx, peer, &q)
	case q.Kind == seatEndorse && q.Change != nil:
		sig, err = n.voter.endorse(ctx, peer, &q)
	case q.Kind != seatInquiry:
		err = errors.New("not understood")
	}
	a := n.voter.presence(n.keeper.View(), q.Generation)
	a.Endorsement = sig
	if err != nil {
		a.Refusal = clip(err.Error(), 1<<10)
		n.log.Debug("seat request refused", "peer", peer.Short(), "kind", q.Kind, "err", err)
	}
	return canonical.Encode(a), nil
}
