package netsim

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// betrayed ships a release while one machine is in the wrong hands.
func betrayed(t *testing.T, fault, except string, seen func(*World, Note)) *show {
	text := strings.Replace(small, "count: 5", "count: 6", 1)
	s := perform(t, strings.Replace(text, "64KiB, shared", "4MiB, shared", 1)+`
story:
  - {at: 20s, ship: {version: "1.1", canary: 0%, canary_min: 0, waves: [100%], soak: 1s, min_healthy: 3s, prefetch: all, install_deadline: 10s, batch: 6}}
faults: [`+fault+`]
expect: {active: "1.1", except: [`+except+`]}
`, seen)
	require.Empty(t, s.report.Unmet, "all have it in the end, the machine that was taken too")
	require.Empty(t, s.report.Violations)
	require.Nil(t, s.notes("", "lie-failed"))
	return s
}

// lied is how often the machine has lied, in the end.
func (s *show) lied(name string) string { return s.first(name, "lie-over", "").Text }

func TestLiarsWithPieces(t *testing.T) {
	for how, named := range map[string]bool{"corrupt": true, "stall": false, "false-have": false} {
		t.Run(how, func(t *testing.T) {
			s := betrayed(t, `{from: 0s, for: 60s, pick: cart-6, lie: {how: `+how+`}}`, "", nil)
			require.NotContains(t, s.lied("cart-6"), " 0 times")
			if named {
				require.NotEmpty(t, s.first("", "chunk-rejected", "cart-6 sent wrong bytes"))
			} else {
				require.Empty(t, s.notes("", "chunk-rejected"))
			}
			for _, r := range s.allRobots() {
				if r.name != "cart-6" {
					require.Less(t, s.first(r.name, "commit", "1.1").At, s.first("cart-6", "lie-over", "").At, "nobody waits for the liar")
				}
			}
		})
	}
}

// What a machine says of orders, of members and of itself is not believed, or does no harm.
func TestLiarsWithWords(t *testing.T) {
	for _, how := range []string{"stale-certificate", "forged-health", "forged-membership"} {
		t.Run(how, func(t *testing.T) {
			s := betrayed(t, `{from: 0s, for: 40s, pick: cart-6, lie: {how: `+how+`}}`, "", nil)
			require.NotContains(t, s.lied("cart-6"), " 0 times")
			if how == "forged-membership" {
				require.NotEmpty(t, s.first("operator", "clone", "two machines run as"))
			}
		})
	}
}

// A voter signs twice; another decides what nobody has asked for.
func TestLyingVoters(t *testing.T) {
	// Whether a machine in the wrong hands leads is not for its own node to say.
	for how, except := range map[string]string{"lying-voter": "", "captured-leader": "one-leader-at-last"} {
		t.Run(how, func(t *testing.T) {
			var taken string
			s := betrayed(t, `{at: 15s, for: 30s, pick: leader, lie: {how: `+how+`}}`, except, func(w *World, n Note) {
				if n.Kind == "lie" {
					taken = n.Machine
					if strings.Contains(n.Text, "it leads") {
						taken += " leads"
					}
				}
			})
			require.NotContains(t, s.lied(strings.Fields(taken)[0]), " 0 times")
			require.Equal(t, how == "captured-leader", strings.HasSuffix(taken, " leads"))
		})
	}
}

func TestStrangerIsLetInNowhere(t *testing.T) {
	s := betrayed(t, `{from: 10s, for: 40s, lie: {how: stranger-raft}}`, "", nil)
	require.NotContains(t, s.first("", "stranger", "has knocked").Text, " 0 times")
}
