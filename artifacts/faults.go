package artifacts

import (
	"errors"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// A Fault is what a peer did wrong. Wrong bytes are told by ChunkRejected.
type Fault uint8

// The faults.
const (
	// BrokeProtocol: frames that are too long, make no sense or never end, pieces that
	// nobody asked for.
	BrokeProtocol Fault = iota
	// FalseHave: it claims pieces, and refuses them when they are asked for.
	FalseHave
	// Stalled: it owed something, and nothing came for the time of silence.
	Stalled
	// Flooded: it opened more streams than one member may.
	Flooded
)

// String is "protocol", "false-have", "stalled" or "flood".
func (f Fault) String() string { return [...]string{"protocol", "false-have", "stalled", "flood"}[f] }

// PeerFault says that a peer misbehaved, as a sender or as a fetcher. Out says that it
// is left out for a while now. A flood makes as many of them as it has streams.
type PeerFault struct {
	Image manifest.Digest // zero if it did not come so far
	From  envelope.Key
	Kind  Fault
	Text  string // for people
	Out   bool
}

func (PeerFault) event() {}

// errStalled is the text of a fault: the session itself only ends.
var errStalled = errors.New("artifacts: the peer owed something, and was silent for a minute")

const (
	// banishFor is for how long a member is left out. It is for this node alone:
	// were it told to others, a liar could have honest members left out.
	banishFor = 10 * time.Minute
	// rudeness is how many streams that broke the protocol banish a fetcher.
	rudeness = 3
	// maxOutcasts bounds the members that are remembered; above it all are forgiven.
	maxOutcasts = 1024
)

// outcasts are members that are left out for a while.
type outcasts struct {
	mu sync.Mutex // guards of
	of map[envelope.Key]outcast
}

type outcast struct {
	strikes int
	until   time.Time // left out until then; strikes are forgotten then too
}

// strike counts one of several strikes, and reports whether it was the last.
func (o *outcasts) strike(k envelope.Key, now time.Time, of int) (out bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.of[k]
	if now.After(c.until) {
		c.strikes = 0
	}
	c.strikes, c.until = c.strikes+1, now.Add(banishFor)
	if o.of == nil || len(o.of) >= maxOutcasts {
		o.of = map[envelope.Key]outcast{}
	}
	o.of[k] = c
	return c.strikes >= of
}

// banish leaves a member out at once.
func (o *outcasts) banish(k envelope.Key, now time.Time) {
	for !o.strike(k, now, rudeness) {
	}
}

// out reports whether a member is left out.
func (o *outcasts) out(k envelope.Key, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.of[k]
	return c.strikes >= rudeness && now.Before(c.until)
}

// enter takes a place among the streams served, if there is one for the peer.
func (x *Exchange) enter(peer envelope.Key) bool {
	if x.fetchers.out(peer, time.Now()) {
		return false
	}
	ok, flood := x.count(peer)
	if flood {
		x.cfg.Events(PeerFault{From: peer, Kind: Flooded, Text: "opened more streams than one member may"})
	}
	return ok
}

func (x *Exchange) count(peer envelope.Key) (ok, flood bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.perPeer[peer] >= MaxServedPerPeer:
		return false, true
	case x.served >= MaxServed:
		x.makeRoom()
		return false, false
	}
	x.served++
	x.perPeer[peer]++
	return true, false
}

func (x *Exchange) leave(peer envelope.Key) {
	x.mu.Lock()
	x.served--
	x.perPeer[peer]--
	last := x.perPeer[peer] == 0
	if last {
		delete(x.perPeer, peer)
	}
	x.mu.Unlock()
	if last {
		x.shape.forget(string(peerOf(peer)))
	}
}

// seat notes that a stream is for an image here.
func (x *Exchange) seat(v *server) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.takers = append(x.takers, v)
}

func (x *Exchange) unseat(v *server) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, t := range x.takers {
		if t == v {
			x.takers = append(x.takers[:i:i], x.takers[i+1:]...)
			return
		}
	}
}

// makeRoom ends the stream that has asked for nothing for longest, if that is as long
// as silence: members that only hold places must not keep the others out. Whoever
// really waits comes again. x.mu is held.
func (x *Exchange) makeRoom() {
	var idle *server
	var since time.Time
	for _, v := range x.takers {
		v.mu.Lock()
		at, free := v.asked, len(v.asks) == 0 && !v.gone
		v.mu.Unlock()
		if free && time.Since(at) >= silence && (idle == nil || at.Before(since)) {
			idle, since = v, at
		}
	}
	if idle != nil {
		idle.mu.Lock()
		idle.gone = true
		idle.mu.Unlock()
		close(idle.evicted)
	}
}

// blame counts a stream that a fetcher made end badly.
func (x *Exchange) blame(peer envelope.Key, err error) {
	if !errors.Is(err, errProtocol) && !errors.Is(err, wire.ErrFrame) {
		return
	}
	out := x.fetchers.strike(peer, time.Now(), rudeness)
	x.cfg.Log.Warn("peer at fault", "peer", peer.Short(), "kind", BrokeProtocol, "out", out, "err", err)
	x.cfg.Events(PeerFault{From: peer, Kind: BrokeProtocol, Text: err.Error(), Out: out})
}
