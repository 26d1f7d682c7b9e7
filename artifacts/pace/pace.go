// Package pace decides when bytes may leave a node, so that images never harm what
// holds the swarm together.
//
// A Shaper has a token bucket for the node, one for each peer, one for manifests, and one
// for control. Gossip, Raft and the stop never wait, but are taken out of the node's
// bucket, so that bulk waits for them, and out of that of control, so that talk waits:
// requests between nodes, which come late without harm. Manifests and other documents wait
// only for those before them, not for their own length: one that is long would come too
// late for whoever asked, however often. Bulk waits for all. A Governor halves bulk when members answer
// probes late, or memberlist finds this node itself late, and lets it recover slowly:
// additive increase, multiplicative decrease, as TCP does.
//
//	wait := s.Take(now, pace.Bulk, peer, len(part)) // then write part
//
// It is a machine: it reads no clock and does no I/O. One goroutine at a time may use it.
package pace

import "time"

// A Class is what bytes are for. The lower goes first.
type Class uint8

// The classes. Raft counts as control: both run on connections of their own, and
// neither ever waits here.
const (
	Control  Class = iota // all that leaves as gossip, or by the connections of Raft and talk
	Talk                  // requests: reports, certificates, acknowledgements, proposals; before they leave
	Manifest              // documents: manifests, releases, rosters, trust metadata
	Bulk                  // images
)

// String is "control", "talk", "manifest" or "bulk".
func (c Class) String() string { return [...]string{"control", "talk", "manifest", "bulk"}[c] }

const (
	// Quantum and minQuantum bound how many bytes go at a time when a rate is limited:
	// what else uses the link waits for so much.
	Quantum, minQuantum = 32 << 10, 4 << 10
	// floorShare of the node's rate is what bulk may have on a robot that must spare
	// itself; floorRate, in bytes per second, is that of a node without a limit.
	floorShare = 10
	floorRate  = 64 << 10
	// manifestShare of the node's rate is what documents may have.
	manifestShare = 2
	// maxDebt is how long talk waits at most for what could not wait itself: were that
	// more than control may have for good, talk would never go.
	maxDebt = 10 * time.Second
)

// Limits are in bytes per second; zero is none.
type Limits struct {
	Node int64 // all that leaves the node
	Peer int64 // bulk to any one peer
	// Control is what talk, gossip and Raft may have together. Talk makes room for the
	// others, but waits for them no longer than maxDebt at a time.
	Control int64
}

// A Look is what a Shaper must know of the world, about once a second.
type Look struct {
	Strain Strain
	// Floor says that the robot must spare itself: bulk goes on, at a tenth of the
	// node's rate.
	Floor bool
}

// A Shaper says when bytes may go. Make it with NewShaper.
type Shaper struct {
	limits    Limits
	node      bucket
	control   bucket
	paid      int // bytes of talk that will leave as control
	manifests bucket
	peers     map[string]*bucket // of those that Forget was not called for
	governor  Governor
	bulk      int64 // bytes taken so far
	floor     bool
	slow      int64 // the governor's limit, 0 is none
}

// NewShaper returns a shaper that keeps to limits.
func NewShaper(limits Limits) *Shaper {
	s := &Shaper{limits: limits, peers: map[string]*bucket{}}
	s.node.set(limits.Node)
	s.control.set(limits.Control)
	s.manifests.set(limits.Node / manifestShare)
	return s
}

// SetLimits makes other limits count from now on. What was taken stays taken: whoever
// waits for it may give it back and take it anew.
func (s *Shaper) SetLimits(limits Limits) {
	s.limits = limits
	s.node.set(s.rate())
	s.control.set(limits.Control)
	s.manifests.set(limits.Node / manifestShare)
	for _, b := range s.peers {
		b.set(limits.Peer)
	}
}

// Take takes n bytes out of the buckets that class and peer draw from, and returns how
// long to wait before they go. What was taken as Talk leaves as Control, and is not taken
// twice then.
func (s *Shaper) Take(now time.Time, class Class, peer string, n int) (wait time.Duration) {
	if class == Talk {
		wait = s.control.take(now, 0)
		s.control.take(now, n)
		s.paid += n
		return wait
	}
	wait = s.node.take(now, n)
	switch class {
	case Control:
		s.charge(now, n)
		return 0
	case Manifest:
		wait = s.manifests.take(now, 0)
		s.manifests.take(now, n)
		return wait
	}
	s.bulk += int64(n)
	if s.limits.Peer == 0 {
		return wait
	}
	b := s.peers[peer]
	if b == nil {
		b = &bucket{}
		b.set(s.limits.Peer)
		s.peers[peer] = b
	}
	return max(wait, b.take(now, n))
}

// charge takes control out of its bucket, but for talk, which has paid. For what did not
// wait there is no more debt than maxDebt, and talk that never left pays for no more.
func (s *Shaper) charge(now time.Time, n int) {
	most := maxDebt.Seconds() * float64(s.limits.Control)
	paid := min(s.paid, n)
	s.paid = min(s.paid-paid, int(most))
	s.control.take(now, 0)
	if s.control.tokens > -most {
		s.control.tokens = max(s.control.tokens-float64(n-paid), -most)
	}
}

// Give puts back what Take took for bytes that do not go after all.
func (s *Shaper) Give(class Class, peer string, n int) {
	if class == Talk {
		s.control.give(n)
		s.paid = max(0, s.paid-n)
		return
	}
	s.node.give(n)
	switch class {
	case Manifest:
		s.manifests.give(n)
	case Bulk:
		s.bulk -= int64(n)
		if b := s.peers[peer]; b != nil {
			b.give(n)
		}
	}
}

// Step is how many of n bytes of bulk to take at a time: an eighth of a second's worth,
// or all if nothing is limited.
func (s *Shaper) Step(n int) int {
	r := least(s.node.rate, s.limits.Peer)
	if r == 0 {
		return n
	}
	return min(n, max(minQuantum, int(min(r/8, Quantum))))
}

// Forget drops what is known of a peer that is no longer served.
func (s *Shaper) Forget(peer string) { delete(s.peers, peer) }

// Look takes note of the world. Call it about once a second while bulk goes.
func (s *Shaper) Look(now time.Time, l Look) {
	s.floor, s.slow = l.Floor, s.governor.Step(now, s.bulk, l.Strain)
	s.node.set(s.rate())
}

// rate is what the node may send, by its limit and by what Look last said.
func (s *Shaper) rate() int64 {
	rate := least(s.limits.Node, s.slow)
	if s.floor {
		rate = least(rate, s.floorRate())
	}
	return rate
}

func (s *Shaper) floorRate() int64 {
	if s.limits.Node > 0 {
		return max(1, s.limits.Node/floorShare)
	}
	return floorRate
}

// Rate is what bulk may have now, in bytes per second; zero is no limit. slowed says
// that the governor keeps it down, floored that the robot spares itself.
func (s *Shaper) Rate() (bytesPerSec int64, slowed, floored bool) {
	return s.node.rate, s.slow > 0, s.floor
}

// least is the lower of two limits, zero being none.
func least(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// A bucket holds tokens for bytes. Whoever takes more than there are waits until they
// have come; what others take meanwhile they wait for in turn.
type bucket struct {
	rate   int64   // bytes per second; zero is no limit
	tokens float64 // <= burst; below zero are those that somebody waits for
	at     time.Time
}

// burst is what may go at once after a pause: a quarter of a second, or a quantum.
func (b *bucket) burst() float64 { return float64(max(Quantum, b.rate/4)) }

// set changes the rate. A bucket that was not limited before is full.
func (b *bucket) set(rate int64) {
	was := b.rate
	b.rate = rate
	if was == 0 {
		b.tokens = b.burst()
	}
	b.tokens = min(b.tokens, b.burst())
}

func (b *bucket) give(n int) { b.tokens = min(b.burst(), b.tokens+float64(n)) }

func (b *bucket) take(now time.Time, n int) time.Duration {
	if b.rate == 0 {
		b.at = now
		return 0
	}
	if past := now.Sub(b.at); past > 0 && !b.at.IsZero() {
		b.tokens = min(b.burst(), b.tokens+past.Seconds()*float64(b.rate))
	}
	b.at = now
	if b.tokens -= float64(n); b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / float64(b.rate) * float64(time.Second))
}
