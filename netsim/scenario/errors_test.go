package scenario

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// base is a scenario that is right; each case puts one line into it that is not.
const base = `name: base
about: Nothing happens.
duration: 10m
fleet: [{name: cart, count: 4, model: a}, {name: new, late: true}]
releases: [{version: "1.0"}, {version: "1.1"}]
`

const invited = "story: [{at: 1m, invite: {groups: new}}]\n"

// wrong are lines with a ^ before what is complained of, and the complaint; without
// a ^ the complaint says line and column itself.
var wrong = []struct{ name, line, want string }{
	{"unknown key", `^sede: 4`, `no key "sede" here; did you mean "seed"?`},
	{"wrong type", `seed: ^many`, `want a whole number from 0, got "many"`},
	{"routing", `world: {routing: ^flood}`, `"flood": want none, mesh or star`},
	{"star without hub", `world: ^{routing: star}`, `a star needs a machine in its middle: set hub`},
	{"hub without star", `world: {hub: ^cart-1}`, `a hub is for routing star; this is mesh`},
	{"voters", `world: {voters: {count: ^9}}`, `9 is out of bounds: want 1 to 7`},
	{"idle link", `world: {links: [^{from: cart-1, to: all}]}`, `this link changes nothing: set latency, jitter, rate, queue, loss or mtu`},
	{"link of truth", `world: {links: [^{from: leader, to: all, loss: 1%}]}`, `a link lies between the same machines all the time: pick by name, kind or label, not "leader"`},
	{"rate", `world: {links: [{from: cart-1, to: all, rate: ^2MB}]}`, `"2MB" is no rate: write 2Mbit/s, 250kbit/s or 96bit/s`},
	{"operators", `operators: ^[]`, `0 operators: want 1 or 2`},
	{"operator's name", `operators: [{name: ^leader}]`, `"leader" means something else in a pick: choose another name`},
	{"two of a name", "operators: [{name: cart-2}]", `4:16: two machines are called "cart-2"`},
	{"base radio", `base: {count: 1, radio: ^bluetooth}`, `"bluetooth": want lan, wifi-mesh, tactical, lte, satellite or xbee-900`},
	{"two places", `base: {count: 1, place: ^{at: [0, 0], circle: {center: [0, 0], radius: 1}}}`, `at and circle: a group stands in one way`},
	{"point", `operators: [{name: o, at: ^[1]}]`, `a point has 2 or 3 numbers, [x, y] or [x, y, z], not 1`},

	{"no action", `story: [^{at: 1m}]`, `nothing happens here: want one of ship, publish, pause, resume, renew, rollback, halt, clear, leave, return, revoke, label, invite, genesis`},
	{"two actions", `story: [{pause: x, halt: ^y}]`, `pause and halt: one thing at a time`},
	{"at and after", `story: [{at: 1m, after: ^joined, halt: y}]`, `at and after: a step waits for one of them`},
	{"backwards", `story: [{at: 2m, halt: y}, {at: ^1m, clear: y}]`, `1m is before the step above it, at 2m: a story goes forward`},
	{"after the end", `story: [{at: ^10m, halt: y}]`, `10m is not before the end of the run, at 10m`},
	{"no event", `story: [{after: ^lunch, halt: y}]`, `no event "lunch"; there is joined, leader, halted, voters-changed, and of a release published, safe-to-leave, started, canary, wave, soak, held, done, expired, aborted, rolled-back, in-quarantine, fetching, fetched, staging, staged, armed, trial, committed, reverting, reverted`},
	{"event of what", `story: [{after: ^done, halt: y}]`, `event "done" of which release? write done 1.1`},
	{"event of another", `story: [{after: ^done 1.7, halt: y}]`, `no release 1.7 in releases`},
	{"event with a bad delay", `story: [{after: ^done 1.1 + soon, halt: y}]`, `after +, "soon" is no time: write 5s`},
	{"by whom", `story: [{by: ^cart-1, halt: y}]`, `no operator "cart-1"`},
	{"leaving robot", `story: [{leave: ^cart-1}]`, `cart-1 is no operator`},
	{"revoked leader", `story: [{revoke: ^leader}]`, `"leader" is known only during the run: name machines`},
	{"revoked by chance", `story: [{revoke: ^random 1}]`, `"random 1" is left to chance: name machines`},
	{"preferred by chance", `world: {voters: {prefer: ^2 of robots}}`, `"random 2" is left to chance: name machines`},
	{"invited guest", `story: [{invite: {groups: ^cart}}]`, `group cart is there from the start: make it late`},
	{"label", `story: [{label: {pick: cart-1, set: {model: ^b}}}]`, `label "model" has a meaning of its own`},
	{"ship what", `story: [{ship: {version: ^"1.9"}}]`, `no release 1.9 in releases`},
	{"ship the first", `story: [{ship: {version: ^"1.0"}}]`, `1.0 is what robots join with: ship a later one`},
	{"waves fall", `story: [{ship: {version: "1.1", waves: [50%, ^20%, 100%]}}]`, `waves rise from above 0% to 100%`},
	{"waves end", `story: [{ship: {version: "1.1", waves: ^[50%]}}]`, `want 1 to 16 rising shares, the last 100%`},
	{"share", `story: [{ship: {version: "1.1", canary: ^7}}]`, `"7" is no share: write 5% or 0.25%, at most 100%`},
	{"fine share", `story: [{ship: {version: "1.1", canary: ^0.25%}}]`, `a plan counts in per mille: at most one decimal`},
	{"fine time", `story: [{ship: {version: "1.1", soak: ^1500ms}}]`, `a plan counts in whole seconds`},
	{"deadlines", `story: [{ship: ^{version: "1.1", min_healthy: 2m, silence_deadline: 4m}}]`, `healthy_deadline 1m must exceed min_healthy 2m`},
	{"no batch", `story: [{ship: {version: "1.1", batch: ^0}}]`, `want a share or a number above 0, or nothing could ever switch`},
	{"on fail", `story: [{ship: {version: "1.1", on_wave_fail: ^pray}}]`, `"pray": want revert or hold`},
	{"no reason", `story: [{ship: {version: "1.1", despite_quarantine: ^true}}]`, `despite_quarantine needs a reason`},

	{"fault without action", `faults: [^{at: 1m, pick: leader}]`, `nothing happens here: want one of partition, clog, swizzle, loss, bandwidth, delay, duplicate, reorder, garble, mtu, crash, power_cut, restart, pause, slow_cpu, clock, disk_full, bad_write, behave, lie, move_voters, switch_off, move, race`},
	{"two faults in one", `faults: [{at: 1m, pick: leader, crash: {}, restart: ^{}}]`, `crash and restart: one thing at a time`},
	{"when", `faults: [^{pick: leader, crash: {}}]`, `when? want one of at, from, every, when`},
	{"twice when", `faults: [{at: 1m, every: ^2m, pick: leader, crash: {}}]`, `at and every: a fault starts in one way`},
	{"whom", `faults: [^{at: 1m, crash: {}}]`, `whom? crash needs a pick`},
	{"nobody to pick", `faults: [{at: 1m, pick: ^all, partition: {shares: [50%]}, for: 1m}]`, `partition takes no pick: it is about the swarm`},
	{"how long", `faults: [^{at: 1m, pick: all, clog: {}}]`, `clog lasts: say for how long, with for`},
	{"a long moment", `faults: [{at: 1m, for: ^1m, pick: leader, crash: {}}]`, `crash happens in a moment: it takes no for`},
	{"from a moment", `faults: [{from: ^1m, pick: leader, crash: {}}]`, `crash happens in a moment: say at`},
	{"jitter", `faults: [{every: 1m, jitter: ^1m, pick: leader, crash: {}}]`, `jitter 1m must be below every 1m, or faults would overtake each other`},
	{"jitter of one", `faults: [^{at: 1m, jitter: 1s, pick: leader, crash: {}}]`, `jitter and times belong to every`},
	{"overlap", `faults: [{every: 1m, for: ^2m, pick: leader, clog: {}}]`, `for 2m exceeds every 1m: it would begin again before it ends`},
	{"too often", `faults: [{every: ^1ms, pick: leader, crash: {}}]`, `every 1ms is too often for a run of 10m`},
	{"never", `faults: [{every: ^20m, pick: leader, crash: {}}]`, `the first would be at 20m, and the run ends at 10m`},
	{"stranger", `faults: [{at: 1m, pick: ^cart-9, crash: {}}]`, `nobody here is "cart-9"`},
	{"model", `faults: [{at: 1m, pick: ^model=z, crash: {}}]`, `nobody here is "model=z"`},
	{"label of nobody", `faults: [{at: 1m, pick: ^site=z, crash: {}}]`, `"site=z" picks nobody`},
	{"too many", `faults: [{at: 1m, pick: ^random 9, crash: {}}]`, `"random 9": there are only 5`},
	{"of whom", `faults: [{at: 1m, pick: ^3 of, crash: {}}]`, `"3 of": of whom? want names, kinds, label=value or an amount (3, 25%, majority), perhaps with of and but`},
	{"random what", `faults: [{at: 1m, pick: ^random cart-1, crash: {}}]`, `"random cart-1": random how many? write random 3, random 25% of voters`},
	{"but whom", `faults: [{at: 1m, pick: ^all but, crash: {}}]`, `"all but": but whom? want names, kinds, label=value or an amount (3, 25%, majority), perhaps with of and but`},
	{"phase", `faults: [{at: 1m, pick: ^phase=sleeping, crash: {}}]`, `"phase=sleeping": no phase "sleeping"; there is idle, fetching, fetched, staging, staged, armed, trial, committed, reverting, reverted`},
	{"shares above all", `faults: [{at: 1m, for: 1m, partition: {shares: [60%, ^50%]}}]`, `shares are above 0%, and together at most 100%, of at least two groups`},
	{"two cuts", `faults: [{at: 1m, for: 1m, partition: ^{x: 1, y: 2}}]`, `a partition is cut in one way: want one of shares, groups, x, y, circle`},
	{"no loss", `faults: [{at: 1m, for: 1m, pick: all, loss: ^{}}]`, `rate is 0%: nothing would happen`},
	{"no delay", `faults: [{at: 1m, for: 1m, pick: all, delay: ^{}}]`, `a delay of nothing: set add or jitter`},
	{"step", `faults: [{at: 1m, pick: all, crash: {step: ^app/lunch}}]`, `"app/lunch" is no step: want a component, a slash, and one of activated, fetching, fetched, staging, staged, armed, trial, committed, reverting, reverted`},
	{"step of a laptop", `faults: [{at: 1m, pick: operator, crash: {step: ^app/trial}}]`, `a step is one of a robot's update, and "operator" is no robot`},
	{"release on a laptop", `faults: [{at: 1m, for: 1m, pick: operator, behave: ^{as: crash-at-start}}]`, `releases run on robots, and "operator" is no robot`},
	{"right clock", `faults: [{at: 1m, pick: all, clock: ^{}}]`, `a clock that is right: set jump or drift_ppm`},
	{"nowhere", `faults: [{at: 1m, pick: all, move: ^{}}]`, `move where? want one of to and by`},
	{"lie", `faults: [{from: 1m, pick: all, lie: {how: ^fibs}}]`, `"fibs": want corrupt, stall, false-have, stale-certificate, forged-membership, forged-health, lying-voter, captured-leader or stranger-raft`},
	{"picked stranger", `faults: [{from: 1m, pick: ^all, lie: {how: stranger-raft}}]`, `lie takes no pick: it is about the swarm`},
	{"alone in a race", `faults: [{at: 1m, race: ^[ship 1.1, rollback 1.1]}]`, `2 words for 1 operator: each says one`},
	{"racing verb", `faults: [{at: 1m, race: ^jump 1.1}]`, `no verb "jump" in a race; there is ship, publish, pause, resume, rollback, renew`},
	{"behaviour", `faults: [{at: 1m, pick: all, behave: {as: ^crash-after}}]`, `"crash-after" is no behaviour: want ok, crash-at-start, crash-after 30s, unhealthy-after 2s, slow-leak 5m, wrong-platform, fails-on MODEL or fails-after-reboot`},

	{"invariant", `expect: {safety: ^luck}`, `no invariant "luck"; there is all, none` + invariantNames()},
	{"all and more", `expect: {safety: [^all, one-leader]}`, `all stands alone`},
	{"except without all", `expect: {safety: one-leader, except: ^one-order}`, `except belongs to safety: all`},
	{"converges too late", `expect: {converge_within: ^11m}`, `11m is after the end of the run, at 10m`},
	{"active and reverted", `expect: {active: ^"1.1", reverted: "1.1"}`, `1.1 cannot be active and reverted`},
	{"two active", `expect: {active: ["1.0", ^"1.1"]}`, `one release of each component can be active`},
	{"first reverted", `expect: {reverted: ^"1.0"}`, `"1.0": only a release that went out can come back`},
	{"share out of service", `expect: {max_out_of_service: ^few}`, `"few" is no amount: write a number up to 5000, a share such as 25%, or majority`},
}

func TestComplaints(t *testing.T) {
	for _, c := range wrong {
		t.Run(c.name, func(t *testing.T) {
			before, after, marked := strings.Cut(c.line, "^")
			want := c.want
			if marked {
				want = fmt.Sprintf("6:%d: %s", len(before)+1, c.want)
			}
			text := base + before + after + "\n"
			if !strings.HasPrefix(before, "story") {
				text += invited
			}
			s, err := Parse("x.yaml", []byte(text))
			require.Nil(t, s)
			require.ErrorIs(t, err, ErrScenario)
			var p *strict.Problem
			require.ErrorAs(t, err, &p)
			got := []string{}
			for _, line := range strings.Split(err.Error(), "\n") {
				if rest, ok := strings.CutPrefix(line, "x.yaml:"); ok && !strings.Contains(line, "late and no step invites it") {
					got = append(got, rest)
				}
			}
			require.Equal(t, []string{want}, got, "%v", err)
			require.Contains(t, err.Error(), " | "+p.Source+"\n      | "+strings.Repeat(" ", p.Column-1)+"^")
		})
	}
	_, err := Parse("x.yaml", []byte(base+invited))
	require.NoError(t, err)
}

func TestEmptyFileSaysWhatIsMissing(t *testing.T) {
	_, err := Parse("x.yaml", nil)
	for _, want := range []string{"name is missing", "about is missing", "fleet is missing", "releases is missing"} {
		require.ErrorContains(t, err, want)
	}
}

func TestComplaintsAboutAWholeFile(t *testing.T) {
	in, err := os.ReadFile("testdata/bad.yaml")
	require.NoError(t, err)
	_, err = Parse("bad.yaml", in)
	require.Error(t, err)
	golden(t, "testdata/bad.txt", []byte(err.Error()+"\n"))
}

func TestValidateOfAScenarioMadeInGoNamesPaths(t *testing.T) {
	s := &Scenario{Name: "made", About: "In Go.", Fleet: []Group{{Name: "cart"}}, Releases: []Release{{Version: "1"}}}
	s.Defaults()
	require.NoError(t, s.Validate())
	require.Equal(t, "operator", s.Operators[0].Name)
	again, err := Parse("made", s.Print())
	require.NoError(t, err)
	require.Equal(t, s, again)

	s.Faults = []Fault{{Crash: &Crash{}}}
	s.Expect.Active = []Ref{"3"}
	err = s.Validate()
	require.EqualError(t, err, "scenario: expect.active[0]: no release 3 in releases\nscenario: faults[0]: when? want one of at, from, every, when\nscenario: faults[0]: whom? crash needs a pick")
	require.True(t, errors.Is(err, ErrScenario))
}
