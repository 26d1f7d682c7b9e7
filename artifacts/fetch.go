package artifacts

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/schedule"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// fetch is one image on its way in. Its run method owns the schedule and all below
// it; sessions talk to it through events.
type fetch struct {
	x      *Exchange
	h      *shared
	store  Store
	plan   *schedule.Fetch
	events chan func(*fetch) error // from sessions to run; unbuffered, given up when run has ended
	news   chan struct{}           // depth 1: what is here has changed, maybe not by us
	done   chan struct{}           // closed by run when the image is complete
	live   map[envelope.Key]*session
	tries  map[envelope.Key]try // of members that have no session
	look   time.Time            // when to look for members again
	dial   context.Context      // of dials alone: ends when the image is complete, for then nobody waits for them
	recent *recent              // what came last, for those who fetch from here
	bytes  int64                // verified so far
	told   int                  // progress told last, in per mille
}

// try is when a member may be tried again, and how often it failed in a row.
type try struct {
	at    time.Time
	fails int
}

// Fetch brings a store's image here, from whoever has it, and serves what is here
// already while it runs. progress, which may be nil, gets the verified share in
// per mille whenever it changes. Fetch returns nil when the image is complete and
// flushed, ctx's error when ctx ends (what came is kept and flushed), or the
// store's error if it cannot be written. It waits for as long as nobody has what is
// missing.
func (x *Exchange) Fetch(ctx context.Context, s Store, progress func(permille int)) error {
	release := x.Hold(s)
	defer release()
	f := newFetch(x, x.image(s.Digest()), s)
	defer f.h.subscribe(f.news)()
	f.h.keep(f.recent)
	defer f.h.keep(nil)
	defer f.h.expect(nil)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var complete context.CancelFunc
	f.dial, complete = context.WithCancel(ctx)
	defer complete()
	var late *time.Timer
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := f.run(ctx, g, progress); err != nil {
			return err
		}
		close(f.done)
		complete()
		late = time.AfterFunc(farewell, cancel) // for sessions whose peer does not listen
		return nil
	})
	err := g.Wait()
	if late != nil {
		late.Stop()
	}
	return errors.Join(err, s.Flush())
}

func newFetch(x *Exchange, h *shared, s Store) *fetch {
	have := s.Have()
	sizes := make([]int64, len(h.pieces))
	f := &fetch{
		x: x, h: h, store: s, told: -1, recent: newRecent(h.bytes),
		events: make(chan func(*fetch) error), news: make(chan struct{}, 1), done: make(chan struct{}),
		live: map[envelope.Key]*session{}, tries: map[envelope.Key]try{},
	}
	for i, p := range h.pieces {
		sizes[i] = p.Bytes
		if have.Has(i) {
			f.bytes += p.Bytes
		}
	}
	f.plan = schedule.NewFetch(sizes, have, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	if x.cfg.Self != (envelope.Key{}) {
		f.plan.SetSelf(peerOf(x.cfg.Self))
	}
	if retry := x.cfg.Retry; retry > DefaultRetry {
		f.plan.SetStarve(2 * retry)
	}
	return f
}

// run owns the schedule until nothing is missing.
func (f *fetch) run(ctx context.Context, g *errgroup.Group, progress func(int)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		f.report(progress)
		if f.plan.Done() {
			if f.compare(); f.plan.Done() {
				return nil
			}
		}
		f.connect(ctx, g)
		f.listen()
		f.carryOut(f.plan.Next(time.Now()))
		f.h.expect(f.plan.Crossing())
		timer.Reset(f.wait())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-f.news:
			f.compare()
		case apply := <-f.events:
			if err := apply(f); err != nil {
				return err
			}
		}
	}
}

// compare tells the schedule of pieces that the store has no more: a chunk was found
// damaged when it was read for somebody.
func (f *fetch) compare() {
	have := f.store.Have()
	for i, p := range f.h.pieces {
		if f.plan.Holds(i) && !have.Has(i) {
			f.plan.Lost(i)
			f.bytes -= p.Bytes
		}
	}
}

func (f *fetch) report(progress func(int)) {
	permille := 1000
	if f.h.bytes > 0 {
		permille = int(f.bytes * 1000 / f.h.bytes)
	}
	if progress != nil && permille != f.told {
		progress(permille)
	}
	f.told = permille
}

// wait is how long nothing needs to be done.
func (f *fetch) wait() time.Duration {
	d := f.x.cfg.Retry
	if at := f.plan.Deadline(); !at.IsZero() {
		d = min(d, time.Until(at))
	}
	return max(d, time.Millisecond)
}

// connect opens sessions with members that may have the image. When there are as many
// as there may be, and none of them can help, the oldest has to go.
func (f *fetch) connect(ctx context.Context, g *errgroup.Group) {
	now := time.Now()
	if now.Before(f.look) {
		return
	}
	f.look = now.Add(f.x.cfg.Retry)
	for _, k := range f.x.cfg.Peers.Candidates() {
		if f.live[k] != nil || f.plan.Out(peerOf(k)) || now.Before(f.tries[k].at) || f.x.senders.out(k, now) {
			continue
		}
		if f.opening() >= maxOpening {
			return
		}
		if len(f.live) >= MaxSessions {
			if old := f.oldest(); f.plan.Idle(now) && now.Sub(old.began) >= minStay*f.x.cfg.Retry {
				old.end()
			}
			return
		}
		sctx, end := context.WithCancel(ctx)
		s := newSession(f, k, now, end)
		f.live[k] = s
		g.Go(func() error {
			defer end()
			s.run(ctx, sctx)
			return nil
		})
	}
}

// opening counts the sessions whose peer has not answered yet.
func (f *fetch) opening() (n int) {
	for _, s := range f.live {
		if !s.useful {
			n++
		}
	}
	return n
}

func (f *fetch) oldest() *session {
	var old *session
	for _, s := range f.live {
		if old == nil || s.began.Before(old.began) {
			old = s
		}
	}
	return old
}

// listen tells the schedule whom bytes came from, and ends sessions with peers that
// owe something and have been silent for too long.
func (f *fetch) listen() {
	now := time.Now()
	for _, s := range f.live {
		heard, owes := s.lastHeard()
		f.plan.Heard(peerOf(s.peer), heard)
		if owes && now.Sub(heard) >= silence {
			s.stalled = true
			s.end()
		}
	}
}

// carryOut passes on what the schedule wants.
func (f *fetch) carryOut(asks []schedule.Ask) {
	for _, a := range asks {
		s := f.live[envelope.Key([]byte(a.Peer))]
		if s == nil {
			continue
		}
		if a.Abandon || a.Recall {
			s.cancel(a.Piece)
			s.say(wire.Cancel{Piece: uint32(a.Piece), Waiting: a.Recall})
			continue
		}
		p := f.h.pieces[a.Piece]
		var chunks manifest.Bitmap
		for k := range p.Count {
			if !f.store.HasChunk(p.First + k) {
				chunks = chunks.With(k)
			}
		}
		if chunks.Count() == 0 { // the last of it came late, from somebody who had been given up
			f.plan.Ended(a.Peer, a.Piece)
			f.arrived(envelope.Key{}, a.Piece)
			continue
		}
		s.expect(a.Piece, chunks)
		s.say(wire.Ask{Piece: uint32(a.Piece), Chunks: chunks})
	}
}

// arrived checks off a piece when its sender says that all of it was sent.
func (f *fetch) arrived(from envelope.Key, piece int) {
	p := f.h.pieces[piece]
	for k := range p.Count {
		if !f.store.HasChunk(p.First + k) {
			f.plan.Ended(peerOf(from), piece)
			return
		}
	}
	before := f.plan.Missing()
	f.plan.Got(peerOf(from), piece, time.Now())
	f.x.rates.got(from, f.plan.Rate(peerOf(from)))
	if s := f.live[from]; s != nil { // whose turn is over; see turns
		s.say(wire.Have{Pieces: []uint32{uint32(piece)}})
	}
	if f.plan.Missing() < before {
		f.bytes += p.Bytes
		f.x.cfg.Events(PieceVerified{Image: f.h.digest, Piece: piece, From: from})
		f.h.changed()
	}
}

// ended takes leave of a session. err says why it ended.
func (f *fetch) ended(s *session, err error) {
	p := peerOf(s.peer)
	t := try{}
	f.complain(s, err)
	f.plan.Leave(p)
	delete(f.live, s.peer)
	if !s.useful || s.stalled && !s.gave() {
		t.fails = min(s.fails+1, 5)
	}
	delay := f.x.cfg.Retry << max(0, t.fails-1)
	t.at = time.Now().Add(delay*3/4 + rand.N(delay/2+1))
	f.tries[s.peer] = t
	f.look = time.Time{}
}

// complain says what the peer of a session did wrong, if that is how it ended, and
// counts it.
func (f *fetch) complain(s *session, err error) {
	fault := PeerFault{Image: f.h.digest, From: s.peer}
	var wrong *wrongChunk
	switch {
	case errors.As(err, &wrong):
		out := f.strike(s.peer)
		f.x.cfg.Log.Warn("chunk rejected", "peer", s.peer.Short(), "chunk", wrong.chunk, "out", out)
		f.x.cfg.Events(ChunkRejected{Image: f.h.digest, Chunk: wrong.chunk, From: s.peer, Out: out})
		return
	case errors.Is(err, errProtocol) || errors.Is(err, wire.ErrFrame):
		fault.Kind, fault.Out = BrokeProtocol, f.strike(s.peer)
	case errors.Is(err, errFalseHave):
		fault.Kind, fault.Out = FalseHave, f.strike(s.peer)
	case s.stalled:
		fault.Kind, err = Stalled, errStalled // which may be the link's fault: it comes later each time, but is not left out
	default:
		f.x.cfg.Log.Debug("transfer ended", "peer", s.peer.Short(), "err", err)
		return
	}
	fault.Text = err.Error()
	f.x.cfg.Log.Warn("peer at fault", "peer", s.peer.Short(), "kind", fault.Kind, "out", fault.Out, "err", err)
	f.x.cfg.Events(fault)
}

// strike counts a fault of a sender, and reports whether it is left out now: of this
// fetch for good, of others for a while.
func (f *fetch) strike(k envelope.Key) (out bool) {
	if out = f.plan.Strike(peerOf(k)); out {
		f.x.senders.banish(k, time.Now())
	}
	return out
}
