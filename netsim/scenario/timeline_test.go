package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// withFaults makes a scenario of six carts with these faults.
func withFaults(t *testing.T, faults ...string) *Scenario {
	t.Helper()
	text := `name: timeline
about: Faults to be counted out.
duration: 10m
fleet: [{name: cart, count: 6}]
releases: [{version: "1.0"}, {version: "1.1"}]
faults:
`
	for _, f := range faults {
		text += "  - " + f + "\n"
	}
	s, err := Parse("timeline.yaml", []byte(text))
	require.NoError(t, err)
	return s
}

// told is a timeline as text.
func told(list []Occurrence) string {
	var b strings.Builder
	s := &Scenario{}
	for _, o := range list {
		s.Faults = []Fault{o.Fault}
		_, text, _ := strings.Cut(string(s.Print()), "faults:\n")
		text, _, _ = strings.Cut(text, "expect:")
		fmt.Fprintf(&b, "%d %s", o.Source, text)
	}
	return b.String()
}

func TestTimelineCountsOut(t *testing.T) {
	for _, c := range []struct{ name, fault, want string }{
		{"a moment", "{at: 1m, pick: leader, crash: {}}", "0   - {at: 1m, pick: leader, crash: {}}\n"},
		{"to the end", "{from: 4m, pick: cart-1, lie: {how: stall}}", "0   - {at: 4m, for: 6m, pick: cart-1, lie: {how: stall}}\n"},
		{"a condition", "{when: done 1.1, pick: canaries, crash: {}}", "0   - {when: done 1.1, pick: canaries, crash: {}}\n"},
		{"every", "{every: 4m, pick: leader, crash: {}}", "0   - {at: 4m, pick: leader, crash: {}}\n0   - {at: 8m, pick: leader, crash: {}}\n"},
		{"every, from", "{from: 1m, every: 4m, times: 2, pick: leader, crash: {}}", "0   - {at: 1m, pick: leader, crash: {}}\n0   - {at: 5m, pick: leader, crash: {}}\n"},
		{"names", "{at: 1m, pick: random 2, crash: {}}", "0   - {at: 1m, pick: cart-6 cart-5, crash: {}}\n"},
		{"half", "{at: 1m, pick: 50% of robots but cart-1, crash: {}}", "0   - {at: 1m, pick: cart-3 cart-6 cart-4, crash: {}}\n"},
		{"of the voters", "{at: 1m, pick: random 1 of voters, draw: 5, crash: {}}", "0   - {at: 1m, pick: random 1 of voters, draw: 5, crash: {}}\n"},
		{"shares", "{at: 1m, for: 1m, partition: {shares: [50%, 50%]}}", "0   - {at: 1m, for: 1m, partition: {groups: [cart-5 cart-2 cart-3 cart-6, cart-1 cart-4 operator]}}\n"},
		{"the other end", "{at: 1m, for: 1m, pick: cart-1, clog: {to: random 1 but cart-1}}", "0   - {at: 1m, for: 1m, pick: cart-1, clog: {to: cart-6}}\n"},
		{"spread", "{at: 1m, pick: cart-1 cart-2 cart-3, spread: 10s, restart: {}}",
			"0   - {at: 1m, pick: cart-2, restart: {}}\n0   - {at: 1m5s, pick: cart-3, restart: {}}\n0   - {at: 1m10s, pick: cart-1, restart: {}}\n"},
		{"spread after a condition", "{when: joined, pick: cart-1 cart-2, spread: 10s, restart: {}}",
			"0   - {when: joined, pick: cart-1, restart: {}}\n0   - {when: joined + 10s, pick: cart-2, restart: {}}\n"},
		{"swizzle", "{at: 1m, for: 20s, pick: cart-1 cart-2 cart-3, swizzle: {gap: 2s}}",
			"0   - {at: 1m, for: 24s, pick: cart-2, clog: {}}\n0   - {at: 1m2s, for: 20s, pick: cart-3, clog: {}}\n0   - {at: 1m4s, for: 16s, pick: cart-1, clog: {}}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, told(withFaults(t, c.fault).Timeline(1)))
		})
	}
}

func TestTimelineIsOrderedAndFollowsTheSeed(t *testing.T) {
	s := withFaults(t, "{when: joined, pick: all, restart: {}}", "{every: 90s, jitter: 30s, pick: random 2, crash: {}}", "{every: 1m, pick: leader, crash: {}}")
	list := s.Timeline(7)
	require.True(t, slices.IsSortedFunc(list[:len(list)-1], func(a, b Occurrence) int { return int(a.At - b.At) }))
	require.NotNil(t, list[len(list)-1].Fault.When)
	require.Equal(t, told(list), told(s.Timeline(7)))
	require.NotEqual(t, told(list), told(s.Timeline(8)))
	for _, o := range list {
		if o.Source == 1 {
			off := o.At % (90 * time.Second)
			require.True(t, off <= 30*time.Second || off >= 60*time.Second, "%s is more than the jitter away", o.At)
		}
	}
}

func TestLeavingAFaultOutMovesNoOther(t *testing.T) {
	faults := []string{"{every: 1m, jitter: 20s, pick: random 2, crash: {}}", "{every: 2m, jitter: 50s, pick: random 3, restart: {}}",
		"{every: 1m, jitter: 20s, pick: random 2, crash: {}}"} // a twin of the first
	all := withFaults(t, faults...).Timeline(3)
	without := withFaults(t, faults[0], faults[2]).Timeline(3)
	rest := slices.DeleteFunc(slices.Clone(all), func(o Occurrence) bool { return o.Source == 1 })
	for i := range rest {
		rest[i].Source = min(rest[i].Source, 1)
	}
	require.Equal(t, told(without), told(rest))
	first := slices.DeleteFunc(slices.Clone(all), func(o Occurrence) bool { return o.Source != 0 })
	twin := slices.DeleteFunc(slices.Clone(all), func(o Occurrence) bool { return o.Source != 2 })
	require.NotEqual(t, strings.ReplaceAll(told(first), "0   -", ""), strings.ReplaceAll(told(twin), "2   -", ""), "twins do not act alike")
}

func TestReplayIsItsOwnTimeline(t *testing.T) {
	list := Library()
	list = append(list, Entry{Name: "everything", Scenario: everything(t)})
	for _, e := range list {
		r := e.Scenario.Replay(99)
		require.NoError(t, r.Validate(), "%s", r.Print())
		require.Equal(t, uint64(99), r.Seed)
		again, err := Parse(e.Name, r.Print())
		require.NoError(t, err)
		require.Equal(t, r, again)
		require.Equal(t, string(r.Print()), string(r.Replay(99).Print()), e.Name)
	}
}
