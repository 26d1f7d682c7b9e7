package artifacts

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	if err := announce(v.h.have(), &v.told, v.put); err != nil {
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

// announce sends the difference of now and told, and brings told up to now.
func announce(now manifest.Bitmap, told *manifest.Bitmap, send func(wire.Frame) error) error {
	lost, fresh := numbers(told.Minus(now)), numbers(now.Minus(*told))
	*told = now
	for part := range slices.Chunk(lost, wire.MaxHave) {
		if err := send(wire.Lost{Pieces: part}); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(fresh, wire.MaxHave) {
		if err := send(wire.Have{Pieces: part}); err != nil {
			return err
		}
	}
	return nil
}

func numbers(b manifest.Bitmap) []uint32 {
	var out []uint32
	for _, i := range b.All() {
		out = append(out, uint32(i))
	}
	return out
}

// piece sends the chunks that were asked for; between two of them it passes on what
// is new, for a piece may take long.
func (v *server) piece(ctx context.Context, a ask) error {
	end, err := v.turn(ctx)
	defer end()
	if err != nil {
		return err
	}
	p := v.h.pieces[a.Piece]
	v.h.offer(func(o *schedule.Offers) { o.Asked(peerOf(v.peer), int(a.Piece)) })
	for _, k := range a.Chunks.All() {
		if !v.begin() {
			return v.end(wire.Refuse{Piece: a.Piece})
		}
		n := p.First + k
		data, err := v.h.read(n, v.raw)
		if err != nil {
			return v.unreadable(a, n, err)
		}
		v.raw = data
		v.h.count(len(data))
		d := wire.Data{Chunk: uint32(n)}
		d.Encoding, d.Bytes = v.packer.pack(data)
		if err := v.send(d); err != nil {
			return err
		}
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
