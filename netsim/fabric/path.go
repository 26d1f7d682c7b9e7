package fabric

import (
	"cmp"
	"math"
	"time"
)

// A path is what one direction between two hosts is like just now: the sum of its
// hops and of the faults that lie over it.
type path struct {
	version uint64        // of the network when it was made
	until   time.Duration // it must be made again then, for its route may be old

	ok      bool
	why     Kind // it is not ok
	hops    []*Host
	steps   []step // servers that a packet needs, each once; the sender's first
	own     int    // how many steps are the sender's: it waits for them before it sends more
	sends   []send // for the books: whose cell each transmission began in
	latency time.Duration
	jitter  []jitter
	loss    float64  // by the hops themselves
	losses  []chance // by faults
	bursts  []burst
	copies  []chance // duplicates
	flips   []chance // corruptions
	late    []late   // reorderings
	mtu     int
	clog    *applied  // what holds everything back, or nil
	slow    []float64 // by hop: how many times longer it takes to send

	hop    int    // while a fault is laid over p: the hop it covers, or -1 for all
	spoils uint64 // what the same fault has drawn keys for
}

// A step is a server on a path and what a packet costs there.
type step struct {
	*server
	cost
	shared  bool          // the air, where acknowledgements need time too
	classes bool          // what is urgent goes first
	limit   time.Duration // the backlog at which packets are dropped; zero is none
}

// A cost is the time for a packet and for each of its bytes.
type cost struct {
	packet time.Duration
	byte   float64 // nanoseconds
}

func (c cost) work(packets, bytes int) time.Duration {
	return c.packet*time.Duration(packets) + time.Duration(c.byte*float64(bytes))
}

type send struct {
	cell *cell
	cost
}

// A jitter is one exponentially distributed part of a delay, with the key of its draws.
type jitter struct {
	key  uint64
	mean time.Duration
}

// A chance is a fault's probability, with the key of its draws.
type chance struct {
	key   uint64
	share float64
}

type burst struct {
	key uint64
	Burst
}

type late struct {
	chance
	by time.Duration
}

// loopback is the way from a host to itself.
const loopback = 10 * time.Microsecond

// now returns the path of l as things are now.
func (l *link) now(now time.Duration) *path {
	n := l.from.net
	if l.path == nil || l.path.version != n.version || now >= l.path.until {
		l.path = n.findPath(l, now)
	}
	return l.path
}

// findPath makes the path of l, with all that it costs.
func (n *Net) findPath(l *link, now time.Duration) *path {
	hops, until := n.route(l.from, l.to, now)
	p := n.sketch(l.from, l.to, hops)
	p.version, p.until = n.version, until
	if !p.ok {
		return p
	}
	for i := range p.slow {
		n.addSteps(p, p.slow[i], hops[i], hops[i+1])
	}
	return p
}

// sketch is the path from a to b over these hops, but for the servers it needs.
func (n *Net) sketch(a, b *Host, hops []*Host) *path {
	p := &path{ok: true, mtu: math.MaxUint16, hops: hops}
	switch {
	case a == b:
		p.latency, p.hops = loopback, hops[:1]
		return p
	case len(hops) == 0:
		return p.refuse(NoRoute)
	}
	p.slow = make([]float64, len(hops)-1)
	for i := range p.slow {
		p.slow[i] = 1
		p.addHop(hops[i], hops[i+1])
	}
	for _, f := range n.faults {
		p.overlay(f, a.index, b.index)
	}
	return p
}

func (p *path) refuse(why Kind) *path {
	p.ok, p.why = false, why
	return p
}

// overlay lets a fault spoil p: once for each hop it covers, and if there is none,
// once for the ends.
func (p *path) overlay(f *applied, from, to int) {
	hit := false
	p.spoils = 0
	for p.hop = range p.hops[1:] {
		if f.covers(p.hops[p.hop].index, p.hops[p.hop+1].index) {
			f.fault.spoil(p, f)
			hit = true
		}
	}
	if p.hop = -1; !hit && f.covers(from, to) {
		f.fault.spoil(p, f)
	}
}

// signal reports whether b hears a at all, and the share of packets lost by
// distance. It looks at places and radios only.
func signal(a, b *Host) (lost float64, ok bool) {
	if a.radio.Range == 0 || b.radio.Range == 0 {
		return 0, a.radio.Range == b.radio.Range
	}
	d := a.at.distance(b.at)
	return grey(d, a.radio.Range), a.radio.Name == b.radio.Name && d < a.radio.Range
}

// addHop adds the hop from a to b to p.
func (p *path) addHop(a, b *Host) {
	far, ok := signal(a, b)
	switch {
	case !ok:
		p.refuse(NoRoute)
		return
	case !a.wired, b != p.hops[len(p.hops)-1] && !b.wired: // a relay without power
		p.refuse(HostOff)
		return
	}
	p.latency += (a.radio.Latency + b.radio.Latency) / 2
	if j := (a.radio.Jitter + b.radio.Jitter) / 2; j > 0 {
		p.jitter = append(p.jitter, jitter{forJitter + uint64(len(p.jitter)), j})
	}
	for _, share := range []float64{(a.radio.Loss + b.radio.Loss) / 2, far} {
		p.loss = 1 - (1-p.loss)*(1-share)
	}
	if a.radio.Burst.Begin > 0 {
		p.bursts = append(p.bursts, burst{uint64(len(p.bursts)), a.radio.Burst})
	}
	p.mtu = min(p.mtu, a.radio.MTU, b.radio.MTU)
}

// addSteps adds what the hop from a to b makes busy, slow times longer than it should.
func (n *Net) addSteps(p *path, slow float64, a, b *Host) {
	up := costOf(a.radio.Rate/slow, a.radio.Overhead)
	if a.radio.Shared {
		n.disturbed(a, b, func(c *cell) { p.step(step{server: &c.server, cost: up, shared: true, classes: a.radio.Classes}) })
		p.sends = append(p.sends, send{n.cell(n.square(a)), up})
		if d := a.radio.Duty; d > 0 {
			p.step(step{server: &a.up, cost: cost{time.Duration(float64(up.packet) / d), up.byte / d}})
		}
	} else {
		p.step(step{server: &a.up, cost: up})
	}
	if p.own == 0 {
		p.own = len(p.steps)
	}
	switch {
	case !b.radio.Shared:
		down := costOf(cmp.Or(b.radio.Down, b.radio.Rate)/slow, b.radio.Overhead)
		p.step(step{server: &b.down, cost: down, limit: down.work(0, b.radio.Queue)})
	case a.radio.Name != b.radio.Name: // it hears the last stretch in its own air
		down := costOf(b.radio.Rate/slow, b.radio.Overhead)
		n.disturbed(b, b, func(c *cell) { p.step(step{server: &c.server, cost: down, shared: true, classes: b.radio.Classes}) })
	}
}

func costOf(bitsPerSecond float64, overhead time.Duration) cost {
	return cost{overhead, 8e9 / bitsPerSecond}
}

// step adds s, or its cost where p needs the server already.
func (p *path) step(s step) {
	for i := range p.steps {
		if have := &p.steps[i]; have.server == s.server {
			have.packet += s.packet
			have.byte += s.byte
			return
		}
	}
	p.steps = append(p.steps, s)
}

// What an IP packet has beside its payload, in bytes.
const (
	udpHeader = 28
	tcpHeader = 40
	minMTU    = 68 // RFC 791
)

// mss is how many bytes of a stream fit into a packet.
func (p *path) mss() int { return min(p.mtu-tcpHeader, 1460) }

// meanLoss is the share of packets lost in the long run; streams, which send every
// packet again, feel a flipped bit as a loss.
func (p *path) meanLoss() float64 {
	pass := 1 - p.loss
	for _, c := range p.losses {
		pass *= 1 - c.share
	}
	for _, b := range p.bursts {
		pass *= 1 - b.mean()
	}
	for _, c := range p.flips {
		pass *= 1 - c.share
	}
	return 1 - pass
}

// oneWay is the mean time under way, without queues.
func (p *path) oneWay() time.Duration {
	d := p.latency
	for _, j := range p.jitter {
		d += j.mean
	}
	return d
}

// slowest is the time that a byte takes at the narrowest place, in nanoseconds.
func (p *path) slowest() float64 {
	var most float64
	for i := range p.steps {
		most = max(most, p.steps[i].byte)
	}
	return most
}
