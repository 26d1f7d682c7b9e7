package netsim

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// small is a swarm that is up within seconds; a test adds faults and a story to it.
const small = `
name: small
about: A test.
seed: 5
duration: 3m
world: {profile: local}
fleet: [{name: cart, count: 5, device: {boot: 1s}}]
releases:
  - {version: "1.0", size: 64KiB}
  - {version: "1.1", size: 64KiB, shared: 50%}
`

// onRAM is an empty directory, on a RAM disk if there is one.
func onRAM(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "netsim-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func parse(t *testing.T, text string) *scenario.Scenario {
	s, err := scenario.Parse(t.Name(), []byte(text))
	require.NoError(t, err)
	return s
}

// A show is a run that a test looks at.
type show struct {
	*World
	t      *testing.T
	report *Report
}

// perform runs a scenario; seen is called with each note while the world stands.
func perform(t *testing.T, text string, seen func(w *World, n Note)) *show {
	s, dir := parse(t, text), onRAM(t)
	out := &show{t: t}
	synctest.Test(t, func(t *testing.T) {
		o := Options{Seed: s.Seed, Dir: dir}
		w, err := newWorld(s, o.withDefaults())
		require.NoError(t, err)
		o = o.withDefaults()
		o.Said = func(n Note) {
			if seen != nil {
				seen(w, n)
			}
		}
		out.World = w
		out.report, err = w.run(t.Context(), o)
		require.NoError(t, err)
		time.Sleep(10 * time.Minute) // what is left of the nodes runs into its timeouts
	})
	return out
}

// notes are those of a kind about a machine; empty is any.
func (s *show) notes(machine, kind string) (list []Note) {
	for _, n := range s.truth.since(0) {
		if (machine == "" || n.Machine == machine) && (kind == "" || n.Kind == kind) {
			list = append(list, n)
		}
	}
	return list
}

// first is the first note of a kind about a machine whose text has some words in it.
func (s *show) first(machine, kind, words string) Note {
	for _, n := range s.notes(machine, kind) {
		if strings.Contains(n.Text, words) {
			return n
		}
	}
	s.t.Fatalf("no note %q of %s with %q", kind, machine, words)
	return Note{}
}

// still is a world whose machines stand where they stand, and are off.
func still(t *testing.T, text string, look func(t *testing.T, w *World)) {
	s := parse(t, text)
	synctest.Test(t, func(t *testing.T) {
		o := Options{Seed: s.Seed, Dir: t.TempDir()}
		w, err := newWorld(s, o.withDefaults())
		require.NoError(t, err)
		for _, spec := range s.Operators {
			o := &operator{w: w}
			require.NoError(t, w.machine(&o.machine, spec.Name, spec.Radio, spec.Range))
			add(w, &w.operators, o)
		}
		for g := range s.Fleet {
			for i := range s.Fleet[g].Count {
				r := &robot{group: &s.Fleet[g]}
				require.NoError(t, w.machine(&r.machine, s.Fleet[g].Robot(i), s.Fleet[g].Radio, s.Fleet[g].Range))
				add(w, &w.robots, r)
			}
		}
		look(t, w)
	})
}

// strikeOnce brings the only fault of a scenario now.
func strikeOnce(t *testing.T, w *World) (lift func()) {
	f := &w.scenario.Timeline(w.seed)[0].Fault
	key, _ := f.Action()
	lift, err := strikes[key](w, t.Context(), f, w.pick(f.Pick, f.Draw))
	require.NoError(t, err)
	return lift
}

func TestNetworkFaultsAreTranslated(t *testing.T) {
	one, all := []string{"cart-2"}, fabric.Links{Both: true}
	for text, want := range map[string]fabric.Fault{
		`pick: cart-2, clog: {}`:                                              fabric.Clog{On: fabric.Links{From: one, Both: true}},
		`pick: all, clog: {}`:                                                 fabric.Clog{On: all},
		`pick: cart-2, clog: {to: operator, direction: out}`:                  fabric.Clog{On: fabric.Links{From: one, To: []string{"operator"}}},
		`pick: cart-2, clog: {to: operator, direction: in}`:                   fabric.Clog{On: fabric.Links{From: []string{"operator"}, To: one}},
		`pick: cart-2, clog: {direction: in}`:                                 fabric.Clog{On: fabric.Links{To: one}},
		`pick: cart-2, loss: {rate: 20%}`:                                     fabric.Loss{On: fabric.Links{From: one, Both: true}, Share: 0.2},
		`pick: all, loss: {rate: 20%, burst: 8}`:                              fabric.Loss{On: all, Burst: fabric.Burst{Begin: 0.03125, End: 0.125, Share: 1}},
		`pick: all, bandwidth: {factor: 10%}`:                                 fabric.Bandwidth{On: all, Factor: 0.1},
		`pick: all, delay: {add: 100ms, jitter: 40ms}`:                        fabric.Delay{On: all, Add: 100 * time.Millisecond, Jitter: 20 * time.Millisecond},
		`pick: all, duplicate: {rate: 5%}`:                                    fabric.Duplicate{On: all, Share: 0.05},
		`pick: all, reorder: {rate: 5%, by: 70ms}`:                            fabric.Reorder{On: all, Share: 0.05, By: 70 * time.Millisecond},
		`pick: all, garble: {rate: 1%}`:                                       fabric.Corrupt{On: all, Share: 0.01},
		`pick: cart-2, mtu: {bytes: 600B, to: cart-3, direction: out}`:        fabric.MTU{On: fabric.Links{From: one, To: []string{"cart-3"}}, Bytes: 600},
		`partition: {groups: [cart-2, cart-3 cart-4]}`:                        fabric.Partition{Groups: [][]string{one, {"cart-3", "cart-4"}}},
		`partition: {groups: [cart-2, cart-2 cart-3]}`:                        fabric.Partition{Groups: [][]string{one, {"cart-3"}}},
		`pick: leader, clog: {}`:                                              nil, // nobody leads
		`pick: cart-2, clog: {to: leader}`:                                    nil,
		`partition: {groups: [leader]}`:                                       nil,
		`partition: {circle: {center: [1000, 1000], radius: 1}}`:              nil,
		`pick: cart-2, loss: {rate: 99%, burst: 2}`:                           fabric.Loss{On: fabric.Links{From: one, Both: true}, Burst: burst(0.99, 2)},
		`pick: robots but cart-1 cart-4 cart-5, delay: {add: 1s, to: cart-1}`: fabric.Delay{On: fabric.Links{From: []string{"cart-2", "cart-3"}, To: []string{"cart-1"}, Both: true}, Add: time.Second},
	} {
		t.Run(text, func(t *testing.T) {
			still(t, small+"faults: [{at: 10s, for: 5s, "+text+"}]", func(t *testing.T, w *World) {
				lift := strikeOnce(t, w)
				if want == nil {
					require.Empty(t, w.net.Faults())
				} else {
					require.Equal(t, []fabric.Fault{want}, w.net.Faults())
				}
				lift()
				require.Empty(t, w.net.Faults())
			})
		})
	}
}

// The mean share of packets lost in bursts is the rate that was asked for, also where
// it needs longer bursts.
func TestBurstsLoseTheirRate(t *testing.T) {
	for _, rate := range []float64{0.01, 0.2, 0.5, 0.9, 0.99} {
		for _, length := range []int{2, 12, 10_000} {
			b := burst(rate, length)
			require.InDelta(t, rate, b.Begin/(b.Begin+b.End)*b.Share, 1e-9)
			require.LessOrEqual(t, b.Begin, 1.0)
			require.GreaterOrEqual(t, 1/b.End, float64(length)-1e-6)
		}
	}
}

// line is five carts 10 m apart, from 0 to 40, and the operator at 0.
const line = `
name: line
about: A test.
duration: 1m
world: {area: [40, 0]}
fleet: [{name: cart, count: 5, place: {line: {from: [0, 0], to: [40, 0]}}}]
releases: [{version: "1.0"}]
`

func TestPartitionsCutTheMap(t *testing.T) {
	for text, want := range map[string][][]int{ // hosts: 0 is the operator, 1 to 5 are carts
		`{x: 15}`:       {{0, 1, 2}, {3, 4, 5}},
		`{x: [10, 30]}`: {{0, 1, 2}, {3, 4}, {5}}, // who stands on a line is below it
		`{y: 15}`:       {{0, 1, 2, 3, 4, 5}},
		`{circle: {center: [20, 0], radius: 10}}`: {{0, 1, 5}, {2, 3, 4}},
		`{shares: [50%, 50%]}`:                    nil, // by chance
	} {
		t.Run(text, func(t *testing.T) {
			still(t, line+"faults: [{at: 10s, for: 5s, partition: "+text+"}]", func(t *testing.T, w *World) {
				lift := strikeOnce(t, w)
				if want == nil {
					islands := w.net.Islands()
					require.Len(t, islands, 2)
					require.Len(t, islands[0], 3)
				} else {
					require.Equal(t, want, w.net.Islands())
				}
				lift()
				require.Len(t, w.net.Islands(), 1)
			})
		})
	}
}

// One way: packets pass from later groups to earlier ones, not back.
func TestOneWayPartition(t *testing.T) {
	still(t, line+"faults: [{at: 10s, for: 5s, partition: {groups: [cart-1, cart-2 cart-3], one_way: true}}]", func(t *testing.T, w *World) {
		lift := strikeOnce(t, w)
		group := []int{2, 0, 1, 1, 2, 2} // by host
		for a := range group {
			for b := range group {
				if a != b {
					require.Equal(t, group[a] >= group[b], w.net.Reach(a, b), "%d to %d", a, b)
				}
			}
		}
		lift()
		require.True(t, w.net.Reach(1, 2))
	})
}

func TestUnsupportedIsSaidAtTheStart(t *testing.T) {
	s := parse(t, small+`
faults:
  - {at: 1m, pick: cart-1, clock: {jump: 5s}}
  - {at: 1m, for: 5s, pick: cart-1, disk_full: {}}
  - {at: 1m, for: 5s, pick: cart-1, bad_write: {kind: torn}}
  - {at: 1m, for: 9s, pick: voters, swizzle: {}}
  - {at: 1m, pick: cart-1, power_cut: {}}
`)
	require.Empty(t, Unsupported(s))
	_, err := Run(t.Context(), s, Options{Dir: t.TempDir()})
	for _, what := range []string{"faults[0]: clock", "faults[1]: disk_full", "faults[2]: bad_write"} {
		require.ErrorContains(t, err, what+" needs a program that replays exactly")
	}
	require.NotContains(t, err.Error(), "swizzle")
	require.NotContains(t, err.Error(), "power_cut", "without, it forgets nothing")
	s.Faults = nil
	require.Empty(t, Missing(s))
}

func TestPartsOfAFault(t *testing.T) {
	names := []string{"a", "b", "c"}
	f := &scenario.Fault{Draw: 7, For: 20 * time.Second, Swizzle: &scenario.Swizzle{Gap: 2 * time.Second}}
	hit, ends := map[string]bool{}, map[time.Duration]bool{}
	for i, p := range parts(f, names) {
		require.Equal(t, time.Duration(i)*2*time.Second, p.after)
		require.NotNil(t, p.fault.Clog)
		hit[p.names[0]], ends[p.after+p.fault.For] = true, true
	}
	require.Len(t, hit, 3)
	require.Equal(t, map[time.Duration]bool{20 * time.Second: true, 22 * time.Second: true, 24 * time.Second: true}, ends)
	require.Equal(t, parts(f, names), parts(f, names))

	f = &scenario.Fault{Draw: 7, Spread: 10 * time.Second, Crash: &scenario.Crash{}}
	for i, p := range parts(f, names) {
		require.Equal(t, time.Duration(i)*5*time.Second, p.after)
		require.Len(t, p.names, 1)
	}
	f.Spread = 0
	require.Equal(t, []part{{0, *f, names}}, parts(f, names))
}
