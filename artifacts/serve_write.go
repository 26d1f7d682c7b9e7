package artifacts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/schedule"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// A server's writer tells the other side what is here and sends what it asked for,
// one piece after the other; between chunks it passes on what is new.

// write says what is here and sends what is asked for.
func (v *server) write(ctx context.Context) error {
	v.told = v.h.have()
	err := v.send(wire.Hello{Format: wire.Format, Manifest: v.h.digest, Have: v.told.Trim(), Seed: v.x.cfg.Seed})
	if err != nil {
		return err
	}
	poke(v.wake) // offers may have been made before
	for {
		select {
		case <-v.wake:
		case <-v.h.gone:
			return errOver
		case <-v.replaced:
			return errOver
		case <-v.evicted:
			return errOver
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := v.tell(); err != nil {
			return err
		}
		for a, ok := v.first(); ok; a, ok = v.first() {
			if err := v.piece(ctx, a); err != nil {
				return err
			}
		}
		if err := v.w.Flush(); err != nil {
			return err
		}
	}
}

func (v *server) send(f wire.Frame) error {
	if err := v.put(f); err != nil {
		return err
	}
	return v.w.Flush()
}

// put is send for frames that may wait for the next send, or Flush.
func (v *server) put(f wire.Frame) error { return wire.Write(v.w, f) }

// tell announces what came, went and is offered since the last time, and ends what is
// no longer wanted. The caller flushes: between the chunks of a piece, a frame of its
// own for each piece that came would cost more than the wait for the next chunk.
func (v *server) tell() error {
	for _, piece := range v.drop() {
		if err := v.put(wire.Refuse{Piece: piece}); err != nil {
			return err
		}
	}
	offers := v.h.outstanding(peerOf(v.peer)) // before what is here: an offer is of that
	soon := v.h.expected()                    // before as well: what has come is told as such
	if err := announce(v.h.have(), &v.told, v.put); err != nil {
		return err
	}
	if err := v.foretell(soon); err != nil {
		return err
	}
	fresh := offers.Minus(v.offered).All()
	v.offered = offers
	for _, i := range fresh {
		if err := v.put(wire.Offer{Piece: uint32(i)}); err != nil {
			return err
		}
	}
	return nil
}

// foretell says what is on its way here from across a cut, and what no longer is though
// it has not come.
func (v *server) foretell(soon manifest.Bitmap) error {
	if len(soon) == 0 && len(v.soon) == 0 {
		return nil
	}
	soon = soon.Minus(v.told)
	lost, fresh := v.soon.Minus(soon).Minus(v.told), soon.Minus(v.soon)
	v.soon = soon
	if err := list(lost, asLost, v.put); err != nil {
		return err
	}
	return list(fresh, func(pieces []uint32) wire.Frame { return wire.Soon{Pieces: pieces} }, v.put)
}

// announce sends the difference of now and told, and brings told up to now.
func announce(now manifest.Bitmap, told *manifest.Bitmap, send func(wire.Frame) error) error {
	lost, fresh := told.Minus(now), now.Minus(*told)
	*told = now
	if err := list(lost, asLost, send); err != nil {
		return err
	}
	return list(fresh, func(pieces []uint32) wire.Frame { return wire.Have{Pieces: pieces} }, send)
}

// list sends as many frames as it takes to name these pieces; none if there are none.
func list(pieces manifest.Bitmap, frame func([]uint32) wire.Frame, send func(wire.Frame) error) error {
	var all []uint32
	for _, i := range pieces.All() {
		all = append(all, uint32(i))
	}
	for part := range slices.Chunk(all, wire.MaxHave) {
		if err := send(frame(part)); err != nil {
			return err
		}
	}
	return nil
}

func asLost(pieces []uint32) wire.Frame { return wire.Lost{Pieces: pieces} }

// piece sends the chunks that were asked for; between two of them it passes on what
// is new, for a piece may take long.
func (v *server) piece(ctx context.Context, a ask) error {
	end, err := v.turn(ctx)
	defer func() { end() }()
	if err != nil {
		return err
	}
	p := v.h.pieces[a.Piece]
	v.h.offer(func(o *schedule.Offers) { o.Asked(peerOf(v.peer), int(a.Piece)) })
	began, bytes := time.Now(), 0
	asked := a.Chunks.All()
	for i, k := range asked {
		if !v.begin() {
			return v.end(wire.Refuse{Piece: a.Piece})
		}
		n := p.First + k
		data, err := v.ahead.next(v.h, n, n+following(asked[i:]))
		if err != nil {
			return v.unreadable(a, n, err)
		}
		d := wire.Data{Chunk: uint32(n)}
		d.Encoding, d.Bytes = v.packer.pack(data)
		v.h.count(len(data), len(d.Bytes))
		if err := v.put(d); err != nil { // the next chunk, or the end, takes along what is left of it
			return err
		}
		bytes += len(d.Bytes)
		select {
		case <-v.wake:
			if err := v.tell(); err != nil {
				return err
			}
		case <-v.h.gone:
			return errOver
		case <-v.replaced:
			return errOver
		default:
		}
	}
	v.x.rates.sent(v.peer, bytes, time.Since(began))
	v.await(a.Piece, end)
	end = func() {} // it is the receiver who ends it
	return v.end(wire.Sent{Piece: a.Piece})
}

// turn waits until v may send its first ask, or it is canceled. end must be called in
// any case.
func (v *server) turn(ctx context.Context) (end func(), err error) {
	come, end := v.x.turns.ask()
	for {
		select {
		case <-come:
			return end, nil
		case <-v.wake:
			if err := errors.Join(v.tell(), v.w.Flush()); err != nil {
				return end, err
			}
			if a, _ := v.first(); a.canceled {
				return end, nil
			}
		case <-v.h.gone:
			return end, errOver
		case <-v.replaced:
			return end, errOver
		case <-ctx.Done():
			return end, ctx.Err()
		}
	}
}

// unreadable answers for a chunk that is not here, or damaged on our disk: we are not
// the liar, so we do not send it. If the store still vouches for it, something else
// is wrong here, and the other side had better come back later.
func (v *server) unreadable(a ask, n int, err error) error {
	v.x.cfg.Log.Warn("chunk not served", "chunk", n, "peer", v.peer.Short(), "err", err)
	if v.h.hasChunk(n) {
		return fmt.Errorf("read chunk %d: %w", n, err)
	}
	v.h.changed()
	return v.end(wire.Refuse{Piece: a.Piece})
}
