package fabric

import (
	"math"
	"time"
)

// maxSegment is the most that moves as one event.
const maxSegment = 64 << 10

// segmentTime is how long a segment may occupy the narrowest place of its path, if it
// is more than one packet: so fine is the sharing of a slow link.
const segmentTime = 5 * time.Millisecond

// Timeouts of a stream, as Linux has them.
const (
	minRetry  = 200 * time.Millisecond // TCP_RTO_MIN
	maxRetry  = 2 * time.Minute        // TCP_RTO_MAX
	giveUp    = 15 * time.Minute       // tcp_retries2 = 15 makes 924 s of it
	maxResend = 15                     // of one segment on a link that loses
)

// firstWindow is what a new stream may send before it hears anything (RFC 6928).
const firstWindow = 10 * 1460

// half is one direction of a stream. The network's lock guards all of it.
type half struct {
	from, to *conn
	out      *link  // the data's way
	back     *link  // the acknowledgements'
	sent     *Count // the sender's books
	received *Count // the receiver's

	// The sender's side.
	unsent   fifo[*segment]
	again    fifo[*segment] // found the receiver's host without power; go before unsent
	waiting  int            // bytes of unsent
	flying   int            // bytes under way or not acknowledged
	window   float64        // of congestion, in bytes; grows in slow start
	segment  int            // largest segment on the path as it was last
	queued   bool           // in the transmitter's line
	clogged  bool           // in a clog's line
	resting  bool           // waits before it tries again
	busy     bool           // waits until the servers have its last segment behind them
	tries    int            // in vain, one after the other
	since    time.Duration  // of the first of tries
	last     time.Duration  // when the last segment arrives; none overtakes it
	finished bool           // the end is in unsent, or sent
	done     bool           // the end has been acknowledged
	writing  bool           // a Write has the turn

	// The receiver's side.
	unread fifo[[]byte]
	begun  int // bytes of the first of unread that have been read
	full   int // bytes of unread
	ended  bool
}

// A segment is a piece of a stream under way, and then its acknowledgement.
type segment struct {
	half    *half
	kind    Kind // Opened, Segment or Ended
	data    []byte
	size    int // bytes of data, also after they have been handed over
	packets int // in which it was sent
	acked   bool
}

// acks is how many packets acknowledge s: every second one is (RFC 1122, 4.2.3.2).
func (s *segment) acks() int { return (s.packets + 1) / 2 }

// newHalf makes the direction from one end to another; the stream counts for port.
func newHalf(from, to *conn, port uint16) *half {
	a, b := from.host, to.host
	return &half{
		from: from, to: to, out: a.link(b), back: b.link(a), sent: a.count(port), received: b.count(port),
		window: firstWindow, segment: firstWindow,
	}
}

// next is the segment to be sent next, or nil.
func (h *half) next() *segment {
	switch {
	case h.again.len() > 0:
		return *h.again.first()
	case h.unsent.len() > 0:
		return *h.unsent.first()
	}
	return nil
}

// ready puts h in line if it has something that may be sent.
func (h *half) ready(now time.Duration) {
	if h.queued || h.clogged || h.resting || h.busy || h.from.err != nil {
		return
	}
	s := h.next()
	if s == nil || h.flying > 0 && (h.tries > 0 || h.flying+s.size > int(h.window)) {
		return
	}
	if h.full+h.flying+s.size > h.from.host.net.cfg.Window {
		return
	}
	host := h.from.host
	if h.out.from == h.out.to { // it does not go through the radio
		h.send(now)
		return
	}
	h.queued = true
	if h.flying == 0 {
		host.air.fresh.push(h)
	} else {
		host.air.flows.push(h)
	}
	host.pump(now)
}

// rtt is the time there and back without queues.
func rtt(p, q *path) time.Duration { return p.oneWay() + q.oneWay() }

// retryAfter is the retransmission timeout: RFC 6298 without its estimator.
func retryAfter(p, q *path) time.Duration { return max(minRetry, 2*rtt(p, q)) }

// limit is the largest congestion window: what Mathis et al. (The macroscopic
// behavior of the TCP congestion avoidance algorithm, CCR 1997) give as
// rate = MSS/RTT * sqrt(3/2p), times RTT.
func (p *path) limit(window int) float64 {
	loss := p.meanLoss()
	if loss == 0 {
		return float64(window)
	}
	mss := float64(p.mss())
	return min(max(mss*math.Sqrt(1.5/loss), mss), float64(window))
}

// segmentBytes is the size of segments on p under a window: whole packets, and so
// few that four segments fill the window well.
func (p *path) segmentBytes(window float64) int {
	size := float64(maxSegment)
	if slow := p.slowest(); slow > 0 {
		size = min(size, float64(segmentTime)/slow)
	}
	mss := p.mss()
	return max(int(min(size, window/4))/mss, 1) * mss
}

// send puts the next segment on its way.
func (h *half) send(now time.Duration) {
	if h.next() == nil {
		return // the stream was abandoned while it stood in line
	}
	p, q := h.out.now(now), h.back.now(now)
	for _, way := range []*path{p, q} {
		if way.ok && way.clog != nil {
			h.clogged = true
			way.clog.streams = append(way.clog.streams, h)
			return
		}
	}
	if !p.ok || !q.ok || p.meanLoss() == 1 || q.meanLoss() == 1 {
		h.stall(now, p, q)
		return
	}
	s := h.take()
	limit := p.limit(h.from.host.net.cfg.Window)
	h.window = min(h.window, limit)
	h.segment = p.segmentBytes(limit)
	s.packets = max(1, (s.size+p.mss()-1)/p.mss())
	wait, resent := h.recovery(p, q, s.packets)
	packets, bytes := s.packets+resent, s.size+tcpHeader*s.packets
	bytes += resent * min(bytes, p.mtu)
	h.sent.sent(packets, bytes)
	done := p.serve(now, packets, bytes, s.acks(), h.from.urgent)
	h.from.host.air.free = max(h.from.host.air.free, done.mine)
	h.flying += s.size
	h.last = max(h.last, done.through+p.delay(h.out.nextSegment())+wait)
	n := h.from.host.net
	n.plan(h.last, s)
	if done.served > now+ring {
		h.busy = true
		n.plan(done.served-ring, (*freeing)(h))
		return
	}
	h.ready(now)
}

// freeing is the end of a half's wait for the servers.
type freeing half

func (f *freeing) run(_ *Net, now time.Duration) {
	h := (*half)(f)
	h.busy = false
	h.ready(now)
}

// take removes the next segment from its line.
func (h *half) take() *segment {
	if h.again.len() > 0 {
		return h.again.pop()
	}
	s := h.unsent.pop()
	h.waiting -= s.size
	if h.waiting <= h.from.host.net.cfg.Window/2 {
		h.from.writable.open()
	}
	return s
}

// recovery draws how much later a segment arrives because packets of it were lost,
// and how many had to be sent again. A loss costs a round trip if enough follows for
// the receiver to tell (fast retransmit), else a timeout; one more loss, a timeout
// twice as long.
func (h *half) recovery(p, q *path, packets int) (wait time.Duration, resent int) {
	k := h.out.nextSegment()
	loss := p.meanLoss()
	if !k.hit(forLoss, 1-math.Pow(1-loss, float64(packets))) {
		return 0, 0
	}
	timeout := retryAfter(p, q)
	if h.flying+packets*p.mss()+h.waiting >= 4*p.mss() {
		wait = rtt(p, q)
	} else {
		wait, timeout = timeout, 2*timeout
	}
	for resent = 1; resent < maxResend && k.with(forRetry).hit(uint64(resent), loss); resent++ {
		wait += timeout
		timeout = min(2*timeout, maxRetry)
	}
	return wait, resent
}

// stall waits before it tries again, longer each time, and gives up in the end.
func (h *half) stall(now time.Duration, p, q *path) {
	if h.tries == 0 {
		h.since = now
	}
	if now-h.since >= giveUp {
		h.note(now, TimedOut, 0, 0)
		h.from.abandon(errTimedOut)
		return
	}
	wait := maxRetry
	if h.tries < 10 {
		wait = min(retryAfter(p, q)<<h.tries, maxRetry)
	}
	h.tries++
	h.resting = true
	n := h.from.host.net
	n.plan(now+wait, (*resting)(h))
	h.note(now, Retried, 0, 0)
}

// resting is the end of a half's wait to try again.
type resting half

func (r *resting) run(_ *Net, now time.Duration) {
	h := (*half)(r)
	h.resting = false
	h.ready(now)
}

// run lets a segment arrive, and later its acknowledgement.
func (s *segment) run(_ *Net, now time.Duration) {
	h := s.half
	if s.acked {
		h.acknowledged(now, s)
		return
	}
	if h.to.host.holds(s) {
		return
	}
	switch p := h.back.now(now); {
	case !h.to.host.wired:
		h.lose(now, s)
	case h.to.gone(s):
		h.drop(s)
		if p.ok {
			h.from.host.net.plan(now+p.oneWay(), &reset{h.from})
		}
	default:
		h.deliver(now, s)
		s.acked = true
		h.from.host.net.plan(now+p.oneWay(), s)
	}
}

// lose puts s back, for there was nobody to take it.
func (h *half) lose(now time.Duration, s *segment) {
	h.flying -= s.size
	if h.from.err != nil {
		h.drop(s)
		return
	}
	h.again.push(s)
	if !h.resting {
		h.stall(now, h.out.now(now), h.back.now(now))
	}
}

// drop frees what s carries.
func (h *half) drop(s *segment) {
	if s.data != nil {
		h.from.host.net.buffers.put(s.data)
		s.data = nil
	}
}

// deliver hands s to the receiver.
func (h *half) deliver(now time.Duration, s *segment) {
	h.received.received(s.packets, s.size+tcpHeader*s.packets)
	h.received.sent(s.acks(), s.acks()*tcpHeader)
	h.note(now, s.kind, s.size, sum(s.data))
	switch s.kind {
	case Ended:
		h.ended = true
	case Segment:
		h.unread.push(s.data)
		h.full += s.size
		s.data = nil
	}
	h.to.readable.open()
}

// acknowledged opens the window again.
func (h *half) acknowledged(now time.Duration, s *segment) {
	h.flying -= s.size
	h.tries = 0
	h.sent.received(s.acks(), s.acks()*tcpHeader)
	if h.from.err != nil {
		return
	}
	h.window = min(h.window+float64(s.size), h.out.now(now).limit(h.from.host.net.cfg.Window))
	if s.kind == Ended {
		h.done = true
		if h.from.closed {
			h.from.leave()
		}
		return
	}
	h.ready(now)
}

func (h *half) note(now time.Duration, k Kind, size int, sum uint32) {
	h.from.host.net.note(Event{
		now, k, h.from.host.index, h.to.host.index, uint16(h.from.local.Port), uint16(h.from.remote.Port), size, sum,
	})
}

// A reset tells an end that the other is gone.
type reset struct{ to *conn }

func (r *reset) run(_ *Net, now time.Duration) {
	c := r.to
	if c.host.holds(r) || c.err != nil {
		return
	}
	c.in.note(now, Reset, 0, 0)
	c.abandon(errReset)
}
