package pace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.Unix(1000, 0)

// send takes bytes a step at a time for a while, as a writer does that waits, and
// returns how many went.
func send(s *Shaper, from time.Time, span time.Duration, class Class, peer string) (bytes int64) {
	for now := from; now.Before(from.Add(span)); {
		n := s.Step(64 << 10)
		wait := s.Take(now, class, peer, n)
		if wait == 0 && s.Step(64<<10) == 64<<10 {
			return -1 // nothing is limited
		}
		now = now.Add(wait)
		bytes += int64(n)
	}
	return bytes
}

func TestRates(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		look   Look
		want   int64 // bytes in ten seconds; -1 is no limit
	}{
		"no limit":              {Limits{}, Look{}, -1},
		"the node's":            {Limits{Node: 100 << 10}, Look{}, 1000 << 10},
		"a peer's":              {Limits{Peer: 50 << 10}, Look{}, 500 << 10},
		"the lower of both":     {Limits{Node: 100 << 10, Peer: 20 << 10}, Look{}, 200 << 10},
		"floored":               {Limits{Node: 1000 << 10}, Look{Floor: true}, 1000 << 10},
		"floored without limit": {Limits{}, Look{Floor: true}, 640 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewShaper(c.limits)
			s.Look(start, c.look)
			got := send(s, start, 10*time.Second, Bulk, "a")
			if c.want < 0 {
				require.EqualValues(t, -1, got)
				return
			}
			require.InDelta(t, float64(c.want), float64(got), float64(c.want)/10+Quantum)
		})
	}
}

// TestStep: bulk goes in small steps where the rate is low, whole where there is none.
func TestStep(t *testing.T) {
	for limit, want := range map[int64]int{0: 1 << 20, 1: minQuantum, 100 << 10: 12800, 1 << 30: Quantum} {
		require.Equal(t, want, NewShaper(Limits{Node: limit}).Step(1<<20), "%d bytes per second", limit)
	}
	require.Equal(t, 7, NewShaper(Limits{Node: 1}).Step(7))
}

// TestSetLimits: other limits count at once, of the node, of peers that are known and of
// those to come; what Look said stays.
func TestSetLimits(t *testing.T) {
	s := NewShaper(Limits{})
	now := start
	second := func(peer string, limits Limits) float64 { // KiB
		s.SetLimits(limits)
		send(s, now, 10*time.Second, Bulk, peer) // the burst
		now = now.Add(10 * time.Second)
		bytes := send(s, now, 100*time.Second, Bulk, peer)
		now = now.Add(100 * time.Second)
		return float64(bytes) / 100 / (1 << 10)
	}
	require.InDelta(t, 100, second("a", Limits{Node: 100 << 10}), 2)
	require.InDelta(t, 20, second("a", Limits{Node: 100 << 10, Peer: 20 << 10}), 2)
	require.InDelta(t, 40, second("a", Limits{Peer: 40 << 10}), 2)
	require.InDelta(t, 10, second("b", Limits{Node: 10 << 10, Peer: 40 << 10}), 2)
	require.Negative(t, second("a", Limits{}), "no limit")
	s.Look(now, Look{Floor: true})
	require.InDelta(t, 5, second("a", Limits{Node: 50 << 10}), 2)
	require.InDelta(t, 50, second("a", Limits{Node: 500 << 10}), 4)
	s.Look(now, Look{})
	require.InDelta(t, 500, second("a", Limits{Node: 500 << 10}), 10)
}

// TestClasses: control never waits, documents not for bulk, and bulk waits for all.
func TestClasses(t *testing.T) {
	s := NewShaper(Limits{Node: 100 << 10})
	for range 10 {
		s.Take(start, Bulk, "a", 100<<10)
	}
	require.Zero(t, s.Take(start, Control, "", 4<<10))
	require.Zero(t, s.Take(start, Manifest, "", 4<<10))
	require.Zero(t, s.Take(start, Manifest, "", 1<<20), "a document does not wait for itself")
	require.Equal(t, 19920*time.Millisecond, s.Take(start, Manifest, "", 4<<10), "but for those before it: 1,028 KiB at 50 KiB/s, after a burst of 32")

	quiet, busy := NewShaper(Limits{Node: 100 << 10}), NewShaper(Limits{Node: 100 << 10})
	busy.Take(start, Control, "", 200<<10)
	require.Equal(t, 2*time.Second, busy.Take(start, Bulk, "a", 32<<10)-quiet.Take(start, Bulk, "a", 32<<10), "bulk makes room for control")
}

// TestTalk: talk waits for the control before it, whatever that is, and not for bulk; it is
// taken once, though it leaves as control.
func TestTalk(t *testing.T) {
	talk := func(s *Shaper, n int) (sec float64) { return s.Take(start, Talk, "", n).Seconds() }
	s := NewShaper(Limits{Control: 10 << 10})
	s.Take(start, Bulk, "a", 1<<20)
	require.Zero(t, talk(s, 32<<10), "the burst")
	require.Zero(t, talk(s, 50<<10), "it does not wait for itself")
	s.Take(start, Control, "", 82<<10) // both leave
	require.InDelta(t, 5, talk(s, 10<<10), 0.01)
	s.Give(Talk, "", 10<<10)
	require.InDelta(t, 5, talk(s, 0), 0.01)
	s.Take(start, Control, "", 20<<10) // gossip
	require.InDelta(t, 7, talk(s, 0), 0.01)
	s.Take(start, Control, "", 1<<20)
	require.InDelta(t, 10, talk(s, 0), 0.01, "for no more than maxDebt of what does not wait")
	talk(s, 20<<10)
	require.InDelta(t, 12, talk(s, 0), 0.01, "but for all talk")
	s.Take(start, Control, "", 1<<20)
	require.InDelta(t, 12, talk(s, 0), 0.01)

	free := NewShaper(Limits{Node: 100 << 10})
	free.Take(start, Control, "", 1<<30)
	require.Zero(t, talk(free, 1<<30))
}

// TestControlKeepsItsRate: talk and gossip have about the rate of control together: talk
// knows of the gossip before it, not of what is sent while it waits. With gossip above the
// rate, talk still goes.
func TestControlKeepsItsRate(t *testing.T) {
	for gossip, want := range map[int]float64{0: 1000, 300: 1060, 600: 1100, 5000: 5000 + 2000/12} { // bytes per second, of talk and gossip
		s, now, talk := NewShaper(Limits{Control: 1000}), start, 0
		for now.Before(start.Add(10_000 * time.Second)) {
			wait := s.Take(now, Talk, "", 2000)
			for range int(wait / time.Second) {
				now = now.Add(time.Second)
				s.Take(now, Control, "", gossip)
			}
			now = now.Add(max(wait%time.Second, time.Millisecond))
			s.Take(now, Control, "", 2000)
			talk += 2000
		}
		require.InDelta(t, want, float64(talk)/10_000+float64(gossip), 60, "%d bytes of gossip per second", gossip)
	}
}

// TestPeers: what one peer takes costs the other only the node's rate; a peer that is
// gone is forgotten.
func TestPeers(t *testing.T) {
	s := NewShaper(Limits{Peer: 10 << 10})
	require.Positive(t, s.Take(start, Bulk, "a", 100<<10))
	require.Zero(t, s.Take(start, Bulk, "b", 10<<10))
	s.Forget("a")
	require.Zero(t, s.Take(start, Bulk, "a", 10<<10))
	require.Len(t, s.peers, 2)
}

// TestGovernor follows a node that sends as fast as it may, at most a MiB per second.
func TestGovernor(t *testing.T) {
	const full = 1 << 20
	late := Strain{Trip: 250 * time.Millisecond, Least: 20 * time.Millisecond}
	well := Strain{Trip: 25 * time.Millisecond, Least: 20 * time.Millisecond}
	for name, c := range map[string]struct {
		what func(second int) Strain
		want map[int]int64 // limit after so many seconds, in KiB
	}{
		"all is well":                  {func(int) Strain { return well }, map[int]int64{30: 0}},
		"a quick link's noise":         {func(int) Strain { return Strain{Trip: 3 * time.Millisecond, Least: time.Millisecond} }, map[int]int64{30: 0}},
		"far, and no slower than ever": {func(int) Strain { return Strain{Trip: 900 * time.Millisecond, Least: 800 * time.Millisecond} }, map[int]int64{30: 0}},
		"a member never heard before":  {func(int) Strain { return Strain{Trip: time.Second} }, map[int]int64{30: 0}},
		"late once": {func(i int) Strain {
			if i == 5 {
				return late
			}
			return well
		}, map[int]int64{4: 0, 5: 512, 10: 768, 15: 0, 30: 0}},
		"late for long": {func(i int) Strain {
			if i >= 5 && i < 60 {
				return late
			}
			return well
		}, map[int]int64{5: 512, 7: 256, 9: 128, 59: 16, 60: 67, 90: 0}},
		"its own score rises and stays": {func(i int) Strain { s := well; s.Score = min(i/5, 1); return s }, map[int]int64{4: 0, 5: 512, 20: 0}},
		"and rises again":               {func(i int) Strain { s := well; s.Score = i / 5; return s }, map[int]int64{5: 512, 9: 716, 10: 358}},
	} {
		t.Run(name, func(t *testing.T) {
			var g Governor
			sent, limit := int64(0), int64(0)
			for i := range 91 {
				s := c.what(i)
				s.Probes = uint64(i)
				limit = g.Step(start.Add(time.Duration(i)*time.Second), sent, s)
				if want, ok := c.want[i]; ok {
					require.Equal(t, want, limit>>10, "after %d s", i)
				}
				sent += least(full, limit)
			}
		})
	}
}

// TestGovernorLeavesTheInnocent: a node that sends next to nothing is not slowed, and
// the same late probe is not counted twice.
func TestGovernorLeavesTheInnocent(t *testing.T) {
	var g Governor
	bad := Strain{Probes: 1, Trip: time.Second, Least: 10 * time.Millisecond}
	require.Zero(t, g.Step(start, 0, Strain{}))
	require.Zero(t, g.Step(start.Add(time.Second), 1000, bad), "a kilobyte a second")
	require.Zero(t, g.Step(start.Add(2*time.Second), 1<<20, bad), "the same probe")
	bad.Probes++
	require.NotZero(t, g.Step(start.Add(3*time.Second), 2<<20, bad))
}
