package artifacts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/schedule"
	"github.com/starling-swarm/starling/artifacts/wire"
)

var (
	// errNotHeld says that no store has the chunk.
	errNotHeld = errors.New("artifacts: chunk not held")
	// errOver ends a stream that has done its work.
	errOver = errors.New("artifacts: over")
)

// maxAsks bounds the pieces that one stream owes; more break the protocol.
const maxAsks = 2 * schedule.PerPeer

// server is the serving end of one stream.
type server struct {
	x        *Exchange
	h        *shared
	s        Stream
	peer     envelope.Key
	wake     chan struct{} // depth 1: there is something to tell or to send
	replaced chan struct{} // closed by the peer's next stream for the same image

	mu   sync.Mutex // guards the field below
	asks []ask      // <= maxAsks; the first is being sent

	// The writer's.
	w       *bufio.Writer
	told    manifest.Bitmap // pieces the other side knows we have
	offered manifest.Bitmap // pieces the other side knows it is offered
	raw     []byte
	packer  packer
}

// ask is a piece that a stream owes.
type ask struct {
	wire.Ask
	begun    bool // chunks are being sent
	canceled bool
}

// Serve answers one stream of Protocol until the other side is done, ctx ends, the
// image is no longer held, or the protocol is broken. It closes the stream.
func (x *Exchange) Serve(ctx context.Context, s Stream, peer envelope.Key) error {
	if !x.enter(peer) {
		return s.Reset()
	}
	defer x.leave(peer)
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })() // unblocks what reads and writes
	r := wire.NewReader(bufio.NewReader(s))
	hello, err := readHello(s, r)
	if err != nil {
		return errors.Join(fmt.Errorf("serve %s: %w", peer.Short(), err), s.Reset())
	}
	h := x.image(hello.Manifest)
	if h == nil {
		return s.Close() // not here: the other side asks again later
	}
	v := &server{
		x: x, h: h, s: s, peer: peer, wake: make(chan struct{}, 1), replaced: make(chan struct{}),
		packer: packer{c: x.codec},
	}
	defer h.subscribe(v.wake)()
	h.join(v, hello.Have)
	defer h.part(v)
	if err := v.run(ctx, r); err != nil {
		return fmt.Errorf("serve %s: %w", peer.Short(), err)
	}
	return nil
}

func (v *server) run(ctx context.Context, r *wire.Reader) error {
	g, ctx := errgroup.WithContext(ctx)
	v.w = bufio.NewWriterSize(paced{ctx, v.s, v.x.up}, quantum)
	g.Go(func() error { return v.read(r) })
	g.Go(func() error { return v.write(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		return v.s.Reset() // unblocks the other two
	})
	if err := g.Wait(); !errors.Is(err, io.EOF) && !errors.Is(err, errOver) {
		return err
	}
	return nil
}

// readHello reads the first frame, which must come soon.
func readHello(s Stream, r *wire.Reader) (wire.Hello, error) {
	if err := s.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return wire.Hello{}, err
	}
	f, err := r.Read()
	if err != nil {
		return wire.Hello{}, err
	}
	hello, ok := f.(wire.Hello)
	if !ok {
		return wire.Hello{}, fmt.Errorf("%w: starts with %T", errProtocol, f)
	}
	return hello, s.SetReadDeadline(time.Time{})
}

// read takes what the fetcher says. It returns io.EOF when the fetcher is done.
func (v *server) read(r *wire.Reader) error {
	talk := talk{pieces: len(v.h.pieces)}
	p := peerOf(v.peer)
	for {
		f, err := r.Read()
		if err != nil {
			return err
		}
		if err := talk.check(f); err != nil {
			return err
		}
		switch f := f.(type) {
		case wire.Have:
			v.h.offer(func(o *schedule.Offers) { o.Has(p, f.Pieces) })
		case wire.Lost:
			v.h.offer(func(o *schedule.Offers) { o.Lacks(p, f.Pieces) })
		case wire.Ask:
			err = v.ask(f)
		case wire.Cancel:
			v.cancel(f)
		default:
			err = fmt.Errorf("%w: sends %T to a server", errProtocol, f)
		}
		if err != nil {
			return err
		}
	}
}

// ask queues a piece for the writer.
func (v *server) ask(f wire.Ask) error {
	if n := v.h.pieces[f.Piece].Count; slices.ContainsFunc(f.Chunks.All(), func(k int) bool { return k >= n }) {
		return fmt.Errorf("%w: asks for chunks beyond the %d of piece %d", errProtocol, n, f.Piece)
	}
	v.mu.Lock()
	full := len(v.asks) >= maxAsks
	twice := slices.ContainsFunc(v.asks, func(a ask) bool { return a.Piece == f.Piece })
	if !full && !twice {
		v.asks = append(v.asks, ask{Ask: f})
	}
	v.mu.Unlock()
	if full || twice {
		return fmt.Errorf("%w: asks for more than %d pieces, or for one twice, at once", errProtocol, maxAsks)
	}
	poke(v.wake)
	return nil
}

// cancel marks a piece that is no longer wanted; the writer ends it.
func (v *server) cancel(f wire.Cancel) {
	v.mu.Lock()
	for i := range v.asks {
		if a := &v.asks[i]; a.Piece == f.Piece && !(f.Waiting && a.begun) {
			a.canceled = true
		}
	}
	v.mu.Unlock()
	poke(v.wake)
}

// first is what to send now. It stays in the queue until it is ended.
func (v *server) first() (a ask, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.asks) == 0 {
		return ask{}, false
	}
	return v.asks[0], true
}

// begin notes that the first ask is being sent, and reports whether it is still wanted.
func (v *server) begin() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asks[0].begun = true
	return !v.asks[0].canceled
}

// end ends the first ask.
func (v *server) end(f wire.Frame) error {
	v.mu.Lock()
	v.asks = slices.Delete(v.asks, 0, 1)
	v.mu.Unlock()
	return v.send(f)
}

// drop takes canceled asks out of the queue, but for the first, whose turn it is.
func (v *server) drop() (pieces []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := len(v.asks) - 1; i > 0; i-- {
		if v.asks[i].canceled {
			pieces = append(pieces, v.asks[i].Piece)
			v.asks = slices.Delete(v.asks, i, i+1)
		}
	}
	return pieces
}

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
	}
}

func (v *server) send(f wire.Frame) error {
	if err := wire.Write(v.w, f); err != nil {
		return err
	}
	return v.w.Flush()
}

// tell announces what came, went and is offered since the last time, and ends what is
// no longer wanted.
func (v *server) tell() error {
	for _, piece := range v.drop() {
		if err := v.send(wire.Refuse{Piece: piece}); err != nil {
			return err
		}
	}
	offers := v.h.outstanding(peerOf(v.peer)) // before what is here: an offer is of that
	if err := announce(v.h.have(), &v.told, v.send); err != nil {
		return err
	}
	fresh := offers.Minus(v.offered).All()
	v.offered = offers
	for _, i := range fresh {
		if err := v.send(wire.Offer{Piece: uint32(i)}); err != nil {
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
			if err := v.tell(); err != nil {
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

// talk bounds what the other side may say on one stream besides chunks.
type talk struct {
	pieces, said int
}

// check refuses pieces that there are not, and endless chatter: each piece can be
// announced, offered, asked for and ended, and all that several times over.
func (t *talk) check(f wire.Frame) error {
	var pieces []uint32
	switch f := f.(type) {
	case wire.Data:
		return nil
	case wire.Have:
		pieces = f.Pieces
	case wire.Lost:
		pieces = f.Pieces
	case wire.Offer:
		pieces = []uint32{f.Piece}
	case wire.Ask:
		pieces = []uint32{f.Piece}
	case wire.Cancel:
		pieces = []uint32{f.Piece}
	case wire.Sent:
		pieces = []uint32{f.Piece}
	case wire.Refuse:
		pieces = []uint32{f.Piece}
	}
	if t.said += max(1, len(pieces)); t.said > 16*t.pieces+1024 {
		return fmt.Errorf("%w: talks without end", errProtocol)
	}
	if i := slices.IndexFunc(pieces, func(i uint32) bool { return i >= uint32(t.pieces) }); i >= 0 {
		return fmt.Errorf("%w: %T names piece %d of %d", errProtocol, f, pieces[i], t.pieces)
	}
	return nil
}
