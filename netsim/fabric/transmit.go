package fabric

import "time"

// A transmitter is what sends for a host. Its flows take turns, one packet or one
// segment each, as fq_codel, the default of Linux, makes them: the packets of all
// sockets are one flow, and each direction of a stream is one. A stream that was
// idle has its turn before those that send on and on (RFC 8290, 4.2). So large
// transfers do not hold up a heartbeat; packets alone can fill the queue.
type transmitter struct {
	packets fifo[*packet]
	bytes   int           // of packets
	flows   fifo[*half]   // with something that may be sent now
	fresh   fifo[*half]   // the same, and nothing of theirs is under way; they go first
	streams bool          // it is the streams' turn
	free    time.Duration // when what was sent last will be out
	due     time.Duration // when it looks again; zero is not planned
}

// ring is how far ahead of the air or the line a host works, as a network card has a
// ring of packets to send.
const ring = time.Millisecond

// clear forgets everything that waits.
func (t *transmitter) clear() {
	for t.waiting() > 0 {
		t.flow().queued = false
	}
	*t = transmitter{free: t.free, due: t.due}
}

// waiting is how many streams are in line.
func (t *transmitter) waiting() int { return t.flows.len() + t.fresh.len() }

// flow takes the next stream out of the line; there is one.
func (t *transmitter) flow() *half {
	if t.fresh.len() > 0 {
		return t.fresh.pop()
	}
	return t.flows.pop()
}

// pumping is a transmitter that looks again.
type pumping Host

func (p *pumping) run(_ *Net, now time.Duration) {
	h := (*Host)(p)
	if now >= h.air.due {
		h.air.due = 0
	}
	h.pump(now)
}

// pump sends what may be sent now.
func (h *Host) pump(now time.Duration) {
	t := &h.air
	for h.paused == 0 && t.packets.len()+t.waiting() > 0 {
		if at := t.free - ring; at > now {
			if t.due == 0 || at < t.due {
				t.due = at
				h.net.plan(at, (*pumping)(h))
			}
			return
		}
		t.streams = !t.streams
		if t.waiting() > 0 && (t.streams || t.packets.len() == 0) {
			s := t.flow()
			s.queued = false
			s.send(now)
			continue
		}
		p := t.packets.pop()
		t.bytes -= len(p.data)
		h.send(now, p)
	}
}

// pausedQueue is how many bytes of packets wait during a pause, instead of the radio's queue.
const pausedQueue = 4 << 20

// queue puts a packet into line; it is dropped if the queue is full.
func (h *Host) queue(now time.Duration, p *packet) {
	if p.link.to == h { // it does not go through the radio
		h.send(now, p)
		return
	}
	room := h.radio.Queue
	if h.paused != 0 {
		room = max(room, pausedQueue)
	}
	t := &h.air
	if t.bytes+len(p.data) > room {
		p.drop(now, QueueFull)
		return
	}
	t.bytes += len(p.data)
	t.packets.push(p)
	h.pump(now)
}

// A packet is one datagram.
type packet struct {
	link     *link // nil if nobody has the address
	from     *packetConn
	fromPort uint16
	toPort   uint16
	life     int // of the sender
	data     []byte
}

// send puts p on its way and decides its fate.
func (h *Host) send(now time.Duration, p *packet) {
	path := p.link.now(now)
	if path.clog != nil && path.ok {
		if !path.clog.hold(p) {
			p.drop(now, QueueFull)
		}
		return
	}
	size := len(p.data) + udpHeader
	switch {
	case !path.ok:
		p.drop(now, path.why)
		return
	case size > path.mtu:
		p.drop(now, TooLarge)
		return
	case path.crowded(now):
		p.drop(now, QueueFull)
		return
	}
	h.count(p.toPort).sent(1, size)
	served := path.serve(now, 1, size, 0, p.from.urgent)
	h.air.free = max(h.air.free, served.mine)
	done := served.through
	k := p.link.nextPacket()
	if p.link.lost(path, k) {
		p.drop(now, Lost)
		return
	}
	for _, c := range path.flips {
		if f := k.with(c.key); f.hit(forFault, c.share) && len(p.data) > 0 {
			bit := uint64(f.with(1)) % uint64(8*len(p.data))
			p.data[bit/8] ^= 1 << (bit % 8)
		}
	}
	for _, c := range path.copies {
		if f := k.with(c.key); f.hit(forFault, c.share) {
			twin := *p
			twin.data = append(h.net.buffers.get(len(p.data)), p.data...)
			h.net.plan(done+path.delay(f), &twin)
		}
	}
	for _, l := range path.late {
		if k.with(l.key).hit(forFault, l.share) {
			done += l.by
		}
	}
	h.net.plan(done+path.delay(k), p)
}

// run lets p arrive.
func (p *packet) run(n *Net, now time.Duration) {
	h := p.link.to
	if h.holds(p) {
		return
	}
	s := h.ports.packets[p.toPort]
	switch {
	case !h.wired:
		p.drop(now, HostOff)
	case s == nil, s.addr.IP.IsLoopback() && p.link.from != h:
		p.drop(now, NoSocket)
	case s.bytes+len(p.data) > socketBuffer:
		p.drop(now, QueueFull)
	default:
		h.count(p.toPort).received(1, len(p.data)+udpHeader)
		n.note(p.event(now, Delivered))
		s.bytes += len(p.data)
		s.arrived.push(p)
		s.readable.open()
	}
}

// drop ends p.
func (p *packet) drop(now time.Duration, why Kind) {
	n := p.from.host.net
	n.note(p.event(now, why))
	n.buffers.put(p.data)
}

func (p *packet) event(now time.Duration, k Kind) Event {
	to := -1
	if p.link != nil {
		to = p.link.to.index
	}
	return Event{now, k, p.from.host.index, to, p.fromPort, p.toPort, len(p.data), sum(p.data)}
}

// note writes an event down.
func (n *Net) note(e Event) {
	n.happened[e.Kind]++
	n.journal.add(e)
}
