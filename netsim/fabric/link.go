package fabric

import "time"

// A link is one direction between two hosts: the numbers it has drawn, and the path
// that packets take now.
type link struct {
	from, to *Host
	key      key
	packets  uint64          // drawn for so far
	segments uint64          // of streams, drawn for so far
	ill      map[uint64]bool // by a burst's key: whether the link is ill now
	path     *path
}

// Packets and segments of a link draw from different sources.
const (
	packetDraws = iota + 1
	segmentDraws
)

// link returns the link from h to another host, or to itself.
func (h *Host) link(to *Host) *link {
	for len(h.links) <= to.index {
		h.links = append(h.links, nil)
	}
	l := h.links[to.index]
	if l == nil {
		l = &link{from: h, to: to, key: key(h.net.cfg.Seed).with(uint64(h.index)<<32 | uint64(to.index))}
		h.links[to.index] = l
	}
	return l
}

// nextPacket is the key of the link's next packet.
func (l *link) nextPacket() key {
	l.packets++
	return l.key.with(packetDraws).with(l.packets)
}

// nextSegment is the key of the link's next stream segment.
func (l *link) nextSegment() key {
	l.segments++
	return l.key.with(segmentDraws).with(l.segments)
}

// lost draws whether a packet is lost on p. Every burst's state moves on with every
// packet, lost or not.
func (l *link) lost(p *path, k key) bool {
	lost := k.hit(forLoss, p.loss)
	for _, c := range p.losses {
		lost = k.with(c.key).hit(forFault, c.share) || lost
	}
	for _, b := range p.bursts {
		draw := k.with(b.key)
		ill := l.ill[b.key]
		if ill {
			ill = !draw.hit(forBurst, b.End)
		} else {
			ill = draw.hit(forBurst, b.Begin)
		}
		if l.ill == nil {
			l.ill = map[uint64]bool{}
		}
		l.ill[b.key] = ill
		lost = ill && draw.hit(forBurstLoss, b.Share) || lost
	}
	return lost
}

// delay draws how long a packet is under way on p once it is sent.
func (p *path) delay(k key) time.Duration {
	d := p.latency
	for _, j := range p.jitter {
		d += k.wait(j.key, j.mean)
	}
	return d
}

// A service says when servers are done with something.
type service struct {
	mine    time.Duration // the first hop has been sent
	served  time.Duration // every server has done its work: the next may follow
	through time.Duration // it is over the last hop; each hop takes its time after the other
}

// serve makes every server on p carry a number of packets with so many bytes in
// all, and the air on it the acknowledgements of a stream too. What is urgent goes
// first in air that knows classes.
func (p *path) serve(now time.Duration, packets, bytes, acks int, urgent bool) service {
	s := service{now, now, now}
	for i := range p.steps {
		t := &p.steps[i]
		work := t.work(packets, bytes)
		if t.shared && acks > 0 {
			work += t.work(acks, acks*tcpHeader)
		}
		serve := t.serve
		if urgent && t.classes {
			serve = t.urge
		}
		done := serve(now, work)
		if i < p.own {
			s.mine = max(s.mine, done)
		}
		s.served = max(s.served, done)
	}
	for i := range p.sends {
		t := &p.sends[i]
		work := t.work(packets, bytes)
		s.through += work
		t.cell.sent += work + t.work(acks, acks*tcpHeader)
	}
	s.through = max(s.through, s.served)
	return s
}

// crowded reports whether a downlink on p has a full queue.
func (p *path) crowded(now time.Duration) bool {
	for i := range p.steps {
		if s := &p.steps[i]; s.limit > 0 && s.backlog(now) > s.limit {
			return true
		}
	}
	return false
}
