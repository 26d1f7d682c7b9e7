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
	"github.com/starling-swarm/starling/artifacts/pace"
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
	evicted  chan struct{} // closed when another member needs the place; by Exchange.makeRoom

	mu    sync.Mutex // guards the fields below
	asks  []ask      // <= maxAsks; the first is being sent
	asked time.Time  // when an ask came or ended last
	sent  []sent     // <= schedule.PerPeer
	gone  bool       // evicted is closed

	// The writer's.
	w       *bufio.Writer
	told    manifest.Bitmap // pieces the other side knows we have
	soon    manifest.Bitmap // pieces the other side knows are on their way here
	offered manifest.Bitmap // pieces the other side knows it is offered
	ahead   ahead
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
	err := x.serve(ctx, s, peer)
	x.blame(peer, err)
	return err
}

func (x *Exchange) serve(ctx context.Context, s Stream, peer envelope.Key) error {
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
		evicted: make(chan struct{}), asked: time.Now(), packer: packer{c: x.codec},
	}
	x.seat(v)
	defer x.unseat(v)
	defer h.subscribe(v.wake)()
	h.join(v, hello.Have)
	defer h.part(v)
	defer v.giveBack()
	if err := v.run(ctx, r); err != nil {
		return fmt.Errorf("serve %s: %w", peer.Short(), err)
	}
	return nil
}

func (v *server) run(ctx context.Context, r *wire.Reader) error {
	g, ctx := errgroup.WithContext(ctx)
	v.w = bufio.NewWriterSize(paced{ctx, v.s, v.x.shape, string(peerOf(v.peer))}, pace.Quantum)
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
			v.took(f.Pieces)
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
		v.asks, v.asked = append(v.asks, ask{Ask: f}), time.Now()
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
	v.asks, v.asked = slices.Delete(v.asks, 0, 1), time.Now()
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
