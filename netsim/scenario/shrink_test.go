package scenario

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every move down from every scenario of the library is valid, is smaller, and is
// read back as it was printed.
func TestSmallerIsSmaller(t *testing.T) {
	list := append(Library(), Entry{Name: "everything", Scenario: everything(t)})
	if testing.Short() {
		list = list[:10]
	}
	for _, e := range list {
		text, size, n := string(e.Scenario.Print()), e.Scenario.Measure(), 0
		for c := range e.Scenario.Smaller() {
			n++
			small := c.Print()
			require.Negative(t, c.Measure().Compare(size), "%s: %s", e.Name, small)
			again, err := Parse(e.Name, small) // and Validate with it
			require.NoError(t, err, "%s: %s", e.Name, small)
			require.Equal(t, c, again)
		}
		require.Greater(t, n, 5, e.Name)
		require.Equal(t, text, string(e.Scenario.Print()), "shrinking changed what it was given")
	}
}

// What makes something come stays while a scenario becomes easier: the story, the time,
// the world, and what is expected. Steps go only with whom they are about.
func TestEasierKeepsWhatMakesThingsCome(t *testing.T) {
	for _, name := range []string{"demo", "orchard-rovers", "partition", "kill-the-leader"} {
		s, err := Open(name)
		require.NoError(t, err)
		n := 0
		for c := range s.Easier() {
			n++
			require.Len(t, c.Story, len(s.Story))
			for i := range s.Story {
				require.Equal(t, s.Story[i].After, c.Story[i].After)
			}
			require.Equal(t, s.Duration, c.Duration)
			require.Equal(t, s.World, c.World)
			require.Equal(t, s.Expect, c.Expect)
			require.Len(t, c.Releases, len(s.Releases))
		}
		require.Greater(t, n, 5, name)
	}
}

// shrink takes the first smaller scenario that still fails, again and again.
func shrink(s *Scenario, fails func(*Scenario) bool) (smallest *Scenario, tried int) {
	for {
		next := s
		for c := range s.Smaller() {
			if tried++; fails(c) {
				next = c
				break
			}
		}
		if next == s {
			return s, tried
		}
		s = next
	}
}

func TestShrinkingFindsTheOneFaultThatMatters(t *testing.T) {
	s := everything(t)
	fails := func(c *Scenario) bool { return strings.Contains(string(c.Print()), "pick: cart-1, bad_write") }
	small, tried := shrink(s, fails)
	require.Equal(t, `name: everything
about: Every key of a scenario, with a value that is not its default.
seed: 18446744073709551615
duration: 1m4s
fleet:
  - {name: cart, model: cart-a}
releases:
  - {version: "1.0", size: 64KiB}
faults:
  - {at: 1m, for: 1s, pick: cart-1, bad_write: {kind: torn}}
`, string(small.Print()))
	t.Logf("%d tries", tried)
}

func TestShrinkingEndsThoughEverythingFails(t *testing.T) {
	for _, name := range []string{"demo", "orchard-rovers", "data-mule", "two-operators"} {
		s, err := Open(name)
		require.NoError(t, err)
		small, tried := shrink(s.Replay(5), func(*Scenario) bool { return true })
		require.Empty(t, small.Faults)
		require.Empty(t, small.Story)
		require.Equal(t, 2, small.Measure().Machines, "an operator and a robot")
		t.Logf("%s: %d tries:\n%s", name, tried, small.Print())
	}
}

func TestShrinkingFollowsNamesThatGo(t *testing.T) {
	s := withFaults(t, "{at: 1m, pick: cart-6, crash: {}}", "{at: 2m, pick: cart-1 cart-6, crash: {}}", "{at: 3m, for: 1m, partition: {groups: [cart-1, cart-6]}}")
	found := false
	for c := range s.Smaller() {
		if c.Fleet[0].Count == 5 {
			found = true
			require.Equal(t, "  - {at: 2m, pick: cart-1, crash: {}}\n", strings.SplitAfter(string(c.Print()), "faults:\n")[1], "the first fault and the partition were about cart-6")
		}
	}
	require.True(t, found)
}
