package artifacts

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/schedule"
)

// shared is an image that this node serves.
type shared struct {
	x      *Exchange
	digest manifest.Digest
	bytes  int64
	pieces []manifest.Piece
	chunks []manifest.Chunk
	gone   chan struct{} // closed when nobody holds the image any more

	mu     sync.Mutex // guards the fields below; never held across a call of a Store
	held   []holding
	watch  []chan struct{} // each of depth 1: what is here has changed; in the order of sessions, so that runs replay
	takers map[schedule.Peer]*server
	offers *schedule.Offers // nil unless seeding; set once
	quiet  *time.Timer      // fires when offers have not changed for a while; nil before the first
	looks  [2]int           // how often what is here was looked up: begun, newest applied
	safe   bool
	sent   int64           // chunk bytes put on the wire, before compression
	wire   int64           // the same after it
	recent *recent         // of the newest fetch, while it runs
	soon   manifest.Bitmap // what it fetches from across a cut; replaced, never changed
}

// holding is a store and how often it is held.
type holding struct {
	store Store
	users int
}

func newShared(x *Exchange, s Store) *shared {
	m := s.Manifest()
	h := &shared{
		x: x, digest: s.Digest(), bytes: m.Bytes(), pieces: m.Pieces(), chunks: m.Chunks, gone: make(chan struct{}),
		takers: map[schedule.Peer]*server{},
	}
	if x.cfg.Seed {
		h.offers = schedule.NewOffers(len(h.pieces), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	}
	return h
}

func (h *shared) hold(s Store) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.held {
		if h.held[i].store == s {
			h.held[i].users++
			return
		}
	}
	h.held = append(h.held, holding{s, 1})
}

// release takes back one hold and reports whether that was the last of all.
func (h *shared) release(s Store) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.held {
		if h.held[i].store == s {
			h.held[i].users--
		}
	}
	h.held = slices.DeleteFunc(h.held, func(k holding) bool { return k.users == 0 })
	return len(h.held) == 0
}

func (h *shared) stores() []Store {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Store, len(h.held))
	for i, k := range h.held {
		out[i] = k.store
	}
	return out
}

// have is the pieces that any store has. The caller owns it.
func (h *shared) have() manifest.Bitmap {
	var all manifest.Bitmap
	for _, s := range h.stores() {
		all = all.Union(s.Have())
	}
	return all
}

// hasChunk reports whether any store has chunk n.
func (h *shared) hasChunk(n int) bool {
	return slices.ContainsFunc(h.stores(), func(s Store) bool { return s.HasChunk(n) })
}

// read reads chunk n from the first store that can, or from what has just come; and if
// more of those before end can be read with it, these too: last is the one after them.
func (h *shared) read(n, end int, buf []byte) (data []byte, last int, err error) {
	h.mu.Lock()
	recent := h.recent
	h.mu.Unlock()
	err = errNotHeld
	for _, s := range h.stores() {
		if !s.HasChunk(n) {
			continue
		}
		if recent != nil {
			if data, ok := recent.get(n, buf); ok {
				return data, n + 1, nil
			}
		}
		if last := h.run(s, n, end); last > n+1 {
			if data, err := s.ReadRun(n, last, buf); err == nil {
				return data, last, nil
			} // else one of them is at fault: chunk n itself, or we meet it later
		}
		if data, err = s.ReadChunk(n, buf); err == nil {
			return data, n + 1, nil
		}
	}
	return nil, 0, err
}

// run is up to where the chunks from n on can be read together.
func (h *shared) run(s Store, n, end int) (last int) {
	bytes := 0
	for last = n; last < end && (last == n || s.HasChunk(last)); last++ {
		if bytes += int(h.chunks[last].Bytes); bytes > manifest.MaxChunkBytes {
			break
		}
	}
	return last
}

// changed is called when what is here has become more or less: it wakes everybody
// who tells others, and corrects a seed's offers.
func (h *shared) changed() {
	h.mu.Lock()
	wake := slices.Clone(h.watch)
	h.looks[0]++
	look := h.looks[0]
	h.mu.Unlock()
	for _, c := range wake {
		poke(c)
	}
	if h.offers == nil {
		return
	}
	have := h.have()
	h.offer(func(o *schedule.Offers) {
		if look > h.looks[1] { // else somebody has looked after us
			h.looks[1] = look
			o.Mine(have)
		}
	})
}

// expect notes what a fetch has on its way from across a cut, and wakes those who tell
// others.
func (h *shared) expect(soon manifest.Bitmap) {
	h.mu.Lock()
	same := bytes.Equal(h.soon, soon)
	h.soon = soon
	wake := slices.Clone(h.watch)
	h.mu.Unlock()
	if same {
		return
	}
	for _, c := range wake {
		poke(c)
	}
}

// expected is what expect was told last.
func (h *shared) expected() manifest.Bitmap {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.soon
}

// poke wakes the receiver of a channel of depth 1, or finds it about to wake.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// subscribe makes changed poke c until cancel is called.
func (h *shared) subscribe(c chan struct{}) (cancel func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watch = append(h.watch, c)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.watch = slices.DeleteFunc(h.watch, func(o chan struct{}) bool { return o == c })
	}
}

// offer changes a seed's offers, and wakes those who have something new to offer.
// It does nothing on other nodes. change is called with the lock held.
func (h *shared) offer(change func(*schedule.Offers)) {
	if h.offers == nil {
		return
	}
	h.mu.Lock()
	change(h.offers)
	wake := h.wakes(h.offers.Next())
	h.wait()
	was := h.safe
	h.safe = h.offers.Safe()
	now := h.safe
	h.mu.Unlock()
	for _, c := range wake {
		poke(c)
	}
	if now && !was {
		h.x.cfg.Events(SafeToLeave{Image: h.digest})
	}
}

// wakes are those who have something new to offer. The caller holds mu.
func (h *shared) wakes(offers []schedule.Offer) (wake []chan struct{}) {
	for _, o := range offers {
		if v := h.takers[o.Peer]; v != nil {
			wake = append(wake, v.wake)
		}
	}
	return wake
}

// wait has again called in a while, if nothing happens until then and somebody here lacks
// something. The caller holds mu.
func (h *shared) wait() {
	switch {
	case !h.offers.Lacking():
	case h.quiet == nil:
		h.quiet = time.AfterFunc(h.x.quiet(), h.again)
	default:
		h.quiet.Reset(h.x.quiet())
	}
}

// quiet is for how long a seed hears nothing before it offers again: less than those who
// lack pieces take to beg, or there would always be something to hear.
func (x *Exchange) quiet() time.Duration {
	if x.cfg.Retry > DefaultRetry {
		return x.cfg.Retry
	}
	return min(x.cfg.Retry, schedule.Starve)
}

// again is called when a seed has heard nothing for a while: see schedule.Offers.Again.
func (h *shared) again() {
	select {
	case <-h.gone:
		return
	default:
	}
	h.mu.Lock()
	wake := h.wakes(h.offers.Again())
	h.wait()
	h.mu.Unlock()
	for _, c := range wake {
		poke(c)
	}
}

// outstanding is what a seed offers to p now.
func (h *shared) outstanding(p schedule.Peer) manifest.Bitmap {
	if h.offers == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.offers.Outstanding(p)
}

// join makes v the server of its peer. The peer's older stream, which it has given
// up or forgotten, ends.
func (h *shared) join(v *server, have manifest.Bitmap) {
	p := peerOf(v.peer)
	h.mu.Lock()
	old := h.takers[p]
	h.takers[p] = v
	h.mu.Unlock()
	if old != nil {
		close(old.replaced)
	}
	h.offer(func(o *schedule.Offers) {
		if h.takers[p] == v {
			o.Join(p, have)
		}
	})
}

// part is called when v ends.
func (h *shared) part(v *server) {
	p := peerOf(v.peer)
	h.mu.Lock()
	mine := h.takers[p] == v
	if mine {
		delete(h.takers, p)
	}
	h.mu.Unlock()
	if mine {
		h.offer(func(o *schedule.Offers) {
			if h.takers[p] == nil {
				o.Leave(p)
			}
		})
	}
}

// keep makes what a fetch has just brought be served from memory; nil ends that.
func (h *shared) keep(r *recent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent = r
}

// taken reports whether anybody fetches from here.
func (h *shared) taken() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.takers) > 0
}

func (h *shared) stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{SentBytes: h.sent, WireBytes: h.wire, Bytes: h.bytes, Safe: h.safe, Takers: len(h.takers)}
}

// count counts a chunk's bytes, and those it takes on the wire.
func (h *shared) count(bytes, wire int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent += int64(bytes)
	h.wire += int64(wire)
}

// pieceOf is the piece that holds chunk n, or -1.
func (h *shared) pieceOf(n int) int {
	i, ok := slices.BinarySearchFunc(h.pieces, n, func(p manifest.Piece, n int) int {
		switch {
		case n < p.First:
			return 1
		case n >= p.First+p.Count:
			return -1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}
