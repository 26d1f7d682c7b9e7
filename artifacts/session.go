package artifacts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/pace"
	"github.com/starling-swarm/starling/artifacts/schedule"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// session is the fetching end of one stream.
type session struct {
	f     *fetch
	peer  envelope.Key
	began time.Time
	fails int             // of earlier sessions with the peer, in a row
	end   func()          // gives the session up
	out   chan wire.Frame // run to writer; depth as many as can be owed; a full one ends the session

	useful  bool // the peer has the image; run's
	stalled bool // it was given up because nothing came that was owed; the fetch's
	// seed says that the peer offers: it alone wants to know all that is here. Whoever
	// else sends is told only what came from it; if it fetches from here, it hears the
	// rest on its own stream.
	seed atomic.Bool
	news chan struct{} // depth 1: what is here has changed, or seed

	mu    sync.Mutex // guards the fields below
	heard time.Time  // when bytes came last, or when the peer began to owe some
	// owed is the chunks, by piece, that were asked for and have not come. A piece
	// stays until the peer has said its last of it.
	owed map[int]manifest.Bitmap
	// given is what the peer has sent whole, and refused what it refused since then
	// though it had said that it holds it, and nobody had told it to stop.
	given, refused int
	canceled       manifest.Bitmap // pieces that it was told to stop
}

// maxRefused is after how many refusals in a row a peer's word about what it holds is
// no longer believed: a disk that dies says so with Lost.
const maxRefused = 16

// errFalseHave says that a peer claims to hold what it does not send.
var errFalseHave = errors.New("artifacts: the peer does not send what it says it holds")

func newSession(f *fetch, k envelope.Key, now time.Time, end func()) *session {
	return &session{
		f: f, peer: k, began: now, fails: f.tries[k].fails, end: end,
		news: make(chan struct{}, 1), out: make(chan wire.Frame, 4*schedule.PerPeer), owed: map[int]manifest.Bitmap{},
	}
}

// wrongChunk reports bytes that are not what was asked for.
type wrongChunk struct{ chunk int }

func (e *wrongChunk) Error() string {
	return fmt.Sprintf("artifacts: chunk %d has wrong bytes", e.chunk)
}

// expect notes that chunks of a piece are asked for.
func (s *session) expect(piece int, chunks manifest.Bitmap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owed) == 0 {
		s.heard = time.Now()
	}
	s.owed[piece] = chunks.Clone()
	s.canceled = s.canceled.Without(piece)
}

// cancel notes that the peer is told to stop a piece: it may refuse it.
func (s *session) cancel(piece int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.canceled = s.canceled.With(piece)
}

// refusal notes a refusal; false says that there have been too many.
func (s *session) refusal(piece int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.canceled.Has(piece) {
		s.refused++
	}
	return s.refused < maxRefused
}

// delivered notes a piece that was sent whole.
func (s *session) delivered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	s.refused = 0
}

// gave reports whether the peer has sent anything whole.
func (s *session) gave() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given > 0
}

// came takes a chunk off what is owed; false says that it is not.
func (s *session) came(chunk int) bool {
	piece := s.f.h.pieceOf(chunk)
	if piece < 0 {
		return false
	}
	k := chunk - s.f.h.pieces[piece].First
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.owed[piece].Has(k) {
		return false
	}
	s.owed[piece] = s.owed[piece].Without(k)
	return true
}

// over notes that the peer has said its last of a piece. It returns how many chunks
// did not come; ok is false if the piece was not asked for.
func (s *session) over(piece int) (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chunks, ok := s.owed[piece]
	delete(s.owed, piece)
	return chunks.Count(), ok
}

// lastHeard is when bytes came last, and whether the peer owes any.
func (s *session) lastHeard() (at time.Time, owes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard, len(s.owed) > 0
}

// mark notes that bytes came.
func (s *session) mark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

// say hands a frame to the writer. If that is stuck, the session is of no use.
func (s *session) say(f wire.Frame) {
	select {
	case s.out <- f:
	default:
		s.end()
	}
}

// tell hands an event to the fetch's goroutine.
func (s *session) tell(ctx context.Context, apply func(*fetch) error) error {
	select {
	case s.f.events <- apply:
		return nil
	case <-s.f.done:
		return errOver
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run talks to one member until it has nothing more to say, or ctx ends. all is the
// context of the whole fetch.
func (s *session) run(all, ctx context.Context) {
	err := s.talk(ctx)
	// An error says that the fetch is over.
	_ = s.tell(all, func(f *fetch) error { f.ended(s, err); return nil })
}

func (s *session) talk(ctx context.Context) error {
	stream, err := s.open(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.write(ctx, stream) })
	g.Go(func() error { return s.read(ctx, stream) })
	g.Go(func() error {
		<-ctx.Done()
		return stream.Reset() // unblocks the other two
	})
	return g.Wait()
}

// open opens a stream, unless the image is complete before it has.
func (s *session) open(ctx context.Context) (Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.f.dial, cancel)()
	return s.f.x.cfg.Peers.Open(ctx, s.peer)
}

// write says what is here, and asks. When the image is complete it says so and
// closes the stream.
func (s *session) write(ctx context.Context, stream Stream) error {
	w := bufio.NewWriter(stream)
	patience := silence
	send := func(f wire.Frame) error {
		if err := stream.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if err := wire.Write(w, f); err != nil {
			return err
		}
		return w.Flush()
	}
	store := s.f.store
	defer s.f.h.subscribe(s.news)()
	told := store.Have()
	if err := send(wire.Hello{Format: wire.Format, Manifest: store.Digest(), Have: told.Trim()}); err != nil {
		return err
	}
	for {
		select {
		case <-s.news:
			if !s.seed.Load() {
				continue
			}
			if err := announce(store.Have(), &told, send); err != nil {
				return err
			}
		case f := <-s.out:
			if err := send(f); err != nil {
				return err
			}
		case <-s.f.done:
			patience = farewell
			var last error
			if s.seed.Load() {
				last = announce(store.Have(), &told, send)
			}
			return errors.Join(errOver, last, stream.Close())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read takes what the member says and sends.
func (s *session) read(ctx context.Context, stream Stream) error {
	r := wire.NewReader(bufio.NewReaderSize(metered{ctx, stream, s.f.x.down, s.mark}, pace.Quantum))
	hello, err := readHello(stream, r)
	if err != nil {
		return err
	}
	if hello.Manifest != s.f.h.digest {
		return fmt.Errorf("%w: answers for another image", errProtocol)
	}
	if hello.Seed {
		s.seed.Store(true)
		poke(s.news)
	}
	err = s.tell(ctx, func(f *fetch) error {
		s.useful = true
		f.look = time.Time{} // there is room to open the next
		f.plan.Join(peerOf(s.peer), hello.Have, hello.Seed)
		return nil
	})
	if err != nil {
		return err
	}
	in := &incoming{s: s, talk: talk{pieces: len(s.f.h.pieces)}}
	for err == nil {
		var f wire.Frame
		if f, err = r.Read(); err == nil {
			err = in.frame(ctx, f)
		}
	}
	return errors.Join(err, in.flush(ctx))
}

// frame takes one frame.
func (in *incoming) frame(ctx context.Context, f wire.Frame) error {
	if err := in.talk.check(f); err != nil {
		return err
	}
	s, peer := in.s, peerOf(in.s.peer)
	switch f.(type) {
	case wire.Refuse, wire.Sent: // the end of a piece
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	switch f := f.(type) {
	case wire.Have:
		return s.tell(ctx, func(x *fetch) error { x.plan.Has(peer, f.Pieces); return nil })
	case wire.Soon:
		return s.tell(ctx, func(x *fetch) error { x.plan.Soon(peer, f.Pieces); return nil })
	case wire.Lost:
		return s.tell(ctx, func(x *fetch) error { x.plan.Lacks(peer, f.Pieces); return nil })
	case wire.Offer:
		return s.tell(ctx, func(x *fetch) error { x.plan.Offered(peer, int(f.Piece)); return nil })
	case wire.Refuse:
		if _, ok := s.over(int(f.Piece)); !ok {
			return fmt.Errorf("%w: refuses piece %d, which nobody asked for", errProtocol, f.Piece)
		}
		if !s.refusal(int(f.Piece)) {
			return fmt.Errorf("%w: %d pieces in a row", errFalseHave, maxRefused)
		}
		return s.tell(ctx, func(x *fetch) error { x.plan.Refused(peer, int(f.Piece)); return nil })
	case wire.Sent:
		if left, ok := s.over(int(f.Piece)); !ok || left > 0 {
			return fmt.Errorf("%w: says that piece %d was sent, but it was not", errProtocol, f.Piece)
		}
		s.delivered()
		return s.tell(ctx, func(x *fetch) error { x.arrived(s.peer, int(f.Piece)); return nil })
	case wire.Data:
		return in.data(ctx, f)
	}
	return fmt.Errorf("%w: sends %T to a fetcher", errProtocol, f)
}
