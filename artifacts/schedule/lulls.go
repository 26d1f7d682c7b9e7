package schedule

import "time"

const (
	// lullFactor is how many times the longest lull a peer may be silent.
	lullFactor = 2
	// lullHalves is how long it takes until half of a lull is forgotten.
	lullHalves = 30 * time.Second
)

// lulls remembers for how long peers were silent that sent on after all. Where the air is
// full, all healthy peers are: who gives them up at a fixed time asks for everything
// twice, and fills the air the more. Silence that ends is the only kind that tells how
// long to wait, so peers that never answer teach nothing.
type lulls struct {
	longest time.Duration // less half of it for each lullHalves since
	at      time.Time     // when it was last halved, or was zero
}

// note takes a silence that has ended.
func (l *lulls) note(d time.Duration) { l.longest = max(l.longest, d) }

// age forgets.
func (l *lulls) age(now time.Time) {
	if l.longest == 0 || l.at.IsZero() {
		l.at = now
	}
	for ; now.Sub(l.at) >= lullHalves; l.at = l.at.Add(lullHalves) {
		l.longest /= 2
	}
}

// patience is how long a peer that never kept us waiting may be silent.
func (l *lulls) patience() time.Duration {
	return min(max(MinPatience, lullFactor*l.longest), MaxPatience)
}
