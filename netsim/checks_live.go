package netsim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// limits are how long things may take at last, once nothing goes wrong any more and
// nobody comes or goes (reference/swarm.md §3.6, 15-20).
type limits struct {
	leader, order, members, settle, voters time.Duration
}

// limitsOf are the limits for a profile and n machines.
func limitsOf(profile string, n int) limits {
	scale := math.Max(1, math.Log10(float64(n)))
	// suspicion is memberlist's longest: 6 × mult × log10(n) × probe interval; sync is two
	// push/pulls, which grow above 32 members.
	heal := func(mult, probe, sync, rejoin float64) time.Duration {
		grow := math.Max(1, 1+math.Log2(math.Max(1, float64(n)/32)))
		return time.Duration((6*mult*scale*probe + 2*sync*grow + rejoin) * float64(time.Second))
	}
	switch profile {
	case "mesh":
		return limits{50 * time.Second, 5 * time.Minute, heal(5, 3, 120, 180), 15 * time.Minute, 30 * time.Minute}
	case "narrow":
		return limits{200 * time.Second, 10 * time.Minute, heal(4, 15, 300, 720), 20 * time.Minute, 30 * time.Minute}
	case "local":
		return limits{5 * time.Second, 20 * time.Second, heal(4, 0.2, 5, 30), 3 * time.Minute, 3 * time.Minute}
	}
	return limits{10 * time.Second, time.Minute, heal(4, 2, 60, 180), 5 * time.Minute, 15 * time.Minute}
}

// A streak is since when something that must be so at last is not.
type streak map[string]time.Duration

// overdue reports whether something has not been so for longer than within. It is
// told once for each such time. since is when nothing stood in its way any more.
func (s streak) overdue(what string, so bool, now, since, within time.Duration) bool {
	from, late := s[what]
	switch {
	case so:
		delete(s, what)
		return false
	case !late || from < since:
		s[what] = now
		return false
	case now-from <= within:
		return false
	}
	s[what] = now
	return true
}

// A mate is one machine of the core: those that are on, honest and reach each other.
type mate struct {
	name  string
	order order.Pointer
	alive []string // whom it sees alive, sorted; nil is not asked
}

// behind are the machines that do not have the newest order of all.
func behind(core []mate) (newest order.Pointer, list []string) {
	for _, m := range core {
		if newest.Before(m.order) {
			newest = m.order
		}
	}
	for _, m := range core {
		if m.order.Before(newest) {
			list = append(list, m.name+" at "+m.order.String())
		}
	}
	return newest, list
}

// strangers says of the first machine that does not see exactly want alive what is wrong;
// empty if all do.
func strangers(core []mate, want []string) string {
	for _, m := range core {
		if m.alive != nil && !slices.Equal(m.alive, want) {
			missing, extra := apart(want, m.alive), apart(m.alive, want)
			return fmt.Sprintf("%s does not see %v, and sees %v", m.name, missing, extra)
		}
	}
	return ""
}

// apart are those of a that are not in b.
func apart(a, b []string) []string {
	out := []string{}
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// longest is how long a running rollout may show the same order, if every robot that
// took the release is there.
func longest(p *rollout.Plan) time.Duration {
	soak := max(p.CanaryGate.SoakSeconds, p.WaveGate.SoakSeconds, p.SoakGate.SoakSeconds)
	exposure := max(p.CanaryGate.ExposureSeconds, p.WaveGate.ExposureSeconds, p.SoakGate.ExposureSeconds)
	s := uint64(p.InstallDeadlineSeconds+p.SilenceDeadlineSeconds+p.HealthyDeadlineSeconds+soak) + exposure
	return time.Duration(s)*time.Second + 10*time.Minute // the pause before deferred robots are tried again
}
