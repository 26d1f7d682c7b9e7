package update

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/gossip/member"
)

func wants(version string, counter, rollout uint64) Wanted {
	return Wanted{
		Release: release(version, counter), Variant: variant(version), MayArm: true, Rollout: rollout,
		MinHealthy: 20 * time.Second, HealthyDeadline: 5 * time.Minute,
	}
}

// activeNow is wants of what the swarm runs already.
func activeNow(version string, counter, rollout uint64) Wanted {
	w := wants(version, counter, rollout)
	w.Kind = CatchUp
	return w
}

// scene is one update, and what may run when all is over.
type scene struct {
	name  string
	setup func(w *world)
	ends  []string // what may run at the end
	clean string   // what runs if nothing is cut
}

var scenes = []scene{
	{name: "good", clean: "v2", ends: []string{"v1", "v2"}, setup: func(w *world) {
		w.withBaseline().order = func() []Event { return []Event{wants("v2", 2, 1)} }
	}},
	{name: "unwell", clean: "v1", ends: []string{"v1"}, setup: func(w *world) {
		w.withBaseline().order = func() []Event { return []Event{wants("v2", 2, 1)} }
		w.behaves[variant("v2").Manifest] = behaviour{unwell: true}
	}},
	{name: "exits", clean: "v1", ends: []string{"v1"}, setup: func(w *world) {
		w.withBaseline().order = func() []Event { return []Event{wants("v2", 2, 1)} }
		w.behaves[variant("v2").Manifest] = behaviour{exits: true}
	}},
	{name: "does not start", clean: "v1", ends: []string{"v1"}, setup: func(w *world) {
		w.withBaseline().order = func() []Event { return []Event{wants("v2", 2, 1)} }
		w.behaves[variant("v2").Manifest] = behaviour{noStart: true}
	}},
	{name: "first install", clean: "v2", ends: []string{"nothing", "v2"}, setup: func(w *world) {
		w.order = func() []Event { return []Event{wants("v2", 2, 1)} }
	}},
	{name: "first install unwell", clean: "nothing", ends: []string{"nothing"}, setup: func(w *world) {
		w.order = func() []Event { return []Event{wants("v2", 2, 1)} }
		w.behaves[variant("v2").Manifest] = behaviour{unwell: true}
	}},
	{name: "first install of what is active, unwell", clean: "nothing", ends: []string{"nothing"}, setup: func(w *world) {
		w.order = func() []Event { return []Event{activeNow("v2", 2, 1)} }
		w.behaves[variant("v2").Manifest] = behaviour{unwell: true}
		w.mostTrials, w.quiet = MaxAttempts*(1+MaxRetries), 10*time.Minute
	}},
	{name: "superseded while off", clean: "v2", ends: []string{"v1", "v2"}, setup: func(w *world) {
		first := true
		w.withBaseline().order = func() []Event {
			if first {
				first = false
				return []Event{wants("v2", 2, 1)}
			}
			back := wants("v1", 1, 1) // the order that is found on return goes back
			back.Kind = Revert
			return []Event{back}
		}
	}},
	{name: "crash loop after the commit", clean: "v1", ends: []string{"v1", "v2"}, setup: func(w *world) {
		w.withBaseline().order = func() []Event { return []Event{wants("v2", 2, 1)} }
		w.behaves[variant("v2").Manifest] = behaviour{later: 30 * time.Second}
	}},
}

// TestCrashAtEveryEffect cuts each scene before every effect of every action, once
// by a loss of power and once by the daemon's death, and then cuts the recovery at
// each of its effects as well.
func TestCrashAtEveryEffect(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t, -1, false)
			s.setup(w)
			w.play(time.Hour)
			w.settled("uncut")
			require.Equal(t, s.clean, w.runs())
			total := min(w.effects, 60)
			require.Greater(t, total, 10)
			for first := 1; first <= total; first++ {
				for second := 0; second <= 10; second++ {
					cutTwice(t, s, first, second, true, second%2 == 0)
					cutTwice(t, s, first, second, false, second%2 == 1)
				}
			}
		})
	}
}

func cutTwice(t *testing.T, s scene, first, second int, power, powerAgain bool) {
	w := newWorld(t, first, power)
	defer w.tell()
	s.setup(w)
	for !w.fired && w.now.Before(epoch.Add(time.Hour)) {
		w.play(time.Second)
	}
	require.True(t, w.fired, "the cut at effect %d was not reached", first)
	if second > 0 {
		w.cutAt, w.power = w.effects+second, powerAgain
	}
	w.play(time.Hour)
	context := fmt.Sprintf("cut at effect %d (power %v), then %d later (power %v)", first, power, second, powerAgain)
	w.settled(context)
	require.Contains(t, s.ends, w.runs(), context)
}

// TestRandomCuts cuts long lives at random, with orders that change and disks that
// fill up, and asks the same at the end of each.
func TestRandomCuts(t *testing.T) {
	for seed := range int64(120) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomLife(t, rand.New(rand.NewSource(seed))) })
	}
}

func randomLife(t *testing.T, rng *rand.Rand) {
	w := newWorld(t, -1, false)
	defer w.tell()
	if rng.Intn(4) > 0 {
		w.withBaseline()
	}
	for _, v := range []string{"v2", "v3"} {
		if rng.Intn(2) == 0 {
			w.behaves[variant(v).Manifest] = behaviour{
				unwell: rng.Intn(3) == 0, exits: rng.Intn(4) == 0, noStart: rng.Intn(5) == 0,
				later: time.Duration(rng.Intn(2)) * 40 * time.Second,
			}
		}
	}
	var now []Event
	w.order = func() []Event { return now }
	rollout := uint64(0)
	for range 12 {
		if rng.Intn(2) == 0 {
			rollout++
		}
		now = randomOrder(rng, rollout)
		w.queue = append(w.queue, now...)
		w.cutAt, w.power, w.saveBad = w.effects+1+rng.Intn(40), rng.Intn(2) == 0, rng.Intn(6) == 0
		w.play(time.Duration(rng.Intn(400)) * time.Second)
		clear(w.trials) // each order may bring its attempts anew
	}
	now, w.cutAt, w.saveBad = []Event{GateOpen{}}, -1, false
	w.queue = append(w.queue, now...)
	w.play(2 * time.Hour)
	w.settled("at the end")
}

func randomOrder(rng *rand.Rand, rollout uint64) []Event {
	n := uint64(1 + rng.Intn(3))
	w := wants(fmt.Sprintf("v%d", n), n, rollout)
	w.MayArm = rng.Intn(4) > 0
	switch rng.Intn(8) {
	case 0:
		return []Event{Unwanted{"withdrawn"}}
	case 1:
		return []Event{Back{Reason: "asked", ByHand: rng.Intn(2) == 0}}
	case 2:
		return []Event{GateClosed{Hold: rng.Intn(2) == 0, Reason: "airborne"}, w}
	}
	return []Event{GateOpen{}, w}
}

// TestLostRecord shows what runs when no copy of the record can be read.
func TestLostRecord(t *testing.T) {
	step := func(e Restarted) (*Updater, []Action) {
		u := New(NewRecord("app"), Config{})
		return u, u.Step(epoch, e)
	}
	u, actions := step(Restarted{Lost: true, Linked: true, Link: B, Marked: true, Mark: A})
	require.Equal(t, A, u.Record().Committed, "the marked slot, not the one on trial")
	require.IsType(t, Switch{}, actions[1])
	require.Equal(t, A, actions[1].(Switch).To)
	u, actions = step(Restarted{Lost: true, Linked: true, Link: B})
	require.Equal(t, B, u.Record().Committed)
	require.Equal(t, B, actions[1].(Start).Slot)
	u, _ = step(Restarted{Lost: true})
	require.Equal(t, member.Idle, u.Record().Phase)
	require.NoError(t, u.check())
}

// TestRetriesAreBounded: a release that never gets well is tried MaxRetries times
// more, whatever restarts come in between, each after a longer wait.
func TestRetriesAreBounded(t *testing.T) {
	for _, cuts := range []int{0, 3} {
		w := newWorld(t, -1, false)
		w.order = func() []Event { return []Event{activeNow("v2", 2, 1)} }
		w.behaves[variant("v2").Manifest] = behaviour{exits: true}
		w.mostTrials, w.quiet = 1+MaxRetries, 2*time.Hour
		for range cuts {
			w.play(10 * time.Minute)
			w.boot()
		}
		w.play(24 * time.Hour)
		w.settled("at the end")
		require.Equal(t, 1+MaxRetries, w.trials[variant("v2").Manifest], "with %d restarts", cuts)
		require.Contains(t, w.u.Status().Reason, "no retry after 8: payload ended")
		var at []time.Time
		for _, c := range w.story {
			for _, a := range c.actions {
				if _, ok := a.(Switch); ok {
					at = append(at, c.now)
				}
			}
		}
		if cuts == 0 {
			require.GreaterOrEqual(t, at[1].Sub(at[0]), time.Minute)
			require.GreaterOrEqual(t, at[2].Sub(at[1]), 4*time.Minute)
			require.Less(t, at[8].Sub(at[7]), 62*time.Minute)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	base := Baseline("app", B, content("v1", 1))
	fresh := NewRecord("nav")
	f.Add(base.Encode())
	f.Add(fresh.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRecord(data)
		if err != nil {
			require.Equal(t, Record{}, r)
			return
		}
		require.Equal(t, data, r.Encode())
		u := New(r, Config{})
		u.Step(epoch, Restarted{Linked: true, Link: r.Current})
		require.NoError(t, u.check())
	})
}
