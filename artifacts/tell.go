package artifacts

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// Tell lets up to n of the first candidates know what is here of an image that came
// by another way than Fetch: a seed counts copies before it says that it may leave,
// and would not hear of this one. Who cannot be reached is passed over.
func (x *Exchange) Tell(ctx context.Context, s Store, n int) {
	all := x.cfg.Peers.Candidates()
	for _, k := range all[:min(n, len(all))] {
		if err := x.tell(ctx, s, k); err != nil {
			x.cfg.Log.Debug("member not told of an image", "peer", k.Short(), "err", err)
		}
	}
}

// tell says what is here to one member, and waits until it has heard.
func (x *Exchange) tell(ctx context.Context, s Store, to envelope.Key) error {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	stream, err := x.cfg.Peers.Open(ctx, to)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = stream.Reset() })() // unblocks what follows
	err = stream.SetWriteDeadline(time.Now().Add(farewell))
	if err == nil {
		err = wire.Write(stream, wire.Hello{Format: wire.Format, Manifest: s.Digest(), Have: s.Have().Trim()})
	}
	if err == nil { // the answer comes after the other side has taken note
		_, err = readHello(stream, wire.NewReader(bufio.NewReader(stream)))
	}
	return errors.Join(err, stream.Close())
}
