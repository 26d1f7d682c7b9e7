package netsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// aWorld has two robots that run 1.0 of app, and releases 1.0 and 1.1 for any model.
func aWorld(t *testing.T, e scenario.Expect) (*World, []*standing) {
	t.Helper()
	s := &scenario.Scenario{Duration: 3 * time.Minute, Expect: e, Fleet: []scenario.Group{{Name: "cart", Count: 2, Model: "m"}}}
	w := &World{scenario: s, trace: exact.NewWriter(nil), watch: newWatch(), byName: map[string]*machine{}}
	w.truth, w.checks = newTruth(w), newChecks(w)
	for i, ref := range []manifest.Ref{old, fresh} {
		rel := &manifest.Release{Component: "app", Version: ref.Version, Counter: uint64(i + 1)}
		w.releases = append(w.releases, &release{Release: rel, spec: &scenario.Release{Component: "app", Version: ref.Version}, files: map[string]map[string][]byte{"": nil}})
	}
	var list []*standing
	for _, name := range []string{"cart-1", "cart-2"} {
		r := &robot{machine: machine{name: name}, model: "m", group: &s.Fleet[0]}
		r.parts = []*payload{{r: r, w: w, component: "app"}}
		w.robots = append(w.robots, r)
		w.byName[name] = &r.machine
		st := w.truth.of(r.parts[0])
		*st = *runs(w, 0)
		list = append(list, st)
	}
	return w, list
}

// runs is the standing of a robot that runs release i, committed, after 1.0.
func runs(w *World, i int) *standing {
	s := &standing{}
	for _, r := range w.releases[:i+1] {
		s.ran = append(s.ran, r.Digest())
		s.running = r.Ref()
	}
	s.committed = s.running
	return s
}

func TestUnmet(t *testing.T) {
	one, two := scenario.Named("cart-1"), scenario.Amount{Count: 1}
	rolledOut := func(s order.Status, reason string) *order.Order {
		return at(9, &order.Rollout{ID: 1, Component: "app", Release: fresh, Status: s, Reason: reason})
	}
	both := func(w *World, s []*standing) { *s[0], *s[1] = *runs(w, 1), *runs(w, 1) }
	went := func(w *World, s []*standing) { // to 1.1 and back
		both(w, s)
		s[0].running, s[0].committed = w.releases[0].Ref(), w.releases[0].Ref()
		s[1].running, s[1].committed = s[0].running, s[0].committed
	}
	for name, c := range map[string]struct {
		expect scenario.Expect
		is     func(w *World, s []*standing)
		want   []string
	}{
		"nothing":                {scenario.Expect{}, nil, nil},
		"active":                 {scenario.Expect{Active: []scenario.Ref{"1.1"}}, both, nil},
		"active, one is behind":  {scenario.Expect{Active: []scenario.Ref{"1.1"}}, func(w *World, s []*standing) { *s[0] = *runs(w, 1) }, []string{"active 1.1: cart-2 runs 1.0"}},
		"active, one may be":     {scenario.Expect{Active: []scenario.Ref{"1.1"}, LeftBehind: two}, func(w *World, s []*standing) { *s[0] = *runs(w, 1) }, nil},
		"active, one is revoked": {scenario.Expect{Active: []scenario.Ref{"1.1"}}, func(w *World, s []*standing) { *s[0] = *runs(w, 1); w.watch.revoke("cart-2") }, nil},
		"active, on trial":       {scenario.Expect{Active: []scenario.Ref{"1.1"}}, func(w *World, s []*standing) { both(w, s); s[0].committed = w.releases[0].Ref() }, []string{"active 1.1: cart-1 has it on trial"}},
		"active, not for m":      {scenario.Expect{Active: []scenario.Ref{"1.1"}}, func(w *World, s []*standing) { w.releases[1].files = nil }, nil},
		"active, never built":    {scenario.Expect{Active: []scenario.Ref{"2.0"}}, nil, []string{"active 2.0: no release 2.0 has been built"}},
		"reverted":               {scenario.Expect{Reverted: []scenario.Ref{"1.1"}}, went, nil},
		"reverted, never ran":    {scenario.Expect{Reverted: []scenario.Ref{"1.1"}}, nil, []string{"reverted 1.1: it never ran anywhere"}},
		"reverted, still runs":   {scenario.Expect{Reverted: []scenario.Ref{"1.1"}}, func(w *World, s []*standing) { *s[1] = *runs(w, 1) }, []string{"reverted 1.1: cart-2 still runs it"}},
		"untouched":              {scenario.Expect{Untouched: &one}, func(w *World, s []*standing) { *s[1] = *runs(w, 1) }, nil},
		"untouched, but was":     {scenario.Expect{Untouched: &one}, went, []string{"untouched: cart-1 ran another release of app"}},
		"holds":                  {scenario.Expect{Holds: "canary"}, func(w *World, _ []*standing) { w.watch.take(rolledOut(order.Held, "canary failed"), nil) }, nil},
		"holds, for another":     {scenario.Expect{Holds: "lease"}, func(w *World, _ []*standing) { w.watch.take(rolledOut(order.Held, "canary failed"), nil) }, []string{`holds "lease": rollout 1 is held: canary failed`}},
		"holds, but runs":        {scenario.Expect{Holds: "canary"}, func(w *World, _ []*standing) { w.watch.take(rolledOut(order.Running, "canary"), nil) }, []string{`holds "canary": rollout 1 is running: canary`}},
		"holds, no rollout":      {scenario.Expect{Holds: "canary"}, nil, []string{`holds "canary": there was no rollout`}},
		"says":                   {scenario.Expect{Says: "2 of 2"}, func(w *World, _ []*standing) { w.watch.take(rolledOut(order.Reverted, "2 of 2 failed"), nil) }, nil},
		"says, not over":         {scenario.Expect{Says: "2 of 2"}, func(w *World, _ []*standing) { w.watch.take(rolledOut(order.RollingOff, "2 of 2 failed"), nil) }, []string{`says "2 of 2": rollout 1 is reverting: 2 of 2 failed`}},
		"out of service":         {scenario.Expect{MaxOutOfService: &two}, func(w *World, _ []*standing) { w.truth.worst = 1 }, nil},
		"too many":               {scenario.Expect{MaxOutOfService: &two}, func(w *World, _ []*standing) { w.truth.worst = 2 }, []string{"max_out_of_service: 2 robots were between two releases at once, at most 1 may be"}},
		"converges":              {scenario.Expect{ConvergeWithin: time.Minute}, func(w *World, _ []*standing) { w.checks.ends.restless = time.Minute }, nil},
		"converges too late": {scenario.Expect{ConvergeWithin: time.Minute}, func(w *World, _ []*standing) {
			w.checks.ends.restless, w.checks.ends.why = 61*time.Second, "cart-1 did"
		}, []string{"converge_within 1m0s: at 1m1s cart-1 did"}},
		"never converges": {scenario.Expect{ConvergeWithin: 3 * time.Minute}, func(w *World, _ []*standing) {
			w.checks.ends.restless, w.checks.ends.why = 3*time.Minute, "cart-1 did"
		}, []string{"converge_within 3m0s: at 3m0s cart-1 did"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := aWorld(t, c.expect)
			if c.is != nil {
				c.is(w, s)
			}
			got := w.unmet()
			require.Len(t, got, len(c.want), "%v", got)
			for i := range got {
				require.Contains(t, got[i], c.want[i])
			}
			require.Equal(t, got, w.unmet(), "asking changes nothing")
		})
	}
}

func TestUnmetOfShips(t *testing.T) {
	x := newEnds()
	x.ships = []ship{{ref: "1.1", digest: fresh.Digest, at: 10 * time.Second}}
	e := &scenario.Expect{SeedSends: 1.5, SafeToLeaveWithin: time.Minute}
	require.Equal(t, []string{"safe_to_leave_within 1m0s: the operator is still needed for 1.1"}, x.unmet(e, time.Hour))
	x.ships[0].safe = 70 * time.Second
	require.Empty(t, x.unmet(e, time.Hour))
	x.ships[0].safe = 71 * time.Second
	require.Equal(t, []string{"safe_to_leave_within 1m0s: the operator was needed for 1.1 for 1m1s"}, x.unmet(e, time.Hour))
	a, b := new(life), new(life)
	x.sent[a], x.sent[b] = map[manifest.Digest]float64{fresh.Digest: 0.75, old.Digest: 9}, map[manifest.Digest]float64{fresh.Digest: 0.75}
	x.ships[0].safe = 20 * time.Second
	require.Empty(t, x.unmet(e, time.Hour), "what joining robots take is not asked")
	x.sent[b][fresh.Digest] = 0.76
	require.Equal(t, []string{"seed_sends 1.5: the operator has sent 1.1 1.51 times"}, x.unmet(e, time.Hour), "over two lives of the laptop")
	require.Empty(t, x.unmet(&scenario.Expect{}, time.Hour))
}

// A violation of what was not asked for is none, and of what was, no flood.
func TestViolations(t *testing.T) {
	w, _ := aWorld(t, scenario.Expect{Safety: []string{"one-order"}})
	for range maxViolations + 5 {
		w.checks.violate("one-leader", "x")
		w.checks.violate("one-order", "seen by %s", "a")
	}
	got := w.checks.violations()
	require.Len(t, got, maxViolations)
	require.Equal(t, "one-order", got[0].Invariant)
	require.Equal(t, "seen by a", got[0].Detail)
	require.Len(t, got[19].Trace, traceBefore, "what happened before is told too")
}
