package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// Of sources one hop away and five hops away, most that are asked first are near, but
// not all, and everybody comes in the end.
func TestNearFirst(t *testing.T) {
	const each, asked, rounds = 10, 8, 200
	oneHop := 0
	for range rounds {
		var all []near
		for i := range 3 * each {
			trip := []time.Duration{8 * time.Millisecond, 40 * time.Millisecond, 0}[i%3]
			all = append(all, near{envelope.Key{byte(i)}, trip})
		}
		keys := nearFirst(all)
		seen := map[envelope.Key]bool{}
		for i, k := range keys {
			seen[k] = true
			if i < asked && k[0]%3 == 0 {
				oneHop++
			}
		}
		require.Len(t, seen, 3*each)
	}
	share := float64(oneHop) / (asked * rounds)
	require.Greater(t, share, 0.7)
	require.Less(t, share, 0.95, "some are far")
	require.Empty(t, nearFirst(nil))
}

// With nothing known the order is chance.
func TestNearFirstWithoutKnowledge(t *testing.T) {
	first := map[byte]int{}
	for range 400 {
		var all []near
		for i := range 4 {
			all = append(all, near{key: envelope.Key{byte(i)}})
		}
		first[nearFirst(all)[0][0]]++
	}
	for i := range byte(4) {
		require.Greater(t, first[i], 40, "%v", first)
	}
}
