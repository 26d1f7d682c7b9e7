package pace

import "time"

const (
	// probeSlack is how much longer than usual a probe must take before it counts:
	// bulk may keep a link's queue that long, and a probe waits five times as long
	// before it is lost.
	probeSlack = 100 * time.Millisecond
	// cutEvery is the least time between two halvings: as long as until the next probe,
	// which shows what the last one did.
	cutEvery = 2 * time.Second
	// slowest is the rate below which bulk is not slowed: it would never arrive, and
	// harms nobody.
	slowest = 16 << 10
	// recovery of the rate before the first halving comes back each second.
	recovery = 0.05
)

// Strain is how the members that probe each other fare, as one of them sees it.
type Strain struct {
	// Probes counts the answered ones: as long as it is the same, nothing is new.
	Probes uint64
	// Trip is how long the newest took there and back; Least is what that member
	// takes without queues. Zero is unknown.
	Trip, Least time.Duration
	// Score is memberlist's own health score: 0 is well, it rises when answers fail.
	Score int
}

// A Governor slows bulk down while probes suffer. Its zero value slows nothing.
type Governor struct {
	limit, full float64 // bytes per second; limit 0 is none; full is what comes back in the end
	at, cut     time.Time
	sent        int64
	seen        Strain
}

// Step takes how many bytes of bulk have been sent in all, and how the members fare,
// and returns the limit for bulk in bytes per second; zero is none.
func (g *Governor) Step(now time.Time, sent int64, s Strain) int64 {
	past := now.Sub(g.at)
	first := g.at.IsZero()
	bad := g.suffers(s)
	rate := 0.0
	if past > 0 && !first {
		rate = float64(sent-g.sent) / past.Seconds()
	}
	g.at, g.sent, g.seen = now, sent, s
	switch {
	case first:
	case bad && now.Sub(g.cut) >= cutEvery:
		g.halve(now, rate)
	case !bad && g.limit > 0:
		if g.limit += g.full * recovery * past.Seconds(); g.limit >= g.full {
			g.limit, g.full = 0, 0
		}
	}
	return int64(g.limit)
}

// suffers reports whether there is news, and it is bad: a probe took more than twice
// its usual time, or this node has become worse.
func (g *Governor) suffers(s Strain) bool {
	late := s.Probes != g.seen.Probes && s.Least > 0 && s.Trip > 2*s.Least && s.Trip-s.Least >= probeSlack
	return late || s.Score > g.seen.Score
}

// halve halves what is sent, not what might be.
func (g *Governor) halve(now time.Time, rate float64) {
	if g.limit > 0 {
		rate = min(rate, g.limit)
	}
	if rate < slowest {
		return // whatever hurts, it is not this
	}
	g.cut = now
	g.full = max(g.full, rate)
	g.limit = max(rate/2, slowest)
}
